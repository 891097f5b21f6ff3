//! The resources of a request on its way through login and consent.

use grantor::testing::TestServer;
use grantor::{Approval, Builder, Client, Interaction, Request, UserSession};

use crate::common::{CB, form, fragment_of, query_of, responded};
use crate::{
    CALENDAR, MAIL, accepted_at, access, ask, calendar, granted, mail, rebuilt, redeem, refresh, refresh_of, subject,
    tokens, with_default,
};

/// The interaction for alice.
async fn interaction(t: &TestServer, request: &Request) -> Interaction {
    t.server.interaction(request, Some(&UserSession::new(subject()))).await
}

#[tokio::test]
async fn remembered_consent_covers_its_resources_only() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let _ = tokens(&t, &app, "user:read", &[MAIL]).await;
    for (resources, is_remembered) in
        [(&[MAIL][..], true), (&[], true), (&[CALENDAR], false), (&[MAIL, CALENDAR], false)]
    {
        let next = interaction(&t, &ask(&t, &app, "user:read", resources)).await;
        assert_eq!(matches!(next, Interaction::Proceed(_)), is_remembered, "{resources:?}");
        assert_eq!(matches!(next, Interaction::Consent(_)), !is_remembered, "{resources:?}");
    }
}

#[tokio::test]
async fn consent_form_is_stale_if_the_default_resource_changes() {
    let key = [7; 32];
    let t = TestServer::with(|builder| builder.protected_resource(mail()).resource(calendar()).server_key(&key, &[]));
    let app = t.confidential_client(CB).await;
    let Interaction::Consent(consent) = interaction(&t, &ask(&t, &app, "user:read", &[])).await else {
        panic!("a consent page")
    };
    assert_eq!(consent.request().resources().collect::<Vec<_>>(), [MAIL]);
    let form = consent.form_token("session");
    let same = |builder: Builder| builder.protected_resource(mail()).resource(calendar()).server_key(&key, &[]);
    assert!(rebuilt(&t, same).await.resume(&form, "session").await.is_ok());
    let other = |builder: Builder| builder.protected_resource(calendar()).resource(mail()).server_key(&key, &[]);
    let other = rebuilt(&t, other).await;
    assert_eq!(
        other.resume(&form, "session").await.unwrap_err().error().refusal(),
        Some(&grantor::Refusal::StaleFormToken)
    );
}

// covers: RI-02 (RFC 8707 §2)
#[tokio::test]
async fn login_and_consent_keep_all_resources() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let request = ask(&t, &app, "user:read user:write", &[CALENDAR, MAIL]);
    let Interaction::Login(login) = t.server.interaction(&request, None).await else { panic!("a login page") };
    let back = Request::get(login.return_target());
    let Interaction::Consent(consent) = interaction(&t, &back).await else { panic!("a consent page") };
    assert_eq!(consent.request().resources().collect::<Vec<_>>(), [CALENDAR, MAIL]);
    let form = t.server.resume(&consent.form_token("session"), "session").await.unwrap();
    assert_eq!(form.request().resources().collect::<Vec<_>>(), [CALENDAR, MAIL]);
    let answer = form.approve(Approval::by(subject())).await.into_http();
    let first = granted(&redeem(&t, &app, &query_of(&answer)["code"], &[]).await);
    assert_eq!(accepted_at(&t, &access(&first)).await, CALENDAR);
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", MAIL)]).await);
    assert_eq!(accepted_at(&t, &access(&second)).await, MAIL);
}

#[tokio::test]
async fn implicit_grant_is_for_one_resource() {
    let t = TestServer::with(|builder| {
        let mut policy = grantor::Policy::default();
        policy.dangerous().allow_implicit_grant = true;
        builder.policy(policy).protected_resource(mail()).resource(calendar())
    });
    let client = Client::public("app").authorization_code([CB]).implicit([CB]).scope("user:read").build();
    t.register(client, None).await;
    let request = |resources: &[&str]| {
        let own = [
            ("response_type", "token"),
            ("client_id", "app"),
            ("redirect_uri", CB),
            ("scope", "user:read"),
            ("state", "s"),
        ];
        let named = resources.iter().map(|resource| ("resource", *resource));
        Request::get(format!("/authorize?{}", form(&own.into_iter().chain(named).collect::<Vec<_>>())))
    };
    for (resources, expected) in [(&[CALENDAR, CALENDAR][..], CALENDAR), (&[], MAIL)] {
        let Interaction::Consent(consent) = interaction(&t, &request(resources)).await else {
            panic!("a consent page")
        };
        let answer = fragment_of(&consent.approve(Approval::by(subject())).await.into_http());
        assert_eq!(accepted_at(&t, &grantor::AccessToken::new(&*answer["access_token"])).await, expected);
    }
    let answer = fragment_of(&responded(t.server.authorize(&request(&[CALENDAR, MAIL])).await));
    assert_eq!((&*answer["error"], &*answer["state"]), ("invalid_target", "s"));
}

#[tokio::test]
async fn consent_for_a_resource_is_not_for_a_whole_server() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let _ = tokens(&t, &app, "user:read", &[MAIL]).await;
    for (has_resources, is_remembered) in [(true, true), (false, false)] {
        let server = rebuilt(&t, |builder| if has_resources { builder.resource(mail()) } else { builder }).await;
        let next = server.interaction(&ask(&t, &app, "user:read", &[MAIL]), Some(&UserSession::new(subject()))).await;
        assert_eq!(matches!(next, Interaction::Proceed(_)), is_remembered, "{next:?}");
    }
}
