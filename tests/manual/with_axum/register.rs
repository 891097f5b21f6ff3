use grantor::authorize::escape;
use grantor::client::RegisteredBy;
use grantor::{AuthorizationServer, Client, ClientCredential, ClientId, ClientRegistry, ClientSecret};
use grantor::{Params, Request, Subject};
use serde_json::json;

pub async fn register(
    oauth: &AuthorizationServer,
    clients: &impl ClientRegistry, // the storage, or a clone of it
    owner: &Subject,
    form: &Request,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let params = Params::decode(form.body());
    let (id, secret) = (ClientId::random()?, ClientSecret::random()?);
    let client = match params.require("type")? {
        "confidential" => Client::confidential(&id, ClientCredential::secret(&secret)),
        "native" => Client::native(&id),
        _ => Client::public(&id),
    };
    // `build` does not know which scopes the server offers.
    let ticked = params.get_all("scope")?;
    let scope: Vec<_> = oauth.scopes().map(|scope| scope.token).filter(|token| ticked.contains(token)).collect();
    let redirect_uris = params.get("redirect_uris")?.unwrap_or_default().lines().map(str::trim);
    let mut client = client
        .registered_by(RegisteredBy::SelfService)
        .host_data(json!({ "owner": owner.as_str() }))
        .name(params.get("name")?.unwrap_or_default())
        .authorization_code(redirect_uris.filter(|line| !line.is_empty()))
        .refresh_token();
    if !scope.is_empty() {
        client = client.scope(scope.join(" ")); // without it, the server's default scope applies
    }
    let client = match client.build() {
        Ok(client) => client,
        // Show this above the form, and keep what the user typed.
        Err(error) => return Ok(format!("<p>{}</p>", escape(&error.to_string()))),
    };
    let mut page = format!("<p>Client identifier: <code>{id}</code></p>");
    if client.is_confidential() {
        page += &format!("<p>Secret, shown only now: <code>{}</code></p>", secret.expose());
    }
    for warning in client.warnings() {
        page += &format!("<p>{}</p>", escape(&warning.to_string()));
    }
    clients.register(client).await?;
    Ok(page)
}
