use grantor::TokenRequest;
use grantor::testing::TestServer;

#[tokio::test]
async fn ticket_works_once() {
    let name = "urn:example:ticket";
    let t = TestServer::with(|builder| builder.extension_grant(TicketGrant(GrantType::new(name).unwrap())));
    let client = t.confidential_client_with(|client| client.extension_grant(name).refresh_token().scope("user:read")).await;
    let ask = |ticket: &'static str| TokenRequest::new(name).parameter("ticket", ticket).scope("user:read");

    let tokens = t.token_as(&client, ask("t1")).await.unwrap();
    let access = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");
    assert!(tokens.refresh_token.is_some());
    assert_eq!(t.token_as(&client, ask("t1")).await.unwrap_err().code(), "invalid_grant", "it was used");
    assert_eq!(t.token_as(&client, ask("t2")).await.unwrap_err().code(), "invalid_grant", "it is unknown");
}
