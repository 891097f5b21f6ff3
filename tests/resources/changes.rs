//! Resources that are declared, renamed, changed or removed while grants exist.

use grantor::testing::{TestClient, TestServer};
use grantor::{AuthorizationServer, Error, ProtectedResource, RefreshToken, Refusal, TokenRequest, TokenResponse};

use crate::common::CB;
use crate::{
    CALENDAR, MAIL, access, bearing, calendar, code, granted, mail, rebuilt, redeem, refresh, refresh_of, tokens,
    with_default,
};

/// A refresh at another server.
async fn refresh_at(
    server: &AuthorizationServer,
    app: &TestClient,
    token: &RefreshToken,
    resource: Option<&str>,
) -> Result<TokenResponse, Error> {
    let request = TokenRequest::refresh_token(token).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
    let request = resource.into_iter().fold(request, |request, resource| request.parameter("resource", resource));
    server.token_request(&request).await
}

#[track_caller]
fn assert_refused(result: Result<TokenResponse, Error>, code: &str, refusal: &Refusal) {
    let error = result.unwrap_err();
    assert_eq!((error.code().as_str(), error.refusal()), (code, Some(refusal)));
}

const RENAMED: &str = "https://mail.example";

#[tokio::test]
async fn renamed_resource_keeps_its_grants_and_tokens() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let old = tokens(&t, &app, "user:read", &[MAIL]).await;
    let kept = rebuilt(&t, |builder| builder.protected_resource(ProtectedResource::new(RENAMED).formerly(MAIL))).await;
    let checked = kept.bearer(&bearing(&access(&old))).await.unwrap().require("user:read").unwrap();
    assert_eq!(checked.resource(), Some(RENAMED));
    let mut token = refresh_of(&old);
    for named in [Some(MAIL), None, Some(RENAMED)] {
        let new = refresh_at(&kept, &app, &token, named).await.unwrap();
        let checked = kept.bearer(&bearing(&new.access_token)).await.unwrap().require("user:read").unwrap();
        assert_eq!(checked.resource(), Some(RENAMED));
        // The text of the audience is the new identifier, which the first declaration does not know.
        assert!(t.server.bearer(&bearing(&new.access_token)).await.is_err());
        token = new.refresh_token.unwrap();
    }
}

/// A client that always names its resource must learn that it has to ask the user again, so the error is
/// `invalid_grant`.
#[tokio::test]
async fn grant_without_a_resource_left_is_an_invalid_grant() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let old = tokens(&t, &app, "user:read", &[MAIL]).await;
    let spent = refresh_of(&tokens(&t, &app, "user:read", &[MAIL]).await);
    granted(&refresh(&t, &app, spent.expose(), &[]).await);
    let other = rebuilt(&t, |builder| builder.protected_resource(ProtectedResource::new(RENAMED))).await;
    let none = rebuilt(&t, |builder| builder).await;
    for server in [&other, &none] {
        assert_eq!(server.bearer(&bearing(&access(&old))).await.unwrap_err().status(), 401);
        for token in [&refresh_of(&old), &spent] {
            for named in [None, Some(RENAMED)] {
                let answer = refresh_at(server, &app, token, named).await;
                assert_refused(answer, "invalid_grant", &Refusal::NoResourceLeft);
            }
        }
    }
    // The server lost its resources for a while only.
    granted(&refresh(&t, &app, refresh_of(&old).expose(), &[]).await);
}

#[tokio::test]
async fn server_without_resources_ignores_the_parameter() {
    let t = TestServer::new();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read", &["https://any.example", "other"]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", "https://any.example")]).await);
    assert!(t.bearer(&access(&first)).await.is_ok());
    // If resources are declared later, the grant must be given anew.
    for has_default in [true, false] {
        let declare = |builder: grantor::Builder| {
            if has_default { builder.protected_resource(mail()) } else { builder.resource(mail()) }
        };
        let later = rebuilt(&t, declare).await;
        assert_eq!(later.bearer(&bearing(&access(&first))).await.unwrap_err().status(), 401, "{has_default}");
        for named in [None, Some(MAIL)] {
            let answer = refresh_at(&later, &app, &refresh_of(&first), named).await;
            assert_refused(answer, "invalid_grant", &Refusal::NoResourceLeft);
        }
    }
}

#[tokio::test]
async fn resource_that_declares_more_widens_no_grant() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let old = tokens(&t, &app, "user:read user:write", &[MAIL]).await;
    let wider = rebuilt(&t, |builder| builder.protected_resource(mail().scope("user:read user:write"))).await;
    let new = refresh_at(&wider, &app, &refresh_of(&old), None).await.unwrap();
    assert_eq!(new.scope.as_str(), "user:read");
}

#[tokio::test]
async fn resource_that_declares_less_narrows_or_ends_a_grant() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let both = tokens(&t, &app, "user:read user:write", &[CALENDAR]).await;
    let narrower =
        |builder: grantor::Builder| builder.protected_resource(mail()).resource(calendar().scope("user:write"));
    let narrower = rebuilt(&t, narrower).await;
    let new = refresh_at(&narrower, &app, &refresh_of(&both), None).await.unwrap();
    assert_eq!(new.scope.as_str(), "user:write");

    let read = tokens(&t, &app, "user:read", &[CALENDAR]).await;
    let spent = refresh_of(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    granted(&refresh(&t, &app, spent.expose(), &[]).await);
    for token in [&refresh_of(&read), &spent] {
        let answer = refresh_at(&narrower, &app, token, Some(CALENDAR)).await;
        assert_refused(answer, "invalid_grant", &Refusal::NoScopeLeft);
    }
    // Another resource of the grant can still be used, so the fault is in the request.
    let two = tokens(&t, &app, "user:read", &[CALENDAR, MAIL]).await;
    let answer = refresh_at(&narrower, &app, &refresh_of(&two), None).await;
    assert_refused(answer, "invalid_scope", &Refusal::NoScopeForResource);
    assert!(refresh_at(&narrower, &app, &refresh_of(&two), Some(MAIL)).await.is_ok());
}
