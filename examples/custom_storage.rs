//! Your own storage: `cargo run --example custom_storage`.
//!
//! The backend is a map of JSON documents behind a lock, and represents any database with transactions. For your
//! database, replace `Transaction` with a serializable transaction and keep the other methods. Each method must stay
//! one transaction.
//!
//! The numbers in the comments are the clauses of the contract in `grantor::storage`.

#[path = "custom_storage/ephemeral.rs"]
mod ephemeral;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantor::client::ClientParts;
use grantor::record::TokenKind;
use grantor::secret::TokenHash;
use grantor::storage::{Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption};
use grantor::{
    Approval, AuthorizationServer, BearerRequest, Client, ClientStore, CodeChallenge, CodeVerifier, Grant, GrantId,
    Interaction, Request, Storage, StorageError, StoredToken, Subject, TokenRequest,
};
use serde::{Serialize, de::DeserializeOwned};
use time::OffsetDateTime;

/// Documents by key: `client/…`, `grant/…`, `token/…`, `ephemeral/…`. Clones share the documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct Documents(Arc<Mutex<BTreeMap<String, String>>>);

/// Clauses 1, 2 and 4. A transaction holds the lock, so it reads everything that was committed before, and nothing
/// else. Its changes are kept apart until `commit`, so a step that fails halfway has written nothing. On disk, `commit`
/// must be one durable write.
struct Transaction<'a> {
    documents: MutexGuard<'a, BTreeMap<String, String>>,
    changes: BTreeMap<String, Option<String>>,
}

/// A record that is stored under a key. The key of a token is its hash, because the token itself is not stored.
trait Document: Serialize + DeserializeOwned {
    const FOLDER: &'static str;
    fn key(&self) -> String;
}

impl Document for Client {
    const FOLDER: &'static str = "client/";
    fn key(&self) -> String {
        client_key(self.id().as_str())
    }
}

impl Document for Grant {
    const FOLDER: &'static str = "grant/";
    fn key(&self) -> String {
        grant_key(&self.id)
    }
}

impl Document for StoredToken {
    const FOLDER: &'static str = "token/";
    fn key(&self) -> String {
        token_key(&self.hash)
    }
}

fn client_key(id: &str) -> String {
    format!("{}{id}", Client::FOLDER)
}

fn grant_key(id: &GrantId) -> String {
    format!("{}{id}", Grant::FOLDER)
}

fn token_key(hash: &TokenHash) -> String {
    format!("{}{}", StoredToken::FOLDER, URL_SAFE_NO_PAD.encode(hash.as_bytes()))
}

impl Documents {
    fn begin(&self) -> Result<Transaction<'_>, StorageError> {
        // A panic can't leave a transaction half committed. But its cause is unknown, and a storage must fail when in
        // doubt.
        let documents = self.0.lock().map_err(|_| StorageError::new("a thread panicked in the storage"))?;
        Ok(Transaction { documents, changes: BTreeMap::new() })
    }

    /// Registers a client, or replaces it.
    pub(crate) fn register(&self, client: &Client) -> Result<(), StorageError> {
        let mut transaction = self.begin()?;
        transaction.put(client)?;
        transaction.commit();
        Ok(())
    }

    /// Assigns the storage to an issuer if `may_own` accepts the current owner.
    fn issuer(&self, issuer: &str, may_own: impl FnOnce(Option<&str>) -> bool) -> Result<(), IssuerError> {
        let mut transaction = self.begin()?;
        let owner = transaction.documents.get("issuer").cloned();
        if may_own(owner.as_deref()) {
            transaction.changes.insert("issuer".to_owned(), Some(issuer.to_owned()));
            transaction.commit();
            return Ok(());
        }
        match owner {
            None => Err(IssuerError::Unclaimed),
            Some(owner) if owner == issuer => Ok(()),
            Some(owner) => Err(IssuerError::Claimed { owner: owner.into() }),
        }
    }

    /// Returns the number of documents.
    pub(crate) fn count(&self) -> Result<usize, StorageError> {
        Ok(self.begin()?.documents.len())
    }
}

impl Transaction<'_> {
    /// Clause 8. Serde reads and writes whole records. It keeps unknown members of `details`; any other unknown member
    /// is an error, so none is lost. An unreadable document is an error, too, and not a missing one.
    fn get<D: Document>(&self, key: &str) -> Result<Option<D>, StorageError> {
        let document = match self.changes.get(key) {
            Some(change) => change.as_ref(),
            None => self.documents.get(key),
        };
        document.map(|json| serde_json::from_str(json).map_err(StorageError::new)).transpose()
    }

    fn all<D: Document>(&self) -> Result<Vec<D>, StorageError> {
        let folder = self.documents.range(D::FOLDER.to_owned()..).take_while(|(key, _)| key.starts_with(D::FOLDER));
        folder.map(|(_, json)| serde_json::from_str(json).map_err(StorageError::new)).collect()
    }

    fn put<D: Document>(&mut self, document: &D) -> Result<(), StorageError> {
        let json = serde_json::to_string(document).map_err(StorageError::new)?;
        self.changes.insert(document.key(), Some(json));
        Ok(())
    }

    /// Fails if the key is taken: two tokens with the same hash would become one.
    fn insert<D: Document>(&mut self, document: &D) -> Result<(), StorageError> {
        let key = document.key();
        if self.changes.contains_key(&key) || self.documents.contains_key(&key) {
            return Err(StorageError::new("the key exists already"));
        }
        self.put(document)
    }

    fn remove<D: Document>(&mut self, document: &D) {
        self.changes.insert(document.key(), None);
    }

    fn commit(mut self) {
        for (key, change) in std::mem::take(&mut self.changes) {
            match change {
                Some(json) => self.documents.insert(key, json),
                None => self.documents.remove(&key),
            };
        }
    }

    /// Erases the seed of a token. Returns whether it had one.
    fn erase_seed(&mut self, mut token: StoredToken) -> Result<bool, StorageError> {
        let erased = token.spent.as_mut().and_then(|spent| spent.seed.take()).is_some();
        if erased {
            self.put(&token)?;
        }
        Ok(erased)
    }
}

#[async_trait]
impl ClientStore for Documents {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        let transaction = self.begin()?;
        let Some(json) = transaction.documents.get(&client_key(id)) else { return Ok(None) };
        // Unknown members are kept. An unreadable client may come from a newer version, which other nodes run, so the
        // error is temporary.
        let parts = ClientParts::from_stored(json).map_err(StorageError::unavailable)?;
        Ok(Some(Arc::new(Client::from_parts(parts).map_err(StorageError::unavailable)?)))
    }
}

#[async_trait]
impl Storage for Documents {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        let mut transaction = self.begin()?;
        // Clause 7: the parent is read in the same transaction. A revocation of the parent comes before, and then no
        // child is stored, or it comes later and finds the child. The same holds for the grant of an earlier consent.
        let parent = grant.parent_grant.map(|id| transaction.get::<Grant>(&grant_key(&id))).transpose()?.flatten();
        if !grant.may_open(parent.as_ref()) {
            return Ok(Opened::ParentDead);
        }
        let consent =
            grant.details.consent_grant.map(|id| transaction.get::<Grant>(&grant_key(&id))).transpose()?.flatten();
        if !grant.has_live_consent(consent.as_ref()) {
            return Ok(Opened::ConsentDead);
        }
        for key in tokens.iter().filter(|token| token.kind == TokenKind::OneTimeKey) {
            if transaction.get::<StoredToken>(&token_key(&key.hash))?.is_some() {
                return Ok(Opened::Taken);
            }
        }
        transaction.insert(&**grant)?;
        for token in tokens {
            transaction.insert(token)?;
        }
        transaction.commit();
        Ok(Opened::Done)
    }

    /// Returns tokens in any state. The library checks whether they are spent, expired or revoked.
    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        let transaction = self.begin()?;
        let Some(token) = transaction.get::<StoredToken>(&token_key(token))? else { return Ok(None) };
        let grant = transaction.get(&grant_key(&token.grant_id))?;
        Ok(grant.map(|grant| Found::new(Arc::new(token), Arc::new(grant))))
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        let mut transaction = self.begin()?;
        // Clause 7: the grant is read in the same transaction, so no revocation can come in between.
        let Some(mut token) = transaction.get::<StoredToken>(&token_key(&redemption.token))? else {
            return Ok(RedeemOutcome::Dead);
        };
        let Some(mut grant) = transaction.get::<Grant>(&grant_key(&token.grant_id))? else {
            return Ok(RedeemOutcome::Dead);
        };
        // Clauses 3 and 6: a repeated call gets the same answer, and all times come from the caller. `refusal` makes
        // the checks in the right order.
        if let Some(outcome) = redemption.refusal(Some((&token, &grant))) {
            return Ok(outcome);
        }
        for successor in successors {
            transaction.insert(successor)?;
        }
        if redemption.consume {
            // Each grant has at most one seed: when a successor is used, the seed of its predecessor is erased.
            if let Some(parent) = token.parent.map(|parent| transaction.get(&token_key(&parent))).transpose()?.flatten()
            {
                transaction.erase_seed(parent)?;
            }
            token.spent = Some(redemption.spent());
            transaction.put(&token)?;
        }
        // The clocks of two nodes can differ, but these times must never go back.
        grant.last_used_at = grant.last_used_at.max(redemption.at);
        grant.expires_at = grant.expires_at.max(redemption.grant_expires_at);
        transaction.put(&grant)?;
        transaction.commit();
        Ok(RedeemOutcome::Done)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let mut transaction = self.begin()?;
        match transaction.get::<StoredToken>(&token_key(token))? {
            Some(mut token) if token.kind == TokenKind::AccessToken => {
                token.revoked_at.get_or_insert(at);
                transaction.put(&token)?;
            }
            _ => {}
        }
        transaction.commit();
        Ok(())
    }

    /// Clause 7. Changes only the documents of the grants, because `find` and `redeem` always read the grant of a
    /// token.
    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let mut transaction = self.begin()?;
        let mut grants = transaction.all::<Grant>()?;
        let (mut count, mut reached) = (0, BTreeSet::new());
        // Each round selects the children of the grants before. One transaction misses none of them, and no grant that
        // is opened because of an earlier consent.
        loop {
            let is_meant = |grant: &Grant| {
                which.selects(grant) || grant.parent_grant.is_some_and(|parent| reached.contains(&parent))
            };
            let (meant, others): (Vec<_>, Vec<_>) = grants.into_iter().partition(is_meant);
            if meant.is_empty() {
                break;
            }
            for mut grant in meant {
                reached.insert(grant.id);
                if grant.revoked_at.is_none() {
                    grant.revoked_at = Some(at);
                    transaction.put(&grant)?;
                    count += 1;
                }
            }
            grants = others;
        }
        transaction.commit();
        Ok(count)
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let mut grants = self.begin()?.all::<Grant>()?;
        let comes_later = |grant: &Grant| page.after.is_none_or(|after| (grant.opened_at, grant.id) < after);
        grants.retain(|grant| which.selects(grant) && grant.is_live(now) && comes_later(grant));
        grants.sort_by_key(|grant| std::cmp::Reverse((grant.opened_at, grant.id)));
        Ok(grants.into_iter().take(page.limit).map(Arc::new).collect())
    }

    /// Clause 5: a spent token is removed with its grant, and a grant after all of its tokens. If the limit is reached
    /// in between, tokens of a revoked grant are left. It is revoked because by the clock of another node it may not
    /// have ended.
    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut transaction = self.begin()?;
        let all = transaction.all::<StoredToken>()?;
        // Clause 5: an unexpired one-time key keeps its grant.
        let is_good = |token: &&StoredToken| token.kind == TokenKind::OneTimeKey && token.expires_at > before;
        let kept: BTreeSet<_> = all.iter().filter(is_good).map(|token| token.grant_id).collect();
        let is_over = |grant: &Grant| grant.ends_at() <= before && !kept.contains(&grant.id);
        let over: Vec<_> = transaction.all::<Grant>()?.into_iter().filter(is_over).collect();
        let mut of_over: BTreeMap<GrantId, Vec<_>> = over.iter().map(|grant| (grant.id, Vec::new())).collect();
        let mut others = Vec::new();
        for token in all {
            match of_over.get_mut(&token.grant_id) {
                Some(family) => family.push(token),
                None => others.push(token),
            }
        }
        let mut touched = 0;
        for mut grant in over {
            let (tokens, mut room) = (&of_over[&grant.id], limit - touched);
            if tokens.len() < room {
                transaction.remove(&grant);
                touched += tokens.len() + 1;
            } else if room > 0 {
                // The limit is reached within this grant, so it is revoked. This counts as one of the writes.
                if grant.revoked_at.is_none() {
                    grant.revoked_at = Some(grant.expires_at);
                    transaction.put(&grant)?;
                    room -= 1;
                }
                touched = limit;
            } else {
                break;
            }
            for token in tokens.iter().take(room) {
                transaction.remove(token);
            }
        }
        for token in others {
            let is_unspent_access_token = token.kind == TokenKind::AccessToken && token.spent.is_none();
            let seed_until = token.spent.as_ref().and_then(|spent| spent.seed_until);
            if touched == limit {
                break;
            } else if is_unspent_access_token && token.expires_at <= before {
                transaction.remove(&token);
                touched += 1;
            } else if seed_until.is_some_and(|until| until <= before) {
                touched += usize::from(transaction.erase_seed(token)?);
            }
        }
        transaction.commit();
        Ok(touched)
    }

    /// Clause 11. The owner is one document.
    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        self.issuer(issuer, |owner| owner.is_none())
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        self.issuer(to, |owner| owner == Some(from))
    }
}

/// Shows how the documents change: a client gets tokens, repeats a refresh request, and an attacker replays its code.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const CALLBACK: &str = "https://app.example/cb";
    let storage = Documents::default();
    storage
        .register(&Client::public("app").scope("user:read").authorization_code([CALLBACK]).refresh_token().build()?)?;
    let oauth = AuthorizationServer::builder("https://id.example.com")
        .storage(storage.clone())
        .scope("user:read", "Read your profile")
        .build()
        .await?;

    let verifier = CodeVerifier::new(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let (challenge, ask) = (CodeChallenge::s256(&verifier), "response_type=code&client_id=app&scope=user:read");
    let pkce = format!("code_challenge={}&code_challenge_method=S256", challenge.as_str());
    let query = format!("{ask}&redirect_uri={CALLBACK}&{pkce}");
    let (request, alice) = (Request::get(format!("/authorize?{query}")), Subject::new("alice")?);
    let Interaction::Consent(consent) = oauth.interaction(&request, Some(&alice.clone().into())).await else {
        return Err("the authorization request was refused".into());
    };
    let response = consent.approve(Approval::by(alice.clone())).await;
    let code = response.code().ok_or("no code was issued")?;
    println!("alice allows the app: {} documents (issuer, client, grant, code)", storage.count()?);

    let redemption =
        || TokenRequest::authorization_code(code).redirect_uri(CALLBACK).code_verifier(&verifier).client_id("app");
    let first = oauth.token_request(&redemption()).await?;
    println!("the code is redeemed: {} documents (and two tokens)", storage.count()?);

    let refresh_token = first.refresh_token.as_ref().ok_or("no refresh token was issued")?;
    let refresh = || TokenRequest::refresh_token(refresh_token).client_id("app");
    let second = oauth.token_request(&refresh()).await?;
    println!("the refresh token is redeemed: {} documents (and two more)", storage.count()?);
    let again = oauth.token_request(&refresh()).await?;
    let same = again.access_token.expose() == second.access_token.expose();
    println!(
        "the refresh is repeated, with the same response: {same}; {} documents (a count of repeats, and a counter)",
        storage.count()?
    );

    let replay = oauth.token_request(&redemption()).await;
    println!("the code is replayed: {}", replay.err().map_or("accepted", |error| error.code().as_str()));
    let rest = oauth.bearer_request(&BearerRequest::of(&second.access_token)).await;
    println!(
        "the newest access token is then rejected: {}",
        rest.err().and_then(|error| error.code()).map_or("accepted", |code| code.as_str())
    );
    let grants = oauth.list_grants(&GrantSelector::Subject(alice), &GrantPage::first(10)).await?;
    println!("alice's connected applications: {}", grants.len());
    while oauth.purge(100).await? == 100 {}
    println!("after the purge: {} documents (issuer, client, and the last two)", storage.count()?);
    Ok(())
}
