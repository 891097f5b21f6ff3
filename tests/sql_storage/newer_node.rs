//! Rows as a newer node would write them, on every shipped storage: this version keeps unknown members, and issues and
//! accepts nothing for a record with an unknown critical member.

use std::sync::Arc;

use grantor::client::ClientParts;
use grantor::secret::TokenHash;
use grantor::storage::{
    ClientRegistry, ClientStore, EphemeralStore, GrantSelector, Opened, PostgresStorage, RegistryError, SqliteStorage,
};
use grantor::testing::{TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationError, AuthorizationRequest, Client, ClientCredential, ClientId, Clock, Grant,
    Interaction, MemoryStorage, PendingAuthorization, RefreshToken, Request, Response, Storage, StoredToken, Subject,
    TokenResponse, UserSession,
};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use time::Duration;

use crate::common::{self, basic, error_of, form, text};
use crate::postgres::Postgres;
use crate::records::{Folder, client_in, served};

/// The place where a newer node adds a member.
#[derive(Clone, Copy)]
enum Row<'a> {
    /// In the details of a token.
    Token(&'a TokenHash),
    /// In the details of the grant.
    GrantOf(&'a TokenHash),
    /// In the registration of a client.
    Client(&'a str),
}

/// A storage whose rows can be edited from outside.
trait Editable: Storage + ClientStore + ClientRegistry + EphemeralStore + Clone + 'static {
    /// Adds members to a JSON value of a row.
    async fn edit(&self, row: Row<'_>, members: &Value);
    /// Changes the kind of a token.
    async fn set_kind(&self, token: &TokenHash, kind: &str);
}

fn with(record: &impl serde::Serialize, place: &str, members: &Value) -> Value {
    let mut record = serde_json::to_value(record).unwrap();
    let details = if place.is_empty() { &mut record } else { &mut record[place] };
    details.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    record
}

/// In memory, a row is edited by storing it again, which removes the other tokens of its family.
async fn store_anew(storage: &MemoryStorage, grant: Grant, token: StoredToken) {
    storage.revoke_grants(&GrantSelector::Id(grant.id), grant.opened_at).await.unwrap();
    while storage.purge_expired(grant.opened_at, 100).await.unwrap() == 100 {}
    assert_eq!(storage.open_grant(&Arc::new(grant), &[token]).await.unwrap(), Opened::Done);
}

impl Editable for MemoryStorage {
    async fn edit(&self, row: Row<'_>, members: &Value) {
        let (hash, of_grant) = match row {
            Row::Token(hash) => (hash, false),
            Row::GrantOf(hash) => (hash, true),
            Row::Client(id) => {
                let client = self.find_client(id).await.unwrap().unwrap();
                self.remove(client.id(), time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
                let parts = ClientParts::from_stored(&with(&*client, "", members).to_string()).unwrap();
                self.register(Client::from_parts(parts).unwrap()).await.unwrap();
                return;
            }
        };
        let found = self.find(hash).await.unwrap().unwrap();
        let (mut grant, mut token) = ((*found.grant).clone(), (*found.token).clone());
        if of_grant {
            grant = serde_json::from_value(with(&grant, "details", members)).unwrap();
        } else {
            token = serde_json::from_value(with(&token, "details", members)).unwrap();
        }
        store_anew(self, grant, token).await;
    }

    async fn set_kind(&self, token: &TokenHash, kind: &str) {
        let found = self.find(token).await.unwrap().unwrap();
        let token = StoredToken { kind: kind.into(), ..(*found.token).clone() };
        store_anew(self, (*found.grant).clone(), token).await;
    }
}

/// The table, the column, the condition on `$1`, and the kind of value.
fn place(row: Row<'_>) -> (&'static str, &'static str, &'static str, Option<&[u8]>, Option<&str>) {
    match row {
        Row::Token(hash) => ("tokens", "details", "hash = $1", Some(hash.as_bytes()), None),
        Row::GrantOf(hash) => {
            let of_token = "id = (SELECT grant_id FROM grantor_tokens WHERE hash = $1)";
            ("grants", "details", of_token, Some(hash.as_bytes()), None)
        }
        Row::Client(id) => ("clients", "registration", "id = $1", None, Some(id)),
    }
}

macro_rules! editable_by_sql {
    ($storage:ty, $text:literal, $json:literal) => {
        impl Editable for $storage {
            async fn edit(&self, row: Row<'_>, members: &Value) {
                let (table, column, condition, hash, id) = place(row);
                let select = format!("SELECT {column}{} FROM grantor_{table} WHERE {condition}", $text);
                let select = sqlx::query_scalar(AssertSqlSafe(select));
                let select = if let Some(hash) = hash { select.bind(hash) } else { select.bind(id) };
                let old: String = select.fetch_one(self.pool()).await.unwrap();
                let new = with(&serde_json::from_str::<Value>(&old).unwrap(), "", members).to_string();
                let update = format!("UPDATE grantor_{table} SET {column} = $2{} WHERE {condition}", $json);
                let update = sqlx::query(AssertSqlSafe(update));
                let update = if let Some(hash) = hash { update.bind(hash) } else { update.bind(id) };
                assert_eq!(update.bind(new).execute(self.pool()).await.unwrap().rows_affected(), 1);
            }

            async fn set_kind(&self, token: &TokenHash, kind: &str) {
                let update = "UPDATE grantor_tokens SET kind = $2 WHERE hash = $1";
                let update = sqlx::query(update).bind(token.as_bytes().as_slice()).bind(kind);
                assert_eq!(update.execute(self.pool()).await.unwrap().rows_affected(), 1);
            }
        }
    };
}
editable_by_sql!(SqliteStorage, "", "");
editable_by_sql!(PostgresStorage, "::text", "::json");

/// A server over a storage, and a client of it.
struct Node<S> {
    t: TestServer,
    app: TestClient,
    storage: S,
}

impl<S: Editable> Node<S> {
    async fn over(storage: S) -> Self {
        let t = served(storage.clone()).await;
        let app = client_in(&t, &storage).await;
        Self { t, app, storage }
    }

    async fn tokens(&self) -> TokenResponse {
        self.t.authorize(&self.app).approve_as("alice").await.redeem().await.unwrap()
    }

    fn as_client(&self, path: &str, pairs: &[(&str, &str)]) -> Request {
        let header = basic(&self.app.id, self.app.secret.as_ref().unwrap().expose());
        Request::post_form(path, form(pairs)).with_header("authorization", header)
    }

    async fn authorize(&self) -> Result<PendingAuthorization, AuthorizationError> {
        let request = AuthorizationRequest::code(&self.app.id).redirect_uri(&self.app.redirect_uri);
        let request = request.scope("user:read").code_challenge_s256(common::CHALLENGE);
        self.t.server.authorization_request(&request).await
    }

    async fn refresh(&self, token: &RefreshToken) -> Response {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", token.expose())];
        self.t.server.token(&self.as_client("/token", &pairs)).await
    }

    async fn revoke(&self, token: &str) -> u16 {
        self.t.server.revoke(&self.as_client("/revoke", &[("token", token)])).await.status()
    }

    /// The result of the bearer check and of introspection for an access token; both must agree.
    async fn is_accepted(&self, token: &AccessToken) -> bool {
        let told = self.t.server.introspect(&self.as_client("/introspect", &[("token", token.expose())])).await;
        assert_eq!(told.status(), 200, "{}", text(&told));
        let is_active = common::json(&told)["active"].as_bool().unwrap();
        match self.t.bearer(token).await {
            Ok(_) => assert!(is_active),
            Err(error) => {
                assert_eq!((error.status(), error.code().unwrap().as_str()), (401, "invalid_token"));
                assert_eq!(common::json(&told), json!({ "active": false }));
            }
        }
        is_active
    }

    async fn is_revoked(&self, hash: &TokenHash) -> bool {
        let found = self.storage.find(hash).await.unwrap().unwrap();
        found.token.revoked_at.or(found.grant.revoked_at).is_some()
    }

    /// The response that keeps clients from deleting their tokens, and the event that names the member.
    fn assert_unenforced(&self, response: &Response, member: &str) {
        assert_eq!(
            (response.status(), error_of(response).as_str()),
            (503, "temporarily_unavailable"),
            "{}",
            text(response)
        );
        let retry_after: Vec<_> = response.headers().filter(|(name, _)| *name == "retry-after").collect();
        assert_eq!(retry_after, [("retry-after", "60")]);
        let events = self.t.events.events();
        let last = events.last().unwrap();
        assert_eq!(last.name, "token_refused");
        assert!(last.text.contains(member), "{}", last.text);
    }
}

async fn check(storage: impl Editable) {
    let node = Node::over(storage).await;
    harmless_members_survive(&node).await;
    critical_member_of_access_token(&node).await;
    critical_member_of_refresh_token(&node).await;
    critical_member_of_grant(&node).await;
    critical_member_of_consent(&node).await;
    code_with_unknown_binding(&node).await;
    unknown_kind(&node).await;
    client_of_newer_node(&node).await;
}

/// Edits one row of several. (In memory an edit removes the other tokens of the family, and the grants of a client.)
async fn check_sql(storage: impl Editable) {
    let node = Node::over(storage).await;
    critical_member_of_successor(&node).await;
    newer_client_redeems_nothing(&node).await;
}

async fn harmless_members_survive<S: Editable>(node: &Node<S>) {
    let tokens = node.tokens().await;
    let refresh = tokens.refresh_token.as_ref().unwrap();
    let later = json!({ "later": { "a": [1.0, null] }, "crit": [] });
    node.storage.edit(Row::Token(&refresh.hash()), &later).await;
    node.storage.edit(Row::GrantOf(&refresh.hash()), &later).await;
    assert_eq!(node.refresh(refresh).await.status(), 200);
    assert_eq!(node.revoke(refresh.expose()).await, 200);
    let found = node.storage.find(&refresh.hash()).await.unwrap().unwrap();
    assert!(found.token.spent.is_some() && found.grant.revoked_at.is_some());
    for details in [json!(found.token.details), json!(found.grant.details)] {
        assert_eq!((&details["later"], &details["crit"]), (&later["later"], &later["crit"]), "{details}");
    }

    let access = node.tokens().await.access_token;
    node.storage.edit(Row::Token(&access.hash()), &later).await;
    assert!(node.is_accepted(&access).await);
}

async fn critical_member_of_access_token<S: Editable>(node: &Node<S>) {
    let access = node.tokens().await.access_token;
    assert!(node.is_accepted(&access).await);
    node.storage.edit(Row::Token(&access.hash()), &json!({ "jkt": "x", "crit": ["jkt"] })).await;
    assert!(!node.is_accepted(&access).await);
    assert!(!node.is_revoked(&access.hash()).await);
    assert_eq!(node.revoke(access.expose()).await, 200);
    assert!(node.is_revoked(&access.hash()).await);
}

async fn critical_member_of_refresh_token<S: Editable>(node: &Node<S>) {
    let refresh = node.tokens().await.refresh_token.unwrap();
    node.storage.edit(Row::Token(&refresh.hash()), &json!({ "jkt_member": "x", "crit": ["jkt_member"] })).await;
    for _ in 0..2 {
        node.assert_unenforced(&node.refresh(&refresh).await, "jkt_member");
    }
    let found = node.storage.find(&refresh.hash()).await.unwrap().unwrap();
    assert!(found.token.spent.is_none() && found.grant.revoked_at.is_none(), "nothing is spent");

    // A spent token with the member gets no repeated answer. Its late reuse still ends the grant.
    let refresh = node.tokens().await.refresh_token.unwrap();
    assert_eq!(node.refresh(&refresh).await.status(), 200);
    node.storage.edit(Row::Token(&refresh.hash()), &json!({ "jkt_member": "x", "crit": ["jkt_member"] })).await;
    node.assert_unenforced(&node.refresh(&refresh).await, "jkt_member");
    assert!(!node.is_revoked(&refresh.hash()).await);
    node.t.clock.advance(Duration::MINUTE);
    let reused = node.refresh(&refresh).await;
    assert_eq!((reused.status(), error_of(&reused).as_str()), (400, "invalid_grant"));
    assert!(node.is_revoked(&refresh.hash()).await);
}

/// A retry is answered from the rows of the successors.
async fn critical_member_of_successor<S: Editable>(node: &Node<S>) {
    for edited in ["access_token", "refresh_token"] {
        let refresh = node.tokens().await.refresh_token.unwrap();
        let successors = common::json(&node.refresh(&refresh).await);
        assert_eq!(common::json(&node.refresh(&refresh).await), successors);
        let hash = RefreshToken::new(successors[edited].as_str().unwrap()).hash();
        node.storage.edit(Row::Token(&hash), &json!({ "jkt_member": "x", "crit": ["jkt_member"] })).await;
        node.assert_unenforced(&node.refresh(&refresh).await, "jkt_member");
        assert!(!node.is_revoked(&refresh.hash()).await);
    }
}

async fn critical_member_of_grant<S: Editable>(node: &Node<S>) {
    let demand = json!({ "authorization_details": [], "crit": ["authorization_details"] });
    let access = node.tokens().await.access_token;
    node.storage.edit(Row::GrantOf(&access.hash()), &demand).await;
    assert!(!node.is_accepted(&access).await);

    let refresh = node.tokens().await.refresh_token.unwrap();
    node.storage.edit(Row::GrantOf(&refresh.hash()), &demand).await;
    node.assert_unenforced(&node.refresh(&refresh).await, "authorization_details");
    assert_eq!(node.revoke(refresh.expose()).await, 200);
    assert!(node.is_revoked(&refresh.hash()).await);
    let refused = node.refresh(&refresh).await;
    assert_eq!(error_of(&refused), "invalid_grant", "a dead token gets the usual error");
}

async fn critical_member_of_consent<S: Editable>(node: &Node<S>) {
    let refresh = node.tokens().await.refresh_token.unwrap();
    let bob = UserSession::new(Subject::new("bob").unwrap());
    let approved = node.t.authorize(&node.app).approve_as("bob").await.redeem().await.unwrap();
    let next = async || match node.authorize().await {
        Ok(pending) => pending.interaction(Some(&bob)).await,
        Err(error) => panic!("{:?}", error.error()),
    };
    assert!(matches!(next().await, Interaction::Proceed(_)), "bob has agreed before");
    let members = json!({ "authorization_details": [], "crit": ["authorization_details"] });
    node.storage.edit(Row::GrantOf(&approved.refresh_token.unwrap().hash()), &members).await;
    assert!(matches!(next().await, Interaction::Consent(_)), "the unknown member needs consent");
    assert_eq!(node.refresh(&refresh).await.status(), 200, "the grant of alice has no unknown member");
}

async fn code_with_unknown_binding<S: Editable>(node: &Node<S>) {
    let approved = node.t.authorize(&node.app).approve_as("alice").await;
    let hash = approved.code().hash();
    node.storage.edit(Row::Token(&hash), &json!({ "dpop_jkt": "x", "crit": ["code", "dpop_jkt"] })).await;
    assert_eq!(approved.redeem().await.unwrap_err().status(), 503);
    let binding = json!({ "redirect_uri": node.app.redirect_uri, "redirect_uri_was_sent": true, "later": 1 });
    node.storage.edit(Row::Token(&hash), &json!({ "code": binding })).await;
    assert_eq!(approved.redeem().await.unwrap_err().status(), 503);
    assert!(node.storage.find(&hash).await.unwrap().unwrap().token.spent.is_none());
}

/// Revoking a live token that this version can't revoke must not report success.
async fn unknown_kind<S: Editable>(node: &Node<S>) {
    let access = node.tokens().await.access_token;
    node.storage.set_kind(&access.hash(), "access_token_2").await;
    assert!(!node.is_accepted(&access).await);
    let refused = node.refresh(&RefreshToken::new(access.expose())).await;
    assert_eq!(error_of(&refused), "invalid_grant");
    let revoke = async || node.t.server.revoke(&node.as_client("/revoke", &[("token", access.expose())])).await;
    let refused = revoke().await;
    assert_eq!((refused.status(), error_of(&refused).as_str()), (400, "unsupported_token_type"));
    assert_eq!(node.t.events.events().pop().unwrap().name, "revocation_refused");
    let found = node.storage.find(&access.hash()).await.unwrap().unwrap();
    assert_eq!((found.token.kind.as_str(), found.token.revoked_at), ("access_token_2", None));
    assert_eq!(found.grant.revoked_at, None);
    // Another client does not learn the kind.
    let other = client_in(&node.t, &node.storage).await;
    let header = basic(&other.id, other.secret.as_ref().unwrap().expose());
    let request =
        Request::post_form("/revoke", form(&[("token", access.expose())])).with_header("authorization", header);
    assert_eq!(error_of(&node.t.server.revoke(&request).await), "unauthorized_client");
    // A dead token needs no revocation, so the response is a success.
    node.storage.revoke_grants(&GrantSelector::Id(found.grant.id), node.t.clock.now()).await.unwrap();
    assert_eq!(revoke().await.status(), 200);
}

async fn newer_client_redeems_nothing<S: Editable>(node: &Node<S>) {
    let approved = node.t.authorize(&node.app).approve_as("alice").await;
    let [unspent, spent] = [node.tokens().await, node.tokens().await].map(|tokens| tokens.refresh_token.unwrap());
    assert_eq!(node.refresh(&spent).await.status(), 200);
    node.storage.edit(Row::Client(&node.app.id), &json!({ "dpop_bound": true, "crit": ["dpop_bound"] })).await;
    assert_eq!(approved.redeem().await.unwrap_err().status(), 503);
    for token in [&unspent, &spent] {
        node.assert_unenforced(&node.refresh(token).await, "dpop_bound");
    }
    for hash in [approved.code().hash(), unspent.hash()] {
        let found = node.storage.find(&hash).await.unwrap().unwrap();
        assert!(found.token.spent.is_none() && found.grant.revoked_at.is_none(), "nothing is spent");
    }
    // Without the member, the token works again.
    node.storage.edit(Row::Client(&node.app.id), &json!({ "crit": [] })).await;
    approved.redeem().await.unwrap();
    for token in [&unspent, &spent] {
        assert_eq!(node.refresh(token).await.status(), 200);
    }
}

async fn client_of_newer_node<S: Editable>(node: &Node<S>) {
    let id = ClientId::new(&node.app.id).unwrap();
    let stored = async || json!(*node.storage.find_client(&node.app.id).await.unwrap().unwrap());
    let change = async || {
        let client = Client::clone(&*node.storage.find_client(&node.app.id).await.unwrap().unwrap());
        let before = stored().await;
        let new = ClientCredential::opaque();
        let (updated, rotated) = (
            node.storage.update(client.clone(), client.version()).await.unwrap_err(),
            node.storage.rotate_credential(&id, new, node.t.clock.now()).await.unwrap_err(),
        );
        for refused in [updated, rotated] {
            assert!(matches!(refused, RegistryError::UnknownMembers), "{refused:?}");
        }
        assert_eq!(stored().await, before);
    };
    node.storage.edit(Row::Client(&node.app.id), &json!({ "initiate_login_uri": "https://app.example/login" })).await;
    assert_eq!(stored().await["initiate_login_uri"], "https://app.example/login");
    assert!(serde_json::from_value::<ClientParts>(stored().await).is_err());
    let tokens = node.tokens().await;
    assert!(node.is_accepted(&tokens.access_token).await);
    change().await;

    let refresh = tokens.refresh_token.unwrap();
    // (In memory the grants of a client that is registered again are gone.)
    node.storage.edit(Row::Client(&node.app.id), &json!({ "dpop_bound": true, "crit": ["dpop_bound"] })).await;
    change().await;
    let pairs = [("grant_type", "client_credentials"), ("scope", "user:read")];
    node.assert_unenforced(&node.t.server.token(&node.as_client("/token", &pairs)).await, "dpop_bound");
    let introspected = node.t.server.introspect(&node.as_client("/introspect", &[("token", "x")])).await;
    assert_eq!(introspected.status(), 503);
    let page = node.authorize().await.expect_err("the restriction of the client is unknown").to_response();
    assert_eq!((page.status(), page.header("location")), (503, None));
    let last = node.t.events.events().pop().unwrap();
    assert!(last.name == "authorization_refused" && last.text.contains("dpop_bound"), "{}", last.text);
    assert_eq!(node.revoke(refresh.expose()).await, 200);
    assert!(node.is_revoked(&refresh.hash()).await);
}

// covers: RV-15 (RFC 7009 §2.2.1)
#[tokio::test]
async fn harmless_members_kept_critical_refused_in_memory() {
    check(MemoryStorage::new()).await;
}

#[tokio::test]
async fn harmless_members_kept_critical_refused_in_sqlite() {
    let folder = Folder::new();
    check(SqliteStorage::open(folder.file()).await.unwrap()).await;
    let other = Folder::new();
    check_sql(SqliteStorage::open(other.file()).await.unwrap()).await;
}

#[tokio::test]
async fn harmless_members_kept_critical_refused_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    check(PostgresStorage::connect(&server.database().await).await.unwrap()).await;
    check_sql(PostgresStorage::connect(&server.database().await).await.unwrap()).await;
}

/// An unreadable record may also be from a newer node, so the error is temporary.
#[tokio::test]
async fn client_with_an_unknown_value_is_unavailable() {
    let folder = Folder::new();
    let node = Node::over(SqliteStorage::open(folder.file()).await.unwrap()).await;
    for members in [json!({ "client_type": "robot" }), json!({ "client_type": "public" })] {
        node.storage.edit(Row::Client(&node.app.id), &members).await;
        assert!(node.storage.find_client(&node.app.id).await.unwrap_err().is_unavailable(), "{members}");
        let pairs = [("grant_type", "client_credentials"), ("scope", "user:read")];
        assert_eq!(node.t.server.token(&node.as_client("/token", &pairs)).await.status(), 503);
    }
}
