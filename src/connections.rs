//! A user's connected applications: live grants, grouped by client.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::client::Client;
use crate::error::Error;
use crate::record::{ClientId, Grant, Subject};
use crate::scope::Scope;
use crate::server_context::ServerContext;
use crate::storage::{GrantPage, GrantSelector};

/// How many grants are read at most.
const MOST: usize = 1_000;

/// The applications that act for a user: the result of [`AuthorizationServer::connections`](crate::AuthorizationServer::connections).
///
/// It is made from the newest thousand live grants of the user. Two kinds of grants are left out: an approval whose code was not
/// redeemed, and a grant that was [derived](Grant::parent_grant) from another one and ends with it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connections {
    /// One for each client; the client with the newest grant comes first.
    pub applications: Vec<Connection>,
    /// Whether the user has more than a thousand live grants. The older ones are missing here:
    /// [`AuthorizationServer::list_grants`](crate::AuthorizationServer::list_grants) lists them.
    pub has_more: bool,
}

/// An application that acts for a user. See [`Connections`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connection {
    /// The identifier of the client.
    pub client_id: ClientId,
    /// The registration of the client; `None` if it was removed since.
    pub client: Option<Arc<Client>>,
    /// All scope tokens of its grants. [`AuthorizationServer::scopes`](crate::AuthorizationServer::scopes) describes them.
    pub scope: Scope,
    /// When the oldest of its grants was opened.
    pub since: OffsetDateTime,
    /// When a token of one of its grants was last redeemed.
    pub last_used_at: OffsetDateTime,
    /// Its grants, newest first; at least one. Each is a session of the application, such as its login on one device.
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
    let mut grants = server.storage.list_grants(&which, server.now(), &GrantPage::first(MOST + 1)).await?;
    let has_more = grants.len() > MOST;
    grants.truncate(MOST);
    let mut applications: Vec<Connection> = Vec::new();
    let mut places: HashMap<ClientId, usize> = HashMap::new();
    for grant in grants.into_iter().filter(|grant| grant.parent_grant.is_none() && !grant.is_unredeemed()) {
        if let Some(place) = places.get(&grant.client_id) {
            applications[*place].add(grant);
        } else {
            places.insert(grant.client_id.clone(), applications.len());
            let client = server.find_client(grant.client_id.as_str()).await?;
            applications.push(Connection::new(grant, client));
        }
    }
    Ok(Connections { applications, has_more })
}
