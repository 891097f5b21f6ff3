//! Requests that name resources, and requests that name none.

use grantor::event::BearerRefusal;
use grantor::testing::{TestServer, approve};
use grantor::{Approval, Policy};
use serde_json::json;

use crate::common::{CB, json, query_of, responded, token_as};
use crate::{
    CALENDAR, MAIL, accepted_at, access, ask, calendar, code, granted, mail, pending, redeem, refresh, refresh_of,
    refused, subject, tokens, with_default, without_default,
};

// covers: RI-02 (RFC 8707 §2), RI-04 (RFC 8707 §2), RM-05 (RFC 9728 §7.4), MC-09 (MCP Token Audience Binding)
#[tokio::test]
async fn token_is_accepted_at_one_resource_only() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let tokens = tokens(&t, &app, "user:read", &[CALENDAR, MAIL, CALENDAR]).await;
    assert_eq!(accepted_at(&t, &access(&tokens)).await, CALENDAR);
    // The server itself checks tokens for its default resource.
    assert_eq!(t.bearer(&access(&tokens)).await.unwrap_err().status(), 401);
    assert!(t.events.events().iter().any(|event| event.text.contains(&format!("{:?}", BearerRefusal::Foreign))));
    let refreshed = granted(&refresh(&t, &app, refresh_of(&tokens).expose(), &[("resource", MAIL)]).await);
    assert_eq!(accepted_at(&t, &access(&refreshed)).await, MAIL);
    assert!(t.bearer(&access(&refreshed)).await.is_ok());
}

// covers: RI-05 (RFC 8707 §2.1)
#[tokio::test]
async fn request_without_resource_is_for_the_default() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    assert_eq!(accepted_at(&t, &access(&tokens(&t, &app, "user:read", &[]).await)).await, MAIL);
    let own = t.server.token(&token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
    assert_eq!(accepted_at(&t, &access(&granted(&own))).await, MAIL);

    let t = without_default();
    let app = t.confidential_client(CB).await;
    let answer = responded(t.server.authorize(&ask(&t, &app, "user:read", &[])).await);
    let query = query_of(&answer);
    assert_eq!((&*query["error"], &*query["state"]), ("invalid_target", "s"));
    assert_eq!(query["error_description"], "the parameter resource is missing");
    let own = token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]);
    refused(&t.server.token(&own).await, "invalid_target");
    // A token request of a grant need not repeat the resource.
    assert_eq!(accepted_at(&t, &access(&tokens(&t, &app, "user:read", &[MAIL]).await)).await, MAIL);
}

// covers: RI-01 (RFC 8707 §2), RI-03 (RFC 8707 §2, §2.1)
#[tokio::test]
async fn unknown_resource_is_refused_everywhere() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let good = tokens(&t, &app, "user:read", &[]).await;
    let code = code(&t, &app, "user:read", &[]).await;
    for unknown in ["mail", "/mail", "https://id.example/mail#x", "https://id.example/mail/", "https://ID.example/mail"]
    {
        let answer = responded(t.server.authorize(&ask(&t, &app, "user:read", &[MAIL, unknown])).await);
        assert_eq!(&*query_of(&answer)["error"], "invalid_target", "{unknown}");
        let own = [("grant_type", "client_credentials"), ("scope", "user:read"), ("resource", unknown)];
        refused(&t.server.token(&token_as(&app, &own)).await, "invalid_target");
        refused(&redeem(&t, &app, &code, &[("resource", unknown)]).await, "invalid_target");
        refused(&refresh(&t, &app, refresh_of(&good).expose(), &[("resource", unknown)]).await, "invalid_target");
        // The error comes before any look-up, so it says nothing about a token.
        refused(&refresh(&t, &app, "unknown", &[("resource", unknown)]).await, "invalid_target");
    }
    let own =
        [("grant_type", "client_credentials"), ("scope", "user:read"), ("resource", MAIL), ("resource", CALENDAR)];
    let answer = t.server.token(&token_as(&app, &own)).await;
    refused(&answer, "invalid_target");
    assert_eq!(json(&answer)["error_description"], "the request names several resources: name one");
    // Nothing was spent.
    granted(&redeem(&t, &app, &code, &[]).await);
    granted(&refresh(&t, &app, refresh_of(&good).expose(), &[]).await);
}

// covers: RI-06 (RFC 8707 §2.2), B40
#[tokio::test]
async fn token_request_never_widens_the_resources() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read", &[CALENDAR]).await;
    let answer = redeem(&t, &app, &code, &[("resource", MAIL)]).await;
    refused(&answer, "invalid_target");
    assert_eq!(json(&answer)["error_description"], "the requested resource was not granted");
    let first = granted(&redeem(&t, &app, &code, &[("resource", CALENDAR)]).await);
    refused(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", MAIL)]).await, "invalid_target");
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[]).await);
    assert_eq!(accepted_at(&t, &access(&second)).await, CALENDAR);
}

// covers: RI-07 (RFC 8707 §2.2)
#[tokio::test]
async fn refresh_token_keeps_all_resources() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read user:write", &[MAIL, CALENDAR]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", MAIL)]).await);
    assert_eq!(first["scope"], "user:read");
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", CALENDAR)]).await);
    assert_eq!(
        (accepted_at(&t, &access(&second)).await.as_str(), &second["scope"]),
        (CALENDAR, &json!("user:read user:write"))
    );
    let third = granted(&refresh(&t, &app, refresh_of(&second).expose(), &[]).await);
    assert_eq!(accepted_at(&t, &access(&third)).await, MAIL);
}

// covers: RI-08 (RFC 8707 §2.2)
#[tokio::test]
async fn scope_is_cut_to_what_the_resource_declares() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    // `offline_access` belongs to no resource: the grant keeps it, and no token has it.
    let asked = pending(&t, &app, "user:read user:write offline_access", &[MAIL]).await;
    assert_eq!(asked.scope().as_str(), "offline_access user:read");
    assert_eq!(asked.resources().collect::<Vec<_>>(), [MAIL]);
    let code = query_of(&approve(asked, Approval::by(subject())).await.into_http())["code"].clone();
    let tokens = granted(&redeem(&t, &app, &code, &[]).await);
    assert_eq!(tokens["scope"], "user:read");
    // A scope of which nothing is left is an error, also after the user has chosen.
    let answer = responded(t.server.authorize(&ask(&t, &app, "user:write offline_access", &[MAIL])).await);
    assert_eq!(&*query_of(&answer)["error"], "invalid_scope");
    let asked = pending(&t, &app, "user:read offline_access", &[MAIL]).await;
    let answer = approve(asked, Approval::by(subject()).scope(["offline_access"])).await.into_http();
    assert_eq!(&*query_of(&answer)["error"], "access_denied");
    let own = [("grant_type", "client_credentials"), ("scope", "user:write"), ("resource", MAIL)];
    refused(&t.server.token(&token_as(&app, &own)).await, "invalid_scope");
    refused(&refresh(&t, &app, refresh_of(&tokens).expose(), &[("scope", "offline_access")]).await, "invalid_scope");
}

#[tokio::test]
async fn slash_of_an_empty_path_makes_no_difference() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let with_slash = "https://calendar.example/";
    let code = code(&t, &app, "user:read", &[with_slash]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", CALENDAR)]).await);
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", with_slash)]).await);
    for tokens in [first, second] {
        // The audience is the declared text.
        assert_eq!(accepted_at(&t, &access(&tokens)).await, CALENDAR);
    }
    assert_eq!(t.resource(with_slash).unwrap().identifier(), CALENDAR);
}

// covers: B40
#[tokio::test]
async fn repeated_refresh_is_for_the_same_resource() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let first = tokens(&t, &app, "user:read", &[MAIL, CALENDAR]).await;
    let token = refresh_of(&first);
    let second = granted(&refresh(&t, &app, token.expose(), &[("resource", CALENDAR)]).await);
    for other in [&[][..], &[("resource", MAIL)]] {
        let answer = refresh(&t, &app, token.expose(), other).await;
        refused(&answer, "invalid_target");
        assert!(json(&answer)["error_description"].as_str().unwrap().ends_with("use the new refresh token"));
    }
    let again = granted(&refresh(&t, &app, token.expose(), &[("resource", CALENDAR)]).await);
    assert_eq!(again["access_token"], second["access_token"]);
    granted(&refresh(&t, &app, refresh_of(&second).expose(), &[]).await);
}

#[tokio::test]
async fn faulty_resource_answers_alike_for_spent_and_unspent() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let unspent = refresh_of(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    let spent = refresh_of(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    granted(&refresh(&t, &app, spent.expose(), &[]).await);
    for fault in [
        &[("resource", MAIL)][..],
        &[("resource", "https://other.example")],
        &[("resource", CALENDAR), ("resource", MAIL)],
        &[("resource", CALENDAR), ("scope", "offline_access")],
    ] {
        let [one, other] =
            [refresh(&t, &app, unspent.expose(), fault).await, refresh(&t, &app, spent.expose(), fault).await];
        assert_eq!(one.status(), 400, "{fault:?}");
        assert_eq!((one.status(), one.body()), (other.status(), other.body()), "{fault:?}");
    }
    granted(&refresh(&t, &app, unspent.expose(), &[]).await);
}

// Regression: a code that was redeemed for one resource and presented again for another one did not end the grant.
#[tokio::test]
async fn tolerated_code_names_the_same_resource() {
    let mut policy = Policy::default();
    policy.tolerate_repeated_codes = true;
    let t = TestServer::with(|builder| builder.policy(policy).protected_resource(mail()).resource(calendar()));
    let app = t.confidential_client(CB).await;
    for (first, second, event) in [
        (None, None, "code_repeated"),
        (None, Some(CALENDAR), "code_repeated"),
        (Some(CALENDAR), None, "code_repeated"),
        (Some(MAIL), Some(MAIL), "code_repeated"),
        (Some(MAIL), None, "code_replayed"),
        (Some(MAIL), Some(CALENDAR), "code_replayed"),
        (None, Some(MAIL), "code_replayed"),
    ] {
        let code = code(&t, &app, "user:read", &[CALENDAR, MAIL]).await;
        let named = |resource: Option<&'static str>| Vec::from_iter(resource.map(|resource| ("resource", resource)));
        granted(&redeem(&t, &app, &code, &named(first)).await);
        refused(&redeem(&t, &app, &code, &named(second)).await, "invalid_grant");
        let told = t.events.names();
        assert_eq!(told[told.len() - 2..], [event, "token_refused"], "{first:?}, {second:?}");
    }
}
