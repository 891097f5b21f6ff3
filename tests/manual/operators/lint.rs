use grantor::storage::RegistryError;
use grantor::{AuthorizationServer, ClientRegistry};

pub async fn log_findings(oauth: &AuthorizationServer, clients: &dyn ClientRegistry) -> Result<(), RegistryError> {
    for finding in oauth.lint() {
        eprintln!("warning: {finding}");
    }
    oauth.lint_clients(clients, |client, finding| eprintln!("warning: the client {}: {finding}", client.id())).await
}
