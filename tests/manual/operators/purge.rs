pub async fn purge_forever(oauth: grantor::AuthorizationServer) {
    let mut minutes = tokio::time::interval(std::time::Duration::from_secs(60));
    loop {
        minutes.tick().await;
        loop {
            match oauth.purge(5_000).await {
                Ok(5_000) => tokio::task::yield_now().await, // there is more; let other tasks run first
                Ok(_) => break,
                Err(error) => {
                    eprintln!("purging failed: {error}"); // the next minute tries again
                    break;
                }
            }
        }
    }
}
