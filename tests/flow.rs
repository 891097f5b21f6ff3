//! One pass through everything.
use grantor::testing::TestServer;
use time::Duration;

#[tokio::test]
async fn the_code_flow_issues_refreshes_and_expires() {
    let t = TestServer::new();
    for app in [t.public_client("https://app.example/cb").await, t.confidential_client("https://app.example/cb").await]
    {
        let approved = t.authorize(&app).scope("user:read user:write").state("s").approve_as("alice").await;
        let tokens = approved.redeem().await.unwrap();
        let access = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
        assert_eq!(access.user().unwrap().as_str(), "alice");
        let refreshed = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
        let again = t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
        assert_eq!(refreshed.access_token.expose(), again.access_token.expose());
        assert_eq!(refreshed.refresh_token.unwrap().expose(), again.refresh_token.unwrap().expose());
        t.clock.advance(Duration::hours(2));
        assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
        assert!(t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.is_err());
        assert!(t.events.count("refresh_token_reused") >= 1);
        assert!(approved.redeem().await.is_err());
    }
}
