//! [`Connections`]: the connected applications of a user, which are live grants grouped by client.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::client::Client;
use crate::error::Error;
use crate::record::{ClientId, Grant, Subject};
use crate::scope::Scope;
use crate::server_context::ServerContext;
use crate::storage::{GrantPage, GrantSelector};

/// The maximum number of grants that are read.
const MAX_GRANTS: usize = 1_000;

/// The applications that act for a user: the result of
/// [`AuthorizationServer::connections`](crate::AuthorizationServer::connections).
///
/// It contains the newest thousand live grants of the user. Two kinds of grants are left out: an approval whose code
/// was not redeemed, and a grant that was [derived](Grant::parent_grant) from another grant and ends with it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connections {
    /// The applications, one for each client. The client with the newest grant comes first.
    pub applications: Vec<Connection>,
    /// Whether the user has more than a thousand live grants. The older ones are not included: use
    /// [`AuthorizationServer::list_grants`](crate::AuthorizationServer::list_grants) to list them.
    pub has_more: bool,
}

/// An application that acts for a user. See [`Connections`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The identifier of the client.
    pub client_id: ClientId,
    /// The client, or `None` if it was removed.
    pub client: Option<Arc<Client>>,
    /// The scope of all grants together. [`AuthorizationServer::scopes`](crate::AuthorizationServer::scopes) has the
    /// descriptions.
    pub scope: Scope,
    /// The time when the oldest of the grants was opened.
    pub since: OffsetDateTime,
    /// The time when a token of one of the grants was last redeemed.
    pub last_used_at: OffsetDateTime,
    /// The grants, newest first. There is at least one. Each is a session of the application, such as its login on one
    /// device.
    pub grants: Vec<Arc<Grant>>,
}

impl Connection {
    fn new(grant: Arc<Grant>, client: Option<Arc<Client>>) -> Self {
        Self {
            client_id: grant.client_id.clone(),
            client,
            scope: grant.scope.clone(),
            since: grant.opened_at,
            last_used_at: grant.last_used_at,
            grants: vec![grant],
        }
    }

    fn add(&mut self, grant: Arc<Grant>) {
        self.scope = self.scope.union(&grant.scope);
        self.since = self.since.min(grant.opened_at);
        self.last_used_at = self.last_used_at.max(grant.last_used_at);
        self.grants.push(grant);
    }
}

pub(crate) async fn of(server: &ServerContext, subject: &Subject) -> Result<Connections, Error> {
    let which = GrantSelector::Subject(subject.clone());
    let mut grants = server.storage.list_grants(&which, server.now(), &GrantPage::first(MAX_GRANTS + 1)).await?;
    let has_more = grants.len() > MAX_GRANTS;
    grants.truncate(MAX_GRANTS);
    let mut applications: Vec<Connection> = Vec::new();
    let mut indexes: HashMap<ClientId, usize> = HashMap::new();
    for grant in grants.into_iter().filter(|grant| grant.parent_grant.is_none() && !grant.is_unredeemed()) {
        if let Some(index) = indexes.get(&grant.client_id) {
            applications[*index].add(grant);
        } else {
            indexes.insert(grant.client_id.clone(), applications.len());
            let client = server.find_client(grant.client_id.as_str()).await?;
            applications.push(Connection::new(grant, client));
        }
    }
    Ok(Connections { applications, has_more })
}
