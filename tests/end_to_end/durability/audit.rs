//! Reads every row without the library, and checks the invariants.

use std::collections::{BTreeMap, BTreeSet};

use grantor::GrantId;
use grantor::record::AttemptId;
use grantor::secret::TokenHash;
use sqlx::AssertSqlSafe;

use crate::place::Opened;

/// A token and some columns of its grant. Times are microseconds since 1970.
#[derive(Debug)]
struct Row {
    hash: TokenHash,
    kind: String,
    parent: Option<TokenHash>,
    issued_at: i64,
    expires_at: i64,
    spent_at: Option<i64>,
    spent_by: Option<AttemptId>,
    has_seed: bool,
    grant: GrantId,
    grant_opened_at: i64,
    grant_last_used_at: i64,
    grant_expires_at: i64,
    grant_is_revoked: bool,
}

/// All rows of a database at one moment.
pub(crate) struct Audit {
    rows: BTreeMap<TokenHash, Row>,
    by_parent: BTreeMap<TokenHash, Vec<TokenHash>>,
    by_grant: BTreeMap<GrantId, Vec<TokenHash>>,
}

/// The state of a code or refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Unspent,
    /// Spent, with these two successors.
    Spent {
        access: TokenHash,
        refresh: TokenHash,
    },
}

impl Audit {
    pub(crate) async fn of(opened: &Opened) -> Self {
        // A single statement, so all rows show the same moment.
        let rows: Vec<Columns> = match opened {
            Opened::Sqlite(storage) => {
                let query = AssertSqlSafe(query("t.seed IS NOT NULL", str::to_owned));
                sqlx::query_as(query).fetch_all(storage.pool()).await.unwrap()
            }
            Opened::Postgres(storage) => {
                let micros = |column: &str| format!("(extract(epoch FROM {column}) * 1000000)::bigint");
                let query = AssertSqlSafe(query("(t.seed IS NOT NULL)::int::bigint", micros));
                sqlx::query_as(query).fetch_all(storage.pool()).await.unwrap()
            }
        };
        let (mut by_parent, mut by_grant) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
        for row in &rows {
            by_grant.entry(row.grant).or_default().push(row.hash);
            if let Some(parent) = row.parent {
                by_parent.entry(parent).or_default().push(row.hash);
            }
        }
        Self { rows: rows.into_iter().map(|row| (row.hash, row)).collect(), by_parent, by_grant }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the state of a token: unspent without successors, or spent with both successors and the grant's times
    /// updated.
    pub(crate) fn state(&self, token: TokenHash) -> State {
        let row = self.rows.get(&token).unwrap_or_else(|| panic!("{token:?} is lost"));
        let children = self.by_parent.get(&token).map_or(&[][..], Vec::as_slice);
        let children: Vec<&Row> = children.iter().map(|hash| &self.rows[hash]).collect();
        let Some(spent_at) = row.spent_at else {
            assert!(children.is_empty(), "unspent, but has successors: {row:?} {children:?}");
            return State::Unspent;
        };
        let of_kind = |kind: &str| {
            let mut found = children.iter().filter(|child| child.kind == kind);
            let child = found.next().unwrap_or_else(|| panic!("spent, but no {kind} was born: {row:?}"));
            assert!(found.next().is_none(), "spent for more than one {kind}: {row:?} {children:?}");
            // A token is issued when its request begins, and its parent is spent when it is stored.
            let is_of_it = child.grant == row.grant && (row.issued_at..=spent_at).contains(&child.issued_at);
            assert!(is_of_it, "not born of {row:?}: {child:?}");
            child
        };
        let (access, refresh) = (of_kind("access_token"), of_kind("refresh_token"));
        assert_eq!(children.len(), 2, "{row:?} {children:?}");
        let grant_ends = access.expires_at.max(refresh.expires_at);
        assert!(
            row.grant_last_used_at >= spent_at && row.grant_expires_at >= grant_ends,
            "the times of the grant are old: {row:?}"
        );
        State::Spent { access: access.hash, refresh: refresh.hash }
    }

    /// Whether the grant is revoked or was purged. Only revoked grants are purged during a run.
    pub(crate) fn has_ended(&self, grant: GrantId) -> bool {
        self.by_grant.get(&grant).is_none_or(|tokens| self.rows[&tokens[0]].grant_is_revoked)
    }

    /// Asserts that no grant has two lineages. In `grants` that must not have `ended`, all rows are in one chain that
    /// begins with the code. Other grants may be half purged; their remaining rows are in one chain.
    pub(crate) fn check_lineages(&self, grants: &BTreeSet<GrantId>, ended: &BTreeSet<GrantId>) {
        for grant in grants {
            let unspent = self.unspent_refresh_tokens(*grant);
            assert!(unspent <= 1, "{grant} has {unspent} unspent refresh tokens: {:?}", self.rows_of(*grant));
            if ended.contains(grant) {
                assert!(self.has_ended(*grant), "{grant} should have ended: {:?}", self.rows_of(*grant));
            } else {
                self.check_line(*grant);
            }
        }
        self.check_forks();
        for grant in self.by_grant.keys() {
            assert!(grants.contains(grant), "{grant} was not opened");
        }
    }

    /// Asserts that no two tokens of a kind have the same parent, and that no attempt spent two tokens.
    fn check_forks(&self) {
        for (parent, children) in &self.by_parent {
            let kinds: BTreeSet<&str> = children.iter().map(|hash| &*self.rows[hash].kind).collect();
            assert_eq!(kinds.len(), children.len(), "{parent:?} was spent more than once: {children:?}");
        }
        let mut attempts = BTreeSet::new();
        for row in self.rows.values() {
            assert!(
                row.spent_by.is_none_or(|attempt| attempts.insert(attempt)),
                "one attempt spent two tokens: {row:?}"
            );
        }
    }

    fn check_line(&self, grant: GrantId) {
        let rows = self.rows_of(grant);
        let mut roots = rows.iter().filter(|row| row.parent.is_none());
        let (code, others) = (roots.next().unwrap_or_else(|| panic!("{grant} is lost")), roots.next());
        assert!(others.is_none() && code.kind == "authorization_code", "no code, or several: {rows:?}");
        let (mut tip, mut met) = (code.hash, 1);
        while let State::Spent { refresh, .. } = self.state(tip) {
            (tip, met) = (refresh, met + 2);
        }
        assert_eq!(met, rows.len(), "{grant} has a second lineage: {rows:?}");

        assert!(!code.grant_is_revoked, "{grant} was not ended");
        let last_used_at = rows.iter().filter_map(|row| row.spent_at).max().unwrap_or(code.grant_opened_at);
        assert_eq!(code.grant_last_used_at, last_used_at, "{rows:?}");
        assert_eq!(Some(code.grant_expires_at), rows.iter().map(|row| row.expires_at).max(), "{rows:?}");
        // With more seeds, the live token could be derived from an old token.
        assert!(rows.iter().filter(|row| row.has_seed).count() <= 1, "{rows:?}");
    }

    fn rows_of(&self, grant: GrantId) -> Vec<&Row> {
        self.by_grant.get(&grant).into_iter().flatten().map(|hash| &self.rows[hash]).collect()
    }

    fn unspent_refresh_tokens(&self, grant: GrantId) -> usize {
        let rows = self.rows_of(grant);
        rows.iter().filter(|row| row.kind == "refresh_token" && row.spent_at.is_none()).count()
    }
}

type Columns = (
    Vec<u8>,
    String,
    Option<Vec<u8>>,
    i64,
    i64,
    Option<i64>,
    Option<Vec<u8>>,
    i64,
    Vec<u8>,
    i64,
    i64,
    i64,
    Option<i64>,
);

/// The tables as `migrations/` documents them.
fn query(has_seed: &str, micros: impl Fn(&str) -> String) -> String {
    let times = |columns: &[&str]| columns.iter().map(|column| micros(column)).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT t.hash, t.kind, t.parent, {}, t.spent_by, {has_seed}, t.grant_id, {} \
         FROM grantor_tokens t LEFT JOIN grantor_grants g ON g.id = t.grant_id",
        times(&["t.issued_at", "t.expires_at", "t.spent_at"]),
        times(&["g.opened_at", "g.last_used_at", "g.expires_at", "g.revoked_at"]),
    )
}

impl From<Columns> for Row {
    fn from(columns: Columns) -> Self {
        let (hash, kind, parent, issued_at, expires_at, spent_at, spent_by, seed, grant, opened, used, end, revoked) =
            columns;
        let as_hash = |bytes: Vec<u8>| TokenHash::from_bytes(bytes.try_into().unwrap());
        Self {
            hash: as_hash(hash),
            kind,
            parent: parent.map(as_hash),
            issued_at,
            expires_at,
            spent_at,
            spent_by: spent_by.map(|bytes| AttemptId::from_bytes(bytes.try_into().unwrap())),
            has_seed: seed != 0,
            grant: GrantId::from_bytes(grant.try_into().unwrap()),
            grant_opened_at: opened,
            grant_last_used_at: used,
            grant_expires_at: end,
            grant_is_revoked: revoked.is_some(),
        }
    }
}
