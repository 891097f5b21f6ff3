use grantor::authorize::escape;
use grantor::storage::GrantSelector;
use grantor::{AuthorizationServer, ClientId, Error, Subject};

/// `form_secret` is a random value of this session. The handler of the form compares it.
pub async fn connected_page(oauth: &AuthorizationServer, user: &Subject, form_secret: &str) -> Result<String, Error> {
    let mut page = "<!doctype html><title>Connected applications</title>".to_owned();
    for connection in oauth.connections(user).await?.applications {
        let id = connection.client_id.as_str();
        let name = connection.client.as_ref().and_then(|client| client.name()).unwrap_or(id);
        let scopes = oauth.scopes().filter(|scope| connection.scope.contains(scope.token));
        let scopes: Vec<_> = scopes.map(|scope| escape(scope.description)).collect();
        page += &format!(
            "<h2>{}</h2><p>{}. Since {}, last used {}.</p><form method=post action=/connected/end>\
             <input type=hidden name=form_secret value=\"{form_secret}\">\
             <button name=client_id value=\"{}\">End access</button></form>",
            escape(name),
            scopes.join(", "),
            connection.since.date(),
            connection.last_used_at.date(),
            escape(id),
        );
    }
    Ok(page)
}

/// The button revokes all grants of this user to this client.
pub async fn end_access(oauth: &AuthorizationServer, user: &Subject, client: ClientId) -> Result<(), Error> {
    oauth.revoke_grants(&GrantSelector::SubjectAndClient(user.clone(), client)).await?;
    Ok(())
}
