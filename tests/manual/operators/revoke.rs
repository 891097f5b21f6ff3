use grantor::storage::GrantSelector;
use grantor::{AuthorizationServer, ClientRegistry};

pub async fn revoke_everything(
    oauth: &AuthorizationServer,
    clients: &impl ClientRegistry,
) -> Result<u64, Box<dyn std::error::Error>> {
    let (mut last, mut revoked) = (None, 0);
    loop {
        let page = clients.list_clients(last.as_ref(), 100).await?;
        for client in &page {
            let its_grants = GrantSelector::Client(client.id().clone());
            revoked += oauth.revoke_grants(&its_grants).await?;
        }
        match page.last() {
            Some(client) => last = Some(client.id().clone()),
            None => return Ok(revoked),
        }
    }
}
