//! Client authentication by header and body, at the token and revocation endpoints.
//!
//! Each line of the input is an `Authorization` header, unless it starts with one of these:
//! * `=`: the rest is encoded as base64 in a `Basic` header
//! * `&`: an identifier, a tab and a secret, form-encoded in a `Basic` header
//! * `+`: a part of the form in the body

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::{AccessToken, BearerRequest, Request, Response};
use url::form_urlencoded::byte_serialize;

use crate::answer;
use crate::credentials::{self, MALFORMED, Refused};
use crate::form::Form;
use crate::world::{Registered, Switches, TOKEN_PARAMETERS, World, block_on};

pub const OUTCOMES: [&str; 5] =
    ["authenticated", "public client", "invalid_request", "invalid_client", "scope refused"];

const REVOCATION_PARAMETERS: [&str; 6] =
    ["token", "token_type_hint", "client_id", "client_secret", "client_assertion", "client_assertion_type"];

#[derive(Default)]
struct Input {
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
}

pub fn check(data: &[u8]) -> &'static str {
    let input = Input::read(data);
    World::lend(Switches::default(), |world| {
        input.revoke(world);
        input.ask_for_a_token(world)
    })
}

impl Input {
    fn read(data: &[u8]) -> Self {
        let mut input = Self::default();
        for line in data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match line[0] {
                b'=' => input.headers.push(basic(&line[1..])),
                b'&' => {
                    let mut halves =
                        line[1..].splitn(2, |byte| *byte == b'\t').map(|half| byte_serialize(half).collect::<String>());
                    let (id, secret) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
                    input.headers.push(basic(format!("{id}:{secret}").as_bytes()));
                }
                b'+' => {
                    input.body.push(b'&');
                    input.body.extend_from_slice(&line[1..]);
                }
                _ => input.headers.push(line.to_vec()),
            }
        }
        input
    }

    fn request(&self, start: &str) -> (Request, Form) {
        let body = [start.as_bytes(), &self.body].concat();
        let form = Form::read(&body);
        let request = Request::post_form("/endpoint", body);
        (
            self.headers.iter().fold(request, |request, value| request.with_header("Authorization", value.as_slice())),
            form,
        )
    }

    /// Returns the client of the request, if the endpoint accepts the request.
    fn client(&self, form: &Form, known: &[&str]) -> Result<&'static Registered, Refused> {
        if form.is_acceptable(known) { credentials::client(&self.headers, form) } else { Err(MALFORMED) }
    }

    fn revoke(&self, world: &World) {
        let (request, form) = self.request("token=that-nobody-has-issued");
        let answer = block_on(world.server.revoke(&request));
        match self.client(&form, &REVOCATION_PARAMETERS) {
            Ok(_) => {
                answer::check_headers(&answer);
                assert_eq!((answer.status(), answer.body()), (200, &b"{}"[..]));
            }
            Err(refused) => expect(&answer, refused),
        }
    }

    fn ask_for_a_token(&self, world: &World) -> &'static str {
        let (request, form) = self.request("grant_type=client_credentials");
        let answer = block_on(world.server.token(&request));
        let client = match self.client(&form, &TOKEN_PARAMETERS) {
            Ok(client) => client,
            Err(refused) => {
                expect(&answer, refused);
                return refused.1;
            }
        };
        if !client.uses("client_credentials") {
            expect(&answer, (400, "unauthorized_client"));
            return "public client";
        }
        let Some(scope) = client.grantable(form.one("scope")) else {
            expect(&answer, (400, "invalid_scope"));
            return "scope refused";
        };
        assert_eq!(answer.status(), 200, "{} is who it says", client.id);
        let members = answer::json(&answer);
        assert_eq!(members["scope"], scope.join(" "));
        let token = AccessToken::new(members["access_token"].as_str().expect("a text"));
        let access = block_on(world.server.bearer_request(&BearerRequest::of(&token)))
            .and_then(|bearer| bearer.require("user:read"));
        if scope.iter().any(|token| token == "user:read") {
            assert_eq!(access.expect("a token that works").client_id().as_str(), client.id);
        }
        "authenticated"
    }
}

fn basic(user_pass: &[u8]) -> Vec<u8> {
    format!("Basic {}", STANDARD.encode(user_pass)).into_bytes()
}

fn expect(answer: &Response, (status, code): Refused) {
    let error = answer::error(answer);
    assert_eq!((error.status, &*error.code), (status, code), "{}", error.description);
}
