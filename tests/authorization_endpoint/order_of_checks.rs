//! Which of two faults decides the answer. The order matters for security: until the client and its
//! redirect URI are known to belong together, nothing may be redirected.

use grantor::testing::ISSUER;

use self::GoesTo::{Client, Page};
use crate::ask::{Ask, CALLBACK, assert_page, refused};
use crate::common::{fragment_of, query_of};
use crate::source::TestServer;

/// A fault of a request, and its answer. Two faults are not combined if they have the same rank or change the same
/// parameter.
struct Fault {
    rank: usize,
    goes_to: GoesTo,
    parameter: &'static str,
    spoil: fn(Ask) -> Ask,
    code: &'static str,
    description: &'static str,
}

#[derive(PartialEq)]
enum GoesTo {
    Page,
    Client,
}

const fn fault(
    rank: usize,
    goes_to: GoesTo,
    parameter: &'static str,
    spoil: fn(Ask) -> Ask,
    code: &'static str,
    description: &'static str,
) -> Fault {
    Fault { rank, goes_to, parameter, spoil, code, description }
}

/// The faults, in the order in which the server finds them.
#[rustfmt::skip]
const FAULTS: &[Fault] = &[
    fault(0, Page, "client_id", |ask| ask.without("client_id"),
        "invalid_request", "the parameter client_id is missing"),
    fault(0, Page, "client_id", |ask| ask.twice("client_id"),
        "invalid_request", "the parameter client_id occurs more than once"),
    fault(1, Page, "redirect_uri", |ask| ask.twice("redirect_uri"),
        "invalid_request", "the parameter redirect_uri occurs more than once"),
    fault(2, Page, "client_id", |ask| ask.with("client_id", "nobody"),
        "invalid_client", "the client is not registered with this server"),
    fault(3, Page, "redirect_uri", |ask| ask.with("redirect_uri", "https://evil.example/"),
        "invalid_request", "the redirect URI is not registered for this client"),
    fault(3, Page, "redirect_uri", |ask| ask.without("redirect_uri"),
        "invalid_request", "the parameter redirect_uri is missing"),

    fault(4, Client, "response_mode", |ask| ask.with("response_mode", "foo"),
        "invalid_request", "the response mode is unknown or cannot be used with the response type"),
    fault(4, Client, "response_mode", |ask| ask.and("response_mode", "query").and("response_mode", "query"),
        "invalid_request", "the parameter response_mode occurs more than once"),
    fault(5, Client, "an unknown one", |ask| ask.raw("&x=%ZZ"),
        "invalid_request", "the parameters have an invalid percent-escape or are not UTF-8"),
    fault(6, Client, "response_type", |ask| ask.twice("response_type"),
        "invalid_request", "the parameter response_type occurs more than once"),
    fault(6, Client, "state", |ask| ask.twice("state"),
        "invalid_request", "the parameter state occurs more than once"),
    fault(6, Client, "scope", |ask| ask.twice("scope"),
        "invalid_request", "the parameter scope occurs more than once"),
    fault(6, Client, "code_challenge", |ask| ask.twice("code_challenge"),
        "invalid_request", "the parameter code_challenge occurs more than once"),
    fault(7, Client, "state", |ask| ask.with("state", "\n"),
        "invalid_request", "the parameter state is malformed"),
    fault(8, Client, "response_type", |ask| ask.without("response_type"),
        "invalid_request", "the parameter response_type is missing"),
    fault(8, Client, "response_type", |ask| ask.with("response_type", "foo"),
        "unsupported_response_type", "this response type is not supported"),
    fault(8, Client, "response_type", |ask| ask.with("response_type", "token"),
        "unauthorized_client", "the client is not registered for this response type"),
    fault(9, Client, "code_challenge", |ask| ask.without("code_challenge").without("code_challenge_method"),
        "invalid_request", "PKCE is required: code_challenge is missing"),
    fault(9, Client, "code_challenge", |ask| ask.with("code_challenge", "x"),
        "invalid_request", "the parameter code_challenge is malformed"),
    fault(9, Client, "code_challenge", |ask| ask.with("code_challenge_method", "S512"),
        "invalid_request", "PKCE: this code_challenge_method is not supported: use S256"),
    fault(10, Client, "scope", |ask| ask.with("scope", "a\tb"),
        "invalid_scope", "the scope is malformed"),
    fault(10, Client, "scope", |ask| ask.with("scope", "nope"),
        "invalid_scope", "a requested scope is unknown"),
    fault(10, Client, "scope", |ask| ask.with("scope", "user:write"),
        "invalid_scope", "a requested scope is not allowed for this client"),
    fault(10, Client, "scope", |ask| ask.without("scope"),
        "invalid_scope", "the parameter scope is missing, and the client has no default scope"),
];

// covers: AMB-08, AMB-11, AZ-07 (RFC 6749 §4.1.2.1), B1
#[tokio::test]
async fn earlier_of_two_faults_decides() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let uris = [CALLBACK, "https://app.example/2"];
    let app = grantor::Client::public("app").authorization_code(uris).scope("user:read").build();
    let ask = Ask::code(&t.register(app, None).await);
    let mut pairs = 0;
    for (at, earlier) in FAULTS.iter().enumerate() {
        check(&t, earlier, earlier, &(earlier.spoil)(ask.clone())).await;
        for later in &FAULTS[at + 1..] {
            assert!(earlier.rank <= later.rank, "the table is sorted by rank");
            if earlier.rank < later.rank && earlier.parameter != later.parameter {
                check(&t, earlier, later, &(later.spoil)((earlier.spoil)(ask.clone()))).await;
                pairs += 1;
            }
        }
    }
    assert!(pairs > 200, "the table has too few faults that can be combined: {pairs}");
}

async fn check(t: &TestServer, decides: &Fault, other: &Fault, ask: &Ask) {
    let answer = refused(t, ask).await;
    if decides.goes_to == Page {
        return assert_page(&answer, 400, decides.code, decides.description);
    }
    let target = answer.header("location").unwrap_or_default();
    assert!(target.starts_with(CALLBACK), "{}: {target:?}", ask.encoded());
    // With `response_type=token`, the error is in the fragment even if the response type is the fault.
    let members = if target.contains('#') { fragment_of(&answer) } else { query_of(&answer) };
    let told = (&*members["error"], &*members["error_description"]);
    assert_eq!(told, (decides.code, decides.description), "{}", ask.encoded());
    assert_eq!(members["iss"], ISSUER);
    let state_is_in_doubt = [decides.parameter, other.parameter].contains(&"state");
    assert_eq!(members.contains_key("state"), !state_is_in_doubt, "{}", ask.encoded());
}

// covers: AMB-08
#[tokio::test]
async fn response_type_token_checks_precede_pkce_and_scope() {
    let t = TestServer::with_policy(|policy| {
        policy.dangerous().allow_implicit_grant = true;
        policy.dangerous().allow_out_of_band_redirect = true;
    });
    let out_of_band = "urn:ietf:wg:oauth:2.0:oob";
    let app = grantor::Client::public("app").implicit([CALLBACK, out_of_band]).scope("user:read").build();
    let ask = Ask::token(&t.register(app, None).await).with("code_challenge", "x").with("scope", "nope");

    let in_query = refused(&t, &ask.clone().with("response_mode", "query")).await;
    let described = |answer| fragment_of(answer)["error_description"].clone();
    assert_eq!(described(&in_query), "the response mode is unknown or cannot be used with the response type");

    let on_a_page = refused(&t, &ask.clone().with("redirect_uri", out_of_band)).await;
    let description = "the out-of-band redirect can be used with the response type code only";
    assert_page(&on_a_page, 400, "invalid_request", description);

    assert_eq!(described(&refused(&t, &ask).await), "the parameter code_challenge_method is missing");
    let without_challenge = refused(&t, &ask.without("code_challenge")).await;
    assert_eq!(fragment_of(&without_challenge)["error"], "invalid_scope");
}
