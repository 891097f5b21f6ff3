//! A request to the authorization endpoint gets one decision, about the checked request, and the response goes to a
//! checked address.

use grantor::{
    Approval, AuthorizationResponse, AuthorizationServer, Consent, Login, PendingAuthorization, Request, Response,
    Scope,
};

// refused: E0616
/// A host cannot widen a pending request.
fn widen_pending(mut pending: PendingAuthorization, everything: Scope) {
    pending.scope = everything;
}

// refused: E0308
/// A form token that was rejected leads to no decision.
async fn resume_unchecked(oauth: &AuthorizationServer, form_token: &str) -> Response {
    match oauth.resume(form_token, "a session").await {
        Ok(pending) | Err(pending) => pending.deny().await.into(),
    }
}

// refused: E0382
/// A denied request cannot be approved.
async fn approve_after_deny(pending: Consent, approval: Approval) -> Response {
    let _denied = pending.deny().await;
    pending.approve(approval).await.into()
}

// refused: E0599
/// A request can be approved only after the host app has called `interaction`.
async fn approve_without_interaction(pending: PendingAuthorization, approval: Approval) -> Response {
    pending.approve(approval).await.into()
}

// refused: E0599
/// A request whose user has to log in cannot be approved.
async fn approve_before_login(login: Login, approval: Approval) -> Response {
    login.approve(approval).await.into()
}

// refused: E0382
/// One consent opens one grant.
async fn approve_twice(pending: Consent, mine: Approval, yours: Approval) {
    let _first = pending.approve(mine).await;
    let _second = pending.approve(yours).await;
}

// refused: E0624
/// Only the library redirects, and only to a redirect URI of the client.
fn redirect_by_hand(request: &Request) -> Response {
    Response::see_other(request.query().to_owned())
}

// refused: E0624
/// A page cannot be made into a redirect.
fn redirect_by_a_header(uri: String) -> Response {
    Response::page(302, "").with_header("location", uri)
}

// refused: E0603
/// The target of a redirect has no public type.
fn redirect_target_of_a_request(target: grantor::authorize::RedirectTarget) {
    drop(target);
}

// refused: E0616
/// A response goes to the checked redirect URI.
fn redirect_to_an_own_target(mut answer: AuthorizationResponse) {
    answer.route.target = "https://evil.example/";
}

fn main() {}
