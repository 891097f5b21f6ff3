#[tokio::test]
async fn token_expires() {
    let t = grantor::testing::TestServer::new(); // memory storage, a clock to move, seeded entropy
    let app = t.public_client("https://app.example/cb").await;

    let flow = t.authorize(&app).scope("user:read user:write").approve_as("alice").await;
    let tokens = flow.redeem().await.unwrap();
    let access = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");

    t.clock.advance(time::Duration::hours(2));
    assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
    let tokens = t.refresh(&app, &tokens.refresh_token.unwrap()).await.unwrap();
    assert!(t.bearer(&tokens.access_token).await.is_ok());
}
