//! A realistic database, made in SQL. A family has 1 to 10 tokens. The last one is an access token, and the others are
//! refresh tokens, all spent but the last. Every tenth grant has ended, every fiftieth was revoked, and every fifth
//! access token has expired.
#![allow(unreachable_pub, reason = "a module of a test binary")]

use grantor::GrantId;
use grantor::secret::TokenHash;

/// How many clients the grants are spread over.
pub const CLIENTS: u64 = 5;

/// The loaded data: grants with the numbers from 1 on.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub grants: u64,
}

/// How many tokens a family has.
pub fn length(family: u64) -> u64 {
    1 + family % 10
}

/// Returns a value that looks random to an index, and that SQL can compute too.
fn scattered(number: u64) -> [u8; 4] {
    u32::try_from(number * 2_654_435_761 % (1 << 32)).unwrap().to_be_bytes()
}

pub fn token_hash(family: u64, token: u64) -> TokenHash {
    let number = family * 16 + token;
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&scattered(number));
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    TokenHash::from_bytes(bytes)
}

pub fn grant_id(family: u64) -> GrantId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&scattered(family));
    bytes[8..].copy_from_slice(&family.to_be_bytes());
    GrantId::from_bytes(bytes)
}

/// A statement that loads 20,000 ephemeral entries in four namespaces. One expires each second, the first ones an
/// hour ago.
pub fn entries(dialect: &Dialect) -> String {
    let Dialect { prefix, series, key, time } = dialect;
    format!(
        "INSERT INTO {prefix}ephemeral (key, namespace, value, expires_at) SELECT {}, 'test_' || (n % 4), {}, {} FROM {}",
        key("n", 32),
        key("n", 32),
        time("n - 3600"),
        series("1", "20000", "n")
    )
}

impl Load {
    pub fn of_tokens(tokens: u64) -> Self {
        Self { grants: tokens * 2 / 11 }
    }

    /// A grant for a number: a different grant for each of the first thousands of numbers.
    pub fn any(self, number: u64) -> u64 {
        1 + number * 7_919 % self.grants
    }

    /// The `number`-th live grant with a good refresh token.
    pub fn live(self, number: u64) -> u64 {
        // Grants whose number ends in 0 have ended, and some whose number ends in 1 are revoked.
        let family = number / 8 * 10 + 2 + number % 8;
        assert!(family <= self.grants, "too few grants");
        family
    }

    pub fn user(self, number: u64) -> String {
        format!("user-{}", (self.any(number) + 1) % self.users())
    }

    fn users(self) -> u64 {
        self.grants / 3
    }

    /// Statements that load families `from` to `to`. `series` makes a table of the numbers of a range, `key`
    /// bytes of two numbers and a width, `time` a time from seconds after the start.
    pub fn statements(self, from: u64, to: u64, dialect: &Dialect) -> [String; 2] {
        let Dialect { prefix, series, key, time } = dialect;
        let (families, tokens) = (series(&from.to_string(), &to.to_string(), "i"), series("1", "10", "j"));
        let grant_id = key("i", 16);
        let hash = key("(i * 16 + j)", 32);
        let parent = key("(i * 16 + j - 1)", 32);
        let users = self.users();
        let (opened, ended, later) = (time("i % 86400 - 172800"), time("i % 3600 - 7200"), time("2592000 + i % 3600"));
        let (expired, used) = (time("i % 3600 - 10800"), time("i % 86400 - 86400"));
        let grants = format!(
            "INSERT INTO {prefix}grants (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
             revoked_at, details) \
             SELECT {grant_id}, 'client-' || (i % {CLIENTS}), 'user-' || (i % {users}), 'authorization_code', 'user:read', \
             {opened}, {used}, CASE WHEN i % 10 = 0 THEN {ended} ELSE {later} END, \
             CASE WHEN i % 50 = 1 THEN {ended} END, '{{}}' FROM {families}"
        );
        let tokens = format!(
            "INSERT INTO {prefix}tokens (hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, seed, \
             seed_until, details) \
             SELECT {hash}, CASE WHEN j = 1 + i % 10 THEN 'access_token' ELSE 'refresh_token' END, {grant_id}, 'user:read', \
             {opened}, CASE WHEN j = 1 + i % 10 AND i % 5 = 0 THEN {expired} ELSE {later} END, \
             CASE WHEN j > 1 THEN {parent} END, CASE WHEN j < i % 10 THEN {used} END, \
             CASE WHEN j < i % 10 THEN {grant_id} END, CASE WHEN j = i % 10 - 1 AND i % 100 = 2 THEN {hash} END, \
             CASE WHEN j = i % 10 - 1 AND i % 100 = 2 THEN {used} END, '{{}}' \
             FROM {families} CROSS JOIN {tokens} WHERE j <= 1 + i % 10"
        );
        [grants, tokens]
    }

    /// Three live grants with this many spent refresh tokens each. Their numbers follow those of the other grants.
    pub fn large_families(spent: u64, dialect: &Dialect) -> [String; 2] {
        let Dialect { prefix, series, key, time } = dialect;
        let id = key("(100000000 + i)", 16);
        let hash = key("(1600000000 + i * 200000 + j)", 32);
        let (opened, later) = (time("-100"), time("2592000"));
        [
            format!(
                "INSERT INTO {prefix}grants (id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, \
                 details) SELECT {id}, 'app', 'mallory', 'authorization_code', 'user:read', {opened}, {opened}, {later}, '{{}}' FROM {}",
                series("0", "2", "i")
            ),
            format!(
                "INSERT INTO {prefix}tokens (hash, kind, grant_id, scope, issued_at, expires_at, spent_at, spent_by, details) \
                 SELECT {hash}, 'refresh_token', {id}, 'user:read', {opened}, {later}, {opened}, {id}, '{{}}' FROM {} CROSS JOIN {}",
                series("0", "2", "i"),
                series("1", &spent.to_string(), "j")
            ),
        ]
    }
}

/// A grant of [`Load::large_families`].
pub fn large_family(number: u64) -> GrantId {
    grant_id(100_000_000 + number)
}

pub struct Dialect {
    pub prefix: &'static str,
    pub series: fn(&str, &str, &str) -> String,
    pub key: fn(&str, usize) -> String,
    pub time: fn(&str) -> String,
}
