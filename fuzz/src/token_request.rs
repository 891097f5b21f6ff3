//! The token endpoint, with several requests and pauses between them.
//!
//! Each line of the input starts with a letter:
//! * `d`: enables everything in `dangerous()`; only in the first line
//! * `w`: waits this number of seconds, at most an hour
//! * `m`: the method of the next request; `q`: its query; `b`: a part of its body; `h`: a header with its name and a
//!   colon
//! * `a`: an identifier, a tab and a secret, form-encoded in a `Basic` header
//! * `s`: sends the request (an unsent request at the end of the input is sent, too)
//!
//! In all lines, `$c0` to `$c3` are codes. `$r0`, `$r1`, .. are refresh tokens and `$t0`, `$t1`, .. access tokens, in
//! the order in which they were issued. (`$r0` and `$t0` were issued for `$c3` before the input begins.) `$s0`, `$s1`,
//! .. are the secrets of the clients in `world::CLIENTS`, `$v` is the verifier, and `$p` is the password.

mod model;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::testing::RecordedEvent;
use grantor::{AccessToken, BearerRequest, Params, Request, Response};
use time::Duration;
use url::form_urlencoded::byte_serialize;

use self::model::{Model, Verdict};
use crate::answer;
use crate::world::{CLIENTS, Switches, USER, VERIFIER, World, block_on};

pub const OUTCOMES: [&str; 10] = [
    "nothing sent",
    "refused",
    "unknown client",
    "code redeemed",
    "code replayed",
    "refreshed",
    "refresh repeated",
    "refresh token stolen",
    "client credentials",
    "password",
];

/// A request that is being built, which the model also reads.
#[derive(Default)]
struct Draft {
    method: Option<String>,
    query: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    is_empty: bool,
}

pub fn check(data: &[u8]) -> &'static str {
    let mut lines = data.split(|byte| *byte == b'\n').peekable();
    let dangers = lines.next_if_eq(b"d").is_some();
    World::lend(Switches { dangers, ask_first: false }, |world| play(world, Model::new(world, dangers, data), lines))
}

fn play<'a>(world: &World, mut model: Model, lines: impl Iterator<Item = &'a [u8]>) -> &'static str {
    let told_before = world.events.names().len();
    let mut draft = Draft::new();
    let mut outcome = "nothing sent";
    for line in lines.filter(|line| !line.is_empty()) {
        let rest = spliced(&line[1..], &model);
        match line[0] {
            b'w' => {
                let seconds = str::from_utf8(&rest).ok().and_then(|text| text.parse().ok()).unwrap_or(1_u16).min(3_600);
                world.clock.advance(Duration::seconds(seconds.into()));
            }
            b's' => outcome = std::mem::replace(&mut draft, Draft::new()).send(world, &mut model),
            letter => draft.add(letter, &rest),
        }
    }
    if !draft.is_empty {
        outcome = draft.send(world, &mut model);
    }
    model.check_access_tokens(world);
    nothing_was_told(&world.events.events()[told_before..], &model);
    outcome
}

/// Replaces `$` and the name of a value with the value.
fn spliced(line: &[u8], model: &Model) -> Vec<u8> {
    let mut whole = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let (value, length) = match (first, tail) {
            (b'$', [b'v', ..]) => (Some(VERIFIER.to_owned()), 1),
            (b'$', [b'p', ..]) => (Some(USER.1.to_owned()), 1),
            (b'$', [kind, digit @ b'0'..=b'9', ..]) => (model.value(*kind, usize::from(digit - b'0')), 2),
            _ => (None, 0),
        };
        if let Some(value) = value {
            whole.extend_from_slice(value.as_bytes());
            rest = &tail[length..];
        } else {
            whole.push(*first);
            rest = tail;
        }
    }
    whole
}

impl Draft {
    fn new() -> Self {
        Self { is_empty: true, ..Self::default() }
    }

    fn add(&mut self, letter: u8, rest: &[u8]) {
        self.is_empty = false;
        let halves = |at: u8| {
            let mut halves = rest.splitn(2, |byte| *byte == at);
            (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
        };
        match letter {
            b'm' => self.method = Some(String::from_utf8_lossy(rest).into_owned()),
            b'q' => self.query.extend(String::from_utf8_lossy(rest).bytes()),
            b'b' => {
                if !self.body.is_empty() {
                    self.body.push(b'&');
                }
                self.body.extend_from_slice(rest);
            }
            b'h' => {
                let (name, value) = halves(b':');
                self.headers.push((String::from_utf8_lossy(name).into_owned(), value.trim_ascii().to_vec()));
            }
            b'a' => {
                let (id, secret) = halves(b'\t');
                let encoded = |half| byte_serialize(half).collect::<String>();
                let value = format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))));
                self.headers.push(("authorization".to_owned(), value.into_bytes()));
            }
            _ => {}
        }
    }

    fn values(&self, name: &str) -> Vec<Vec<u8>> {
        let own = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        own.map(|(_, value)| value.clone()).collect()
    }

    /// Sends the request. If it has no `Content-Type`, it gets that of a form.
    fn send(mut self, world: &World, model: &mut Model) -> &'static str {
        if self.values("content-type").is_empty() {
            self.headers.push(("Content-Type".to_owned(), b"application/x-www-form-urlencoded".to_vec()));
        }
        let target = [&b"/token?"[..], &self.query].concat();
        let target = String::from_utf8(target).expect("the query was made text");
        let request = Request::new(self.method.clone().unwrap_or_else(|| "POST".to_owned()), target);
        let request = request.with_body(self.body.clone());
        let headers = self.headers.iter();
        let request = headers.fold(request, |request, (name, value)| request.with_header(&**name, value.as_slice()));
        let response = block_on(world.server.token(&request));
        no_secret_comes_back(&response, &self, model);
        let shown = format!("{request:?} {response:?}");
        assert!(!model.secrets().any(|secret| !self.method_or_names_have(secret) && shown.contains(secret)));
        let verdict = model.verdict(&self, world);
        judge(model, &verdict, &response)
    }

    /// Returns whether the method or a name contains a secret, where the library does not expect one.
    fn method_or_names_have(&self, secret: &str) -> bool {
        self.method.as_ref().is_some_and(|method| method.contains(secret))
            || self.headers.iter().any(|(name, _)| name.contains(secret))
    }
}

fn judge(model: &mut Model, verdict: &Verdict, response: &Response) -> &'static str {
    match verdict {
        Verdict::Refused(outcome, allowed) => {
            let error = answer::error(response);
            assert!(allowed.is_none_or(|allowed| allowed == (error.status, &*error.code)), "{allowed:?} {error:?}");
            outcome
        }
        Verdict::Granted(granted) => {
            assert_eq!(response.status(), 200, "{}: {:?}", granted.outcome, str::from_utf8(response.body()));
            let members = answer::json(response);
            let text = |name: &str| members.get(name).and_then(|value| value.as_str()).map(String::from);
            assert_eq!(text("token_type").as_deref(), Some("Bearer"));
            assert_eq!(text("scope"), Some(granted.scope.join(" ")), "{}", granted.outcome);
            assert!(members["expires_in"].as_i64().is_some_and(|seconds| (1..=3_600).contains(&seconds)));
            assert_eq!(members.contains_key("refresh_token"), granted.refreshable, "{}", granted.outcome);
            assert_eq!(members.len(), 4 + usize::from(granted.refreshable));
            let access_token = text("access_token").expect("an access token");
            let tokens = [Some(&access_token), text("refresh_token").as_ref()]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>();
            assert!(tokens.iter().all(|token| token.len() == 43), "256 bits");
            model.record(granted, access_token, text("refresh_token"));
            granted.outcome
        }
    }
}

/// Checks that the response does not contain a secret of the request. A repeated refresh is an exception: it may return
/// tokens that the client has also sent.
fn no_secret_comes_back(response: &Response, draft: &Draft, model: &Model) {
    let contains = |hay: &[u8], needle: &str| hay.windows(needle.len()).any(|window| window == needle.as_bytes());
    for secret in model.secrets().filter(|secret| contains(response.body(), secret)) {
        let is_presented = |form: &[u8]| {
            let params = Params::decode(form);
            let presented = ["code", "refresh_token", "client_secret", "password", "code_verifier"];
            presented.into_iter().any(|name| params.get(name).is_ok_and(|value| value == Some(secret)))
        };
        let is_repeated = response.status() == 200 && !is_presented(&draft.body) && !is_presented(&draft.query);
        let was_sent = contains(&draft.body, secret) || contains(&draft.query, secret);
        assert!(is_repeated || !was_sent, "a secret comes back");
    }
    for (_, value) in response.headers() {
        assert!(!model.secrets().any(|secret| value.contains(secret)));
    }
}

/// Checks that events contain no secret.
fn nothing_was_told(events: &[RecordedEvent], model: &Model) {
    for event in events {
        assert!(!model.secrets().any(|secret| event.text.contains(secret)), "{}", event.name);
    }
}

/// Returns the client of a live access token, according to the bearer check.
fn owner_of(world: &World, token: &str) -> Option<String> {
    let access =
        block_on(world.server.bearer_request(&BearerRequest::of(&AccessToken::new(token)))).ok()?.require("user:read");
    Some(access.ok()?.client_id().as_str().to_owned())
}

fn secret_of(client: usize) -> Option<&'static str> {
    CLIENTS.get(client).and_then(|client| client.secrets.first()).copied()
}
