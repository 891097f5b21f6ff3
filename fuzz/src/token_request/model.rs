//! The expected responses of the token endpoint, according to RFC 6749 §4 to §6, RFC 7636 §4.6, RFC 9700 §4.14 and the
//! documentation of [`grantor::Policy`].

use grantor::Clock;
use grantor::{Approval, AuthorizationRequest, CodeChallenge, CodeVerifier, Subject};
use time::{Duration, OffsetDateTime};

use super::{Draft, owner_of, secret_of};
use crate::credentials::{self, MALFORMED, Refused, UNKNOWN};
use crate::form::{Form, is_form};
use crate::world::{CLIENTS, Habit, Registered, TOKEN_PARAMETERS, USER, VERIFIER, World, block_on};

/// All codes and tokens that were issued.
pub(super) struct Model {
    families: Vec<Family>,
    access_tokens: Vec<Access>,
    /// The refresh tokens in the order in which they were issued.
    refresh_tokens: Vec<String>,
    dangers: bool,
}

/// The tokens of one grant.
struct Family {
    client: &'static Registered,
    scope: Vec<String>,
    revoked: bool,
    ends_at: OffsetDateTime,
    code: Option<Code>,
    /// Each is the successor of the one before.
    refresh_tokens: Vec<Refresh>,
}

struct Code {
    number: usize,
    value: String,
    redirect_uri: &'static str,
    was_sent: bool,
    expires_at: OffsetDateTime,
    spent: bool,
}

struct Refresh {
    value: String,
    spent: Option<SpentRefresh>,
}

struct SpentRefresh {
    at: OffsetDateTime,
    /// The scope of the response, and its access token.
    scope: Vec<String>,
    access_token: String,
}

struct Access {
    value: String,
    family: usize,
    has_read: bool,
    expires_at: OffsetDateTime,
}

pub(super) enum Verdict {
    /// The outcome, and the status and code if they are certain.
    Refused(&'static str, Option<Refused>),
    Granted(Granted),
}

pub(super) struct Granted {
    pub(super) outcome: &'static str,
    pub(super) scope: Vec<String>,
    pub(super) refreshable: bool,
    change: Change,
    now: OffsetDateTime,
}

/// The changes of a successful request.
enum Change {
    Opened(&'static Registered),
    Redeemed(usize),
    Refreshed(usize),
    /// None: the response is repeated.
    Repeated {
        access_token: String,
        refresh_token: String,
    },
}

/// The client, the redirect URI, whether the request contained it, and the scope.
type Flow = (&'static str, &'static str, bool, &'static str);

/// The names of the codes, and their requests.
const CODES: [(&[u8], &str, &str, bool, &str); 4] = [
    (b"$c0", "web", "https://app.example/cb", true, "user:read user:write"),
    (b"$c1", "spa", "https://spa.example/", false, "user:read"),
    (b"$c2", "native", "http://127.0.0.1:50505/cb?x=1", true, "user:read"),
    (b"$c3", "spa", "https://spa.example/", true, "offline_access user:read"),
];

/// The number of the code that is redeemed before the input begins.
const REDEEMED: usize = 3;

const REFUSED: Verdict = Verdict::Refused("refused", None);
const INVALID_GRANT: Verdict = Verdict::Refused("refused", Some((400, "invalid_grant")));

impl Model {
    /// Issues the codes that the input names, `$c0` to `$c3`. If it names `$c3` or a token, `$c3` is redeemed for
    /// `$t0` and `$r0`.
    pub(super) fn new(world: &World, dangers: bool, data: &[u8]) -> Self {
        let mut model = Self { families: Vec::new(), access_tokens: Vec::new(), refresh_tokens: Vec::new(), dangers };
        let names = |name: &[u8]| data.windows(name.len()).any(|window| window == name);
        for (number, (name, client, uri, was_sent, scope)) in CODES.into_iter().enumerate() {
            if names(name) || number == REDEEMED && (names(b"$r") || names(b"$t")) {
                model.issue_code(world, number, (client, uri, was_sent, scope));
            }
        }
        if let Some(code) = model.value(b'c', REDEEMED) {
            let proof = format!("client_id=spa&code={code}&code_verifier={VERIFIER}&redirect_uri=https://spa.example/");
            let mut draft = Draft::new();
            draft.add(b'b', b"grant_type=authorization_code");
            draft.add(b'b', proof.as_bytes());
            assert_eq!(draft.send(world, &mut model), "code redeemed");
        }
        model
    }

    fn issue_code(&mut self, world: &World, number: usize, (id, uri, was_sent, scope): Flow) {
        let challenge = CodeChallenge::s256(&CodeVerifier::new(VERIFIER));
        let request = AuthorizationRequest::code(id).scope(scope).code_challenge_s256(challenge.as_str());
        let request = if was_sent { request.redirect_uri(uri) } else { request };
        let Ok(pending) = block_on(world.server.authorization_request(&request)) else {
            panic!("a good request was refused");
        };
        let response =
            block_on(grantor::testing::approve(pending, Approval::by(Subject::new(USER.0).expect("a subject"))));
        let expires_at = world.clock.now() + Duration::MINUTE;
        let value = response.code().expect("a code").expose().to_owned();
        self.families.push(Family {
            client: crate::world::registered(id).expect("a client"),
            scope: scope.split(' ').map(String::from).collect(),
            revoked: false,
            ends_at: expires_at,
            code: Some(Code { number, value, redirect_uri: uri, was_sent, expires_at, spent: false }),
            refresh_tokens: Vec::new(),
        });
    }

    /// Returns the value for a kind and a number in the input.
    pub(super) fn value(&self, kind: u8, number: usize) -> Option<String> {
        match kind {
            b'c' => {
                let mut codes = self.families.iter().filter_map(|family| family.code.as_ref());
                codes.find(|code| code.number == number).map(|code| code.value.clone())
            }
            b'r' => self.refresh_tokens.get(number).cloned(),
            b't' => self.access_tokens.get(number).map(|token| token.value.clone()),
            b's' => secret_of(number).map(String::from),
            _ => None,
        }
    }

    /// Returns all secrets, which responses and events must not contain.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        let codes = self.families.iter().filter_map(|family| family.code.as_ref()).map(|code| &*code.value);
        let access_tokens = self.access_tokens.iter().map(|token| &*token.value);
        let own = CLIENTS.iter().flat_map(|client| client.secrets.iter().copied()).chain([VERIFIER, USER.1]);
        codes.chain(self.refresh_tokens.iter().map(|token| &**token)).chain(access_tokens).chain(own)
    }

    /// Returns the expected outcome of a request. A proven replay revokes its family in the model.
    pub(super) fn verdict(&mut self, draft: &Draft, world: &World) -> Verdict {
        let now = world.clock.now();
        let (client, form) = match self.read(draft) {
            Ok(read) => read,
            Err(refused) if refused == UNKNOWN => return Verdict::Refused("unknown client", Some(refused)),
            Err(refused) => return Verdict::Refused("refused", Some(refused)),
        };
        let grant_type = form.one("grant_type").unwrap_or_default();
        let is_offered = ["authorization_code", "client_credentials", "refresh_token"].contains(&grant_type)
            || self.dangers && grant_type == "password";
        if !is_offered {
            return Verdict::Refused("refused", Some((400, "unsupported_grant_type")));
        }
        if !client.uses(grant_type) {
            return Verdict::Refused("refused", Some((400, "unauthorized_client")));
        }
        match grant_type {
            "authorization_code" => self.code(client, &form, now),
            "refresh_token" => self.refresh(client, &form, now),
            _ => open(client, &form, grant_type, now),
        }
    }

    /// Returns the client and the parameters of a request.
    fn read(&self, draft: &Draft) -> Result<(&'static Registered, Form), Refused> {
        let mut known = TOKEN_PARAMETERS.to_vec();
        if self.dangers {
            known.extend(["username", "password"]);
        }
        if draft.method.as_deref().is_some_and(|method| method != "POST") {
            return Err((405, "invalid_request"));
        }
        let in_query = Form::read(&draft.query).has_any(&known);
        let is_form = is_form(&draft.values("content-type"));
        if in_query && !self.dangers || !is_form && (!in_query || !draft.body.is_empty()) {
            return Err(MALFORMED);
        }
        let mut all = if in_query { draft.query.clone() } else { Vec::new() };
        if is_form {
            all.push(b'&');
            all.extend_from_slice(&draft.body);
        }
        let form = Form::read(&all);
        if !form.is_acceptable(&known) || form.one("grant_type").is_none() {
            return Err(MALFORMED);
        }
        let client = credentials::client(&draft.values("authorization"), &form)?;
        if in_query && !client.has(Habit::Legacy) {
            return Err(MALFORMED);
        }
        Ok((client, form))
    }

    fn code(&mut self, client: &Registered, form: &Form, now: OffsetDateTime) -> Verdict {
        let Some(presented) = form.one("code") else {
            return Verdict::Refused("refused", Some(MALFORMED));
        };
        let found = self.families.iter_mut().enumerate().find_map(|(index, family)| {
            let is_it =
                family.client.id == client.id && family.code.as_ref().is_some_and(|code| code.value == presented);
            is_it.then_some((index, family))
        });
        let Some((index, family)) = found else { return INVALID_GRANT };
        let Some(code) = &mut family.code else { return INVALID_GRANT };
        let redirect_uri_fits = form.one("redirect_uri").map_or(!code.was_sent, |uri| uri == code.redirect_uri);
        if !redirect_uri_fits || form.one("code_verifier") != Some(VERIFIER) || family.revoked || now >= family.ends_at
        {
            return INVALID_GRANT;
        }
        if code.spent {
            family.revoked = true;
            return Verdict::Refused("code replayed", Some((400, "invalid_grant")));
        }
        if now >= code.expires_at {
            return INVALID_GRANT;
        }
        code.spent = true;
        let refreshable = client.uses("refresh_token");
        family.ends_at = now + if refreshable { Duration::days(14) } else { Duration::HOUR };
        let scope = family.scope.clone();
        Verdict::Granted(Granted { outcome: "code redeemed", scope, refreshable, change: Change::Redeemed(index), now })
    }

    fn refresh(&mut self, client: &Registered, form: &Form, now: OffsetDateTime) -> Verdict {
        let Some(presented) = form.one("refresh_token") else {
            return Verdict::Refused("refused", Some(MALFORMED));
        };
        let found = self.families.iter_mut().enumerate().find_map(|(index, family)| {
            let place = family.refresh_tokens.iter().position(|token| token.value == presented)?;
            (family.client.id == client.id).then_some((index, family, place))
        });
        let Some((index, family, place)) = found else { return INVALID_GRANT };
        // The scope is checked first: the error for a wrong scope reveals nothing about the token, and changes nothing.
        let requested = form.one("scope").map_or_else(|| Some(family.scope.clone()), |it| narrowed(it, &family.scope));
        let Some(scope) = requested else { return Verdict::Refused("refused", Some((400, "invalid_scope"))) };
        if family.revoked || now >= family.ends_at {
            return INVALID_GRANT;
        }
        let token = &family.refresh_tokens[place];
        if let Some(spent) = &token.spent {
            // A used successor ends the grace window, and so does time.
            let is_last_answer = place + 2 == family.refresh_tokens.len();
            if !is_last_answer || now - spent.at >= Duration::seconds(30) {
                family.revoked = true;
                return Verdict::Refused("refresh token stolen", Some((400, "invalid_grant")));
            }
            if !spent.scope.iter().all(|token| scope.contains(token)) {
                return INVALID_GRANT;
            }
            let change = Change::Repeated {
                access_token: spent.access_token.clone(),
                refresh_token: family.refresh_tokens[place + 1].value.clone(),
            };
            let scope = spent.scope.clone();
            return Verdict::Granted(Granted { outcome: "refresh repeated", scope, refreshable: true, change, now });
        }
        family.ends_at = now + Duration::days(14);
        Verdict::Granted(Granted {
            outcome: "refreshed",
            scope,
            refreshable: true,
            change: Change::Refreshed(index),
            now,
        })
    }

    /// Records the issued tokens.
    pub(super) fn record(&mut self, granted: &Granted, access_token: String, refresh_token: Option<String>) {
        let family = match &granted.change {
            Change::Repeated { access_token: first, refresh_token: successor } => {
                assert_eq!((&access_token, refresh_token.as_ref()), (first, Some(successor)), "the same answer again");
                return;
            }
            Change::Redeemed(index) => *index,
            Change::Refreshed(index) => {
                let last = self.families[*index].refresh_tokens.last_mut().expect("the token that was presented");
                last.spent = Some(SpentRefresh {
                    at: granted.now,
                    scope: granted.scope.clone(),
                    access_token: access_token.clone(),
                });
                *index
            }
            Change::Opened(client) => {
                let ends_at = granted.now + if granted.refreshable { Duration::days(14) } else { Duration::HOUR };
                let (scope, refresh_tokens) = (granted.scope.clone(), Vec::new());
                self.families.push(Family { client, scope, revoked: false, ends_at, code: None, refresh_tokens });
                self.families.len() - 1
            }
        };
        let mut old = self.access_tokens.iter().map(|token| &token.value).chain(&self.refresh_tokens);
        assert!(old.all(|old| *old != access_token && Some(old) != refresh_token.as_ref()), "a token that is not new");
        let has_read = granted.scope.iter().any(|token| token == "user:read");
        self.access_tokens.push(Access {
            value: access_token,
            family,
            has_read,
            expires_at: granted.now + Duration::HOUR,
        });
        self.refresh_tokens.extend(refresh_token.clone());
        self.families[family].refresh_tokens.extend(refresh_token.map(|value| Refresh { value, spent: None }));
    }

    /// Checks at the end that an access token works if and only if its family is live.
    pub(super) fn check_access_tokens(&self, world: &World) {
        let now = world.clock.now();
        for token in &self.access_tokens {
            let family = &self.families[token.family];
            let works = token.has_read && !family.revoked && now < token.expires_at;
            let owner = owner_of(world, &token.value);
            assert_eq!(owner.as_deref(), works.then_some(family.client.id), "revoked: {}", family.revoked);
        }
    }
}

/// Returns the requested scope of a refresh, sorted, if it is within the granted scope.
fn narrowed(requested: &str, granted: &[String]) -> Option<Vec<String>> {
    let tokens = requested.split(' ').filter(|token| !token.is_empty());
    let mut tokens: Vec<String> = tokens.map(String::from).collect();
    tokens.sort_unstable();
    tokens.dedup();
    (!tokens.is_empty() && tokens.iter().all(|token| granted.contains(token))).then_some(tokens)
}

/// Returns the outcome for grant types without a token: client credentials and password.
fn open(client: &'static Registered, form: &Form, grant_type: &str, now: OffsetDateTime) -> Verdict {
    let scope = client.grantable(form.one("scope"));
    let (outcome, refreshable) = if grant_type == "password" {
        match (form.one("username"), form.one("password")) {
            (Some(name), Some(password)) if (name, password) == USER => {}
            // The order of the scope check and the password check is not specified.
            _ => return REFUSED,
        }
        ("password", client.uses("refresh_token"))
    } else {
        ("client credentials", false)
    };
    let Some(scope) = scope else { return Verdict::Refused("refused", Some((400, "invalid_scope"))) };
    Verdict::Granted(Granted { outcome, scope, refreshable, change: Change::Opened(client), now })
}
