use grantor::client::{ClientType, LegacyHabits, Lifetimes, RegisteredBy};
use grantor::{Client, ClientCredential, ClientSecret};

#[test]
fn defaults_of_a_client() {
    let secret = ClientSecret::random().unwrap();
    let client = Client::confidential("my-site", ClientCredential::secret(&secret));
    let client = client.authorization_code(["https://app.example/cb"]).build().unwrap();
    let parts = client.into_parts();
    assert_eq!(parts.client_type, ClientType::Confidential);
    assert_eq!(parts.registered_by, RegisteredBy::Administrator);
    assert_eq!(parts.credentials[0].expires_at(), None);
    assert!(parts.token_endpoint_auth_method.is_none(), "which means Basic and body");
    assert_eq!((parts.scope.is_none(), parts.default_scope.is_none(), parts.own_scope.is_none()), (true, true, true));
    assert!(!parts.all_offered_scopes);
    assert_eq!((parts.lifetimes, parts.legacy), (Lifetimes::default(), LegacyHabits::default()));
    assert!(!parts.omits_redirect_uri && !parts.raw_basic_secret && !parts.resource_server && !parts.first_party);
}
