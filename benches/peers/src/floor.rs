//! The floor: only the work that the contract requires for the five operations. It has no traits, futures, parsers,
//! safety types, events or switches.
//!
//! It stores everything that a correct storage must store: tokens by SHA-256 only, grants as single rows, and spent
//! tokens with their attempt and the seed of their successors. It has indexes by token, grant, subject, client and
//! purge time. A grant and its tokens are behind one lock, together with a 64th of the other grants. The index by token
//! has separate locks. The lock order is grants, then tokens.
#![expect(dead_code, reason = "rows keep all members of the contract, even if the five operations do not read them")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::{Entropy, SystemEntropy};
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::form_urlencoded::byte_serialize;

/// Microseconds since 1970.
type Time = i64;
type Hash = [u8; 32];
type Id = [u8; 16];
type Slot = u32;

const SHARDS: usize = 64;
const SECOND: Time = 1_000_000;
const CODE_LIFETIME: Time = 60 * SECOND;
const ACCESS_LIFETIME: Time = 3600 * SECOND;
const IDLE_LIFETIME: Time = 14 * 86_400 * SECOND;
const ABSOLUTE_LIFETIME: Time = 90 * 86_400 * SECOND;
const GRACE: Time = 30 * SECOND;
const SEED_LIFETIME: Time = 60 * SECOND;

pub struct Floor {
    /// The issuer, encoded for a redirect.
    issuer: String,
    clients: RwLock<HashMap<Arc<str>, Arc<Client>>>,
    grants: Vec<Aligned<RwLock<Grants>>>,
    tokens: Vec<Aligned<RwLock<HashMap<Hash, Place>>>>,
}

/// Keeps locks on separate cache lines.
#[derive(Default)]
#[repr(align(128))]
struct Aligned<T>(T);

struct Client {
    id: Arc<str>,
    secret: Hash,
    redirect_uris: Vec<Arc<str>>,
    scopes: HashSet<Box<str>>,
}

#[derive(Clone, Copy)]
struct Place {
    grant: Id,
    slot: Slot,
}

#[derive(Default)]
struct Grants {
    families: HashMap<Id, Family>,
    by_subject: HashMap<Arc<str>, HashSet<Id>>,
    by_client: HashMap<Arc<str>, HashSet<Id>>,
    /// The purge times of rows and families. Outdated entries are dropped when a purge reaches them.
    due: BinaryHeap<Reverse<(Time, Id, Option<Slot>)>>,
}

struct Family {
    grant: Arc<Grant>,
    rows: Vec<Option<Row>>,
}

#[derive(Debug, Clone)]
pub struct Grant {
    id: Id,
    pub client: Arc<str>,
    pub subject: Option<Arc<str>>,
    scope: Arc<str>,
    opened_at: Time,
    last_used_at: Time,
    expires_at: Time,
    revoked_at: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Access,
    Refresh,
}

struct Row {
    hash: Hash,
    kind: Kind,
    scope: Arc<str>,
    issued_at: Time,
    expires_at: Time,
    parent: Option<Slot>,
    spent: Option<Spent>,
    binding: Option<Binding>,
}

struct Spent {
    at: Time,
    attempt: Id,
    seed: Option<[u8; 32]>,
}

#[derive(Clone)]
struct Binding {
    redirect_uri: Arc<str>,
    challenge: [u8; 43],
}

/// The text of a token.
struct Text([u8; 43]);

impl Text {
    fn of(bytes: &[u8]) -> Self {
        let mut text = [0; 43];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).expect("32 bytes");
        Self(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("ASCII")
    }
}

/// The access that a live access token gives.
#[derive(Debug)]
pub struct Access {
    pub grant: Arc<Grant>,
    pub scope: Arc<str>,
    pub expires_at: Time,
}

/// The reason why a request was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Client,
    RedirectUri,
    Scope,
    Challenge,
    Token,
    Binding,
    /// The token was spent before. Its grant is now revoked.
    Replay,
}

#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
}

impl Answer<'_> {
    fn render(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(256);
        serde_json::to_writer(&mut json, self).expect("JSON");
        json
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    since.as_secs().cast_signed() * SECOND + i64::from(since.subsec_micros())
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemEntropy.fill(&mut bytes).expect("entropy");
    bytes
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text).into()
}

/// Returns the access token and the refresh token that are the successors of a refresh token.
fn successors(seed: &[u8; 32], presented: &str) -> [Text; 2] {
    let key = Hmac::<Sha256>::new_from_slice(seed).expect("any length is a key");
    [b"grantor/1/a\0", b"grantor/1/r\0"].map(|label| {
        let mut mac = key.clone();
        mac.update(label);
        mac.update(presented.as_bytes());
        Text::of(&mac.finalize().into_bytes())
    })
}

fn part<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("its length")
}

fn row(token: &str, kind: Kind, scope: &Arc<str>, issued_at: Time, expires_at: Time, parent: Option<Slot>) -> Row {
    let (hash, scope) = (hash(token), Arc::clone(scope));
    Row { hash, kind, scope, issued_at, expires_at, parent, spent: None, binding: None }
}

impl Floor {
    pub fn new(issuer: &str) -> Self {
        fn shards<T: Default>() -> Vec<Aligned<T>> {
            std::iter::repeat_with(Aligned::default).take(SHARDS).collect()
        }
        let issuer = byte_serialize(issuer.as_bytes()).collect();
        Self { issuer, clients: RwLock::default(), grants: shards(), tokens: shards() }
    }

    pub fn register(&self, id: &str, secret: &str, redirect_uri: &str, scope: &str) {
        let client = Client {
            id: id.into(),
            secret: hash(secret),
            redirect_uris: vec![redirect_uri.into()],
            scopes: scope.split(' ').map(Into::into).collect(),
        };
        self.clients.write().unwrap_or_else(PoisonError::into_inner).insert(id.into(), Arc::new(client));
    }

    /// Authorize → code: checks the request, opens a grant for the user, and renders the redirect.
    pub fn authorize(
        &self,
        client: &str,
        redirect_uri: &str,
        scope: &str,
        state: &str,
        challenge: &str,
        subject: &str,
    ) -> Result<String, Refused> {
        let client = self.client(client)?;
        let redirect_uri =
            client.redirect_uris.iter().find(|own| ***own == *redirect_uri).ok_or(Refused::RedirectUri)?;
        let scope = client.granted(scope)?;
        if challenge.len() != 43 || !challenge.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(Refused::Challenge);
        }
        let now = now();
        let random = random::<48>();
        let code = Text::of(&random[16..]);
        let expires_at = now + CODE_LIFETIME;
        let mut row = row(code.as_str(), Kind::Code, &scope, now, expires_at, None);
        let challenge = part(challenge.as_bytes());
        row.binding = Some(Binding { redirect_uri: Arc::clone(redirect_uri), challenge });
        self.open(part(&random[..16]), &client, Some(subject.into()), scope, now, expires_at, vec![Some(row)]);

        let mut location = String::with_capacity(redirect_uri.len() + 192);
        location.push_str(redirect_uri);
        location.push_str(if redirect_uri.contains('?') { "&code=" } else { "?code=" });
        location.push_str(code.as_str());
        location.push_str("&state=");
        location.extend(byte_serialize(state.as_bytes()));
        location.push_str("&iss=");
        location.push_str(&self.issuer);
        Ok(location)
    }

    pub fn client_credentials(&self, client: &str, secret: &str, scope: &str) -> Result<Vec<u8>, Refused> {
        let now = now();
        let client = self.authenticated(client, secret)?;
        let scope = client.granted(scope)?;
        let random = random::<48>();
        let access = Text::of(&random[16..]);
        let expires_at = now + ACCESS_LIFETIME;
        let row = row(access.as_str(), Kind::Access, &scope, now, expires_at, None);
        self.open(part(&random[..16]), &client, None, Arc::clone(&scope), now, expires_at, vec![Some(row)]);
        let (access_token, expires_in) = (access.as_str(), ACCESS_LIFETIME / SECOND);
        Ok(Answer { access_token, token_type: "Bearer", expires_in, refresh_token: None, scope: &scope }.render())
    }

    pub fn redeem(
        &self,
        client: &str,
        secret: &str,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<Vec<u8>, Refused> {
        let now = now();
        let client = self.authenticated(client, secret)?;
        let presented = hash(code);
        let place = self.place(&presented).ok_or(Refused::Token)?;
        let random = random::<80>();
        let (access, refresh) = (Text::of(&random[16..48]), Text::of(&random[48..]));
        let well_formed = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        let proof = Text::of(&hash(verifier));

        let mut grants = self.grants_of(place.grant);
        let Grants { families, due, .. } = &mut *grants;
        let family = families.get_mut(&place.grant).ok_or(Refused::Token)?;
        let found = family.row(place.slot, &presented, Kind::Code).ok_or(Refused::Token)?;
        if *family.grant.client != *client.id {
            return Err(Refused::Token);
        }
        let binding = found.binding.as_ref().ok_or(Refused::Token)?;
        let meets: bool = binding.challenge.ct_eq(&proof.0).into();
        if *binding.redirect_uri != *redirect_uri || !well_formed || !meets {
            return Err(Refused::Binding);
        }
        if !family.grant.is_live(now) {
            return Err(Refused::Token);
        }
        if found.spent.is_some() {
            family.revoke(now);
            return Err(Refused::Replay);
        }
        if now >= found.expires_at {
            return Err(Refused::Token);
        }
        let scope = Arc::clone(&found.scope);
        let spent = Spent { at: now, attempt: part(&random[..16]), seed: None };
        self.exchange(family, due, place, spent, access.as_str(), refresh.as_str(), &scope);
        drop(grants);
        Ok(answer(&access, &refresh, &scope))
    }

    pub fn refresh(&self, client: &str, secret: &str, token: &str) -> Result<Vec<u8>, Refused> {
        let now = now();
        let client = self.authenticated(client, secret)?;
        let presented = hash(token);
        let place = self.place(&presented).ok_or(Refused::Token)?;
        let random = random::<48>();
        let mut seed: [u8; 32] = part(&random[16..]);

        let mut grants = self.grants_of(place.grant);
        let Grants { families, due, .. } = &mut *grants;
        let family = families.get_mut(&place.grant).ok_or(Refused::Token)?;
        let found = family.row(place.slot, &presented, Kind::Refresh).ok_or(Refused::Token)?;
        if *family.grant.client != *client.id || !family.grant.is_live(now) {
            return Err(Refused::Token);
        }
        let again = match &found.spent {
            Some(Spent { at, seed: Some(kept), .. }) if (now - at).abs() < GRACE => {
                seed = *kept;
                true
            }
            Some(_) => {
                family.revoke(now);
                return Err(Refused::Replay);
            }
            None => false,
        };
        if !again && (now >= found.expires_at || now >= family.grant.last_used_at + IDLE_LIFETIME) {
            return Err(Refused::Token);
        }
        let scope = Arc::clone(&family.grant.scope);
        // The tokens are made before the lock is taken. Two tabs that refresh at once would need them made under the
        // lock, which never happens here.
        let [access, refresh] = successors(&seed, token);
        if !again {
            let spent = Spent { at: now, attempt: part(&random[..16]), seed: Some(seed) };
            self.exchange(family, due, place, spent, access.as_str(), refresh.as_str(), &scope);
        }
        drop(grants);
        Ok(answer(&access, &refresh, &scope))
    }

    pub fn bearer(&self, token: &str, required: &str) -> Result<Access, Refused> {
        let now = now();
        let presented = hash(token);
        let place = self.place(&presented).ok_or(Refused::Token)?;
        let grants = self.read_grants_of(place.grant);
        let family = grants.families.get(&place.grant).ok_or(Refused::Token)?;
        let row = family.row(place.slot, &presented, Kind::Access).ok_or(Refused::Token)?;
        if now >= row.expires_at || !family.grant.is_live(now) {
            return Err(Refused::Token);
        }
        let access =
            Access { grant: Arc::clone(&family.grant), scope: Arc::clone(&row.scope), expires_at: row.expires_at };
        drop(grants);
        if access.scope.split(' ').any(|token| token == required) { Ok(access) } else { Err(Refused::Scope) }
    }

    /// Revokes all grants of a subject.
    #[cfg(test)]
    pub fn revoke_subject(&self, subject: &str) -> usize {
        let (now, mut revoked) = (now(), 0);
        for shard in &self.grants {
            let mut shard = shard.0.write().unwrap_or_else(PoisonError::into_inner);
            let Grants { families, by_subject, .. } = &mut *shard;
            for id in by_subject.get(subject).into_iter().flatten() {
                if let Some(family) = families.get_mut(id).filter(|family| family.grant.revoked_at.is_none()) {
                    family.revoke(now);
                    revoked += 1;
                }
            }
        }
        revoked
    }

    /// Removes rows and families that are no longer needed at this time. Returns their number.
    #[cfg(test)]
    pub fn purge(&self, before: Time) -> usize {
        let mut removed = 0;
        for shard in &self.grants {
            let mut shard = shard.0.write().unwrap_or_else(PoisonError::into_inner);
            while let Some(&Reverse((_, id, slot))) = shard.due.peek().filter(|Reverse((when, ..))| *when <= before) {
                shard.due.pop();
                removed += self.purge_one(&mut shard, id, slot, before);
            }
        }
        removed
    }

    #[cfg(test)]
    fn purge_one(&self, shard: &mut Grants, id: Id, slot: Option<Slot>, before: Time) -> usize {
        let Some(family) = shard.families.get_mut(&id) else { return 0 };
        let grant = Arc::clone(&family.grant);
        match slot.map(|slot| &mut family.rows[slot as usize]) {
            Some(place) => match place {
                Some(row) if row.kind == Kind::Access && row.expires_at <= before => {
                    self.tokens_of(&row.hash).remove(&row.hash);
                    *place = None;
                    1
                }
                Some(Row { spent: Some(spent), .. }) => usize::from(spent.seed.take().is_some()),
                _ => 0,
            },
            None if grant.expires_at > before => {
                shard.due.push(Reverse((grant.expires_at, id, None)));
                0
            }
            None => {
                for row in family.rows.iter().flatten() {
                    self.tokens_of(&row.hash).remove(&row.hash);
                }
                shard.families.remove(&id);
                forget(&mut shard.by_client, &grant.client, id);
                if let Some(subject) = &grant.subject {
                    forget(&mut shard.by_subject, subject, id);
                }
                1
            }
        }
    }

    /// Returns the number of entries in all tables.
    #[cfg(test)]
    pub fn left(&self) -> usize {
        let grants = self.grants.iter().map(|shard| {
            let shard = shard.0.read().unwrap();
            shard.families.len() + shard.by_subject.len() + shard.by_client.len() + shard.due.len()
        });
        let tokens = self.tokens.iter().map(|shard| shard.0.read().unwrap().len());
        grants.chain(tokens).sum()
    }

    fn client(&self, id: &str) -> Result<Arc<Client>, Refused> {
        let clients = self.clients.read().unwrap_or_else(PoisonError::into_inner);
        clients.get(id).cloned().ok_or(Refused::Client)
    }

    fn authenticated(&self, id: &str, secret: &str) -> Result<Arc<Client>, Refused> {
        let client = self.client(id)?;
        let equal: bool = client.secret.ct_eq(&hash(secret)).into();
        if equal { Ok(client) } else { Err(Refused::Client) }
    }

    fn grants_of(&self, id: Id) -> RwLockWriteGuard<'_, Grants> {
        self.grants[usize::from(id[0]) % SHARDS].0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_grants_of(&self, id: Id) -> RwLockReadGuard<'_, Grants> {
        self.grants[usize::from(id[0]) % SHARDS].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tokens_of(&self, hash: &Hash) -> RwLockWriteGuard<'_, HashMap<Hash, Place>> {
        self.tokens[usize::from(hash[0]) % SHARDS].0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, hash: &Hash) -> Option<Place> {
        let shard = &self.tokens[usize::from(hash[0]) % SHARDS].0;
        shard.read().unwrap_or_else(PoisonError::into_inner).get(hash).copied()
    }

    #[expect(clippy::too_many_arguments, reason = "straight down")]
    fn open(
        &self,
        id: Id,
        client: &Client,
        subject: Option<Arc<str>>,
        scope: Arc<str>,
        now: Time,
        expires_at: Time,
        rows: Vec<Option<Row>>,
    ) {
        let client = Arc::clone(&client.id);
        let grant =
            Grant { id, client, subject, scope, opened_at: now, last_used_at: now, expires_at, revoked_at: None };
        let mut grants = self.grants_of(id);
        for (slot, row) in (0..).zip(rows.iter().flatten()) {
            self.tokens_of(&row.hash).insert(row.hash, Place { grant: id, slot });
            if row.kind == Kind::Access {
                grants.due.push(Reverse((row.expires_at, id, Some(slot))));
            }
        }
        grants.due.push(Reverse((expires_at, id, None)));
        if let Some(subject) = &grant.subject {
            grants.by_subject.entry(Arc::clone(subject)).or_default().insert(id);
        }
        grants.by_client.entry(Arc::clone(&grant.client)).or_default().insert(id);
        grants.families.insert(id, Family { grant: Arc::new(grant), rows });
    }

    /// Spends a row and adds its successors under the lock of the family.
    #[expect(clippy::too_many_arguments, reason = "straight down")]
    fn exchange(
        &self,
        family: &mut Family,
        due: &mut BinaryHeap<Reverse<(Time, Id, Option<Slot>)>>,
        place: Place,
        spent: Spent,
        access: &str,
        refresh: &str,
        scope: &Arc<str>,
    ) {
        let now = spent.at;
        let grant = Arc::make_mut(&mut family.grant);
        let absolute = grant.opened_at + ABSOLUTE_LIFETIME;
        let (access_ends, refresh_ends) = ((now + ACCESS_LIFETIME).min(absolute), (now + IDLE_LIFETIME).min(absolute));
        grant.last_used_at = grant.last_used_at.max(now);
        grant.expires_at = grant.expires_at.max(access_ends).max(refresh_ends);

        if spent.seed.is_some() {
            due.push(Reverse((now + SEED_LIFETIME, place.grant, Some(place.slot))));
        }
        let row = family.rows[place.slot as usize].as_mut().expect("it was found");
        row.spent = Some(spent);
        if let Some(parent) = row.parent
            && let Some(Row { spent: Some(spent), .. }) = family.rows[parent as usize].as_mut()
        {
            spent.seed = None;
        }
        let successors = [(access, Kind::Access, access_ends), (refresh, Kind::Refresh, refresh_ends)];
        for (token, kind, expires_at) in successors {
            let slot = Slot::try_from(family.rows.len()).expect("few rows");
            let row = self::row(token, kind, scope, now, expires_at, Some(place.slot));
            self.tokens_of(&row.hash).insert(row.hash, Place { grant: place.grant, slot });
            if kind == Kind::Access {
                due.push(Reverse((expires_at, place.grant, Some(slot))));
            }
            family.rows.push(Some(row));
        }
    }
}

impl Client {
    fn granted(&self, requested: &str) -> Result<Arc<str>, Refused> {
        let allowed = requested.split(' ').all(|token| self.scopes.contains(token));
        if allowed { Ok(requested.into()) } else { Err(Refused::Scope) }
    }
}

impl Grant {
    fn is_live(&self, now: Time) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

impl Family {
    fn row(&self, slot: Slot, hash: &Hash, kind: Kind) -> Option<&Row> {
        self.rows.get(slot as usize)?.as_ref().filter(|row| row.hash == *hash && row.kind == kind)
    }

    fn revoke(&mut self, now: Time) {
        Arc::make_mut(&mut self.grant).revoked_at = Some(now);
    }
}

fn answer(access: &Text, refresh: &Text, scope: &str) -> Vec<u8> {
    let (access_token, refresh_token) = (access.as_str(), Some(refresh.as_str()));
    Answer { access_token, token_type: "Bearer", expires_in: ACCESS_LIFETIME / SECOND, refresh_token, scope }.render()
}

#[cfg(test)]
fn forget(index: &mut HashMap<Arc<str>, HashSet<Id>>, owner: &Arc<str>, id: Id) {
    if let Some(ids) = index.get_mut(owner) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(owner);
        }
    }
}
