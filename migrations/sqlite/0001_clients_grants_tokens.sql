-- Names in braces are replaced by quoted names with the configured prefix.
-- Once this file is released it never changes: what is to be different then goes into a new one.
-- Times are whole microseconds since 1970-01-01 00:00 UTC.

CREATE TABLE {clients} (
    id           TEXT PRIMARY KEY NOT NULL,
    -- The registration as JSON; of a secret, only its digest.
    registration TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each act of authorization. It alone says whether the tokens below it live.
CREATE TABLE {grants} (
    id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    client_id    TEXT NOT NULL,
    subject      TEXT,
    grant_type   TEXT NOT NULL,
    scope        TEXT NOT NULL,
    opened_at    INTEGER NOT NULL,
    last_used_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    host_data    TEXT,
    details      TEXT NOT NULL,
    -- The grant that this one was derived from. No foreign key: it may be purged first.
    parent_grant BLOB CHECK (length(parent_grant) = 16),
    -- A keyed digest of the session that this grant ends with.
    session      BLOB CHECK (length(session) = 32),
    -- When its last one-time key expires: the row stays until then even if the grant has ended.
    kept_until   INTEGER,
    -- Whether a purge has begun with it. If so, revoked_at is when it ended, and says nothing about its children.
    is_closed    INTEGER NOT NULL DEFAULT 0,
    -- When it can be purged.
    purge_at     INTEGER NOT NULL GENERATED ALWAYS AS (max(
                     min(expires_at, ifnull(revoked_at, expires_at)),
                     ifnull(kept_until, min(expires_at, ifnull(revoked_at, expires_at))))) VIRTUAL
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix:grants_by_subject} ON {grants} (subject, opened_at DESC, id DESC) WHERE subject IS NOT NULL;
CREATE INDEX {prefix:grants_by_client} ON {grants} (client_id, opened_at DESC, id DESC);
CREATE INDEX {prefix:grants_by_session} ON {grants} (session, opened_at DESC, id DESC) WHERE session IS NOT NULL;
CREATE INDEX {prefix:grants_by_parent} ON {grants} (parent_grant) WHERE parent_grant IS NOT NULL;
CREATE INDEX {prefix:grants_to_purge} ON {grants} (purge_at);

CREATE TABLE {tokens} (
    -- SHA-256 of the token, which itself is nowhere.
    hash       BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    -- A word such as access_token. A newer version may use others.
    kind       TEXT NOT NULL,
    grant_id   BLOB NOT NULL REFERENCES {grants},
    scope      TEXT NOT NULL,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- The token that was spent for this one.
    parent     BLOB,
    -- When and by which attempt it was spent; both or neither.
    spent_at   INTEGER,
    spent_by   BLOB,
    -- Present only while a retry may be answered; see the manual on the grace window.
    seed       BLOB,
    -- When the seed is due to be erased.
    seed_until INTEGER,
    revoked_at INTEGER,
    details    TEXT NOT NULL,
    CHECK ((spent_at IS NULL) = (spent_by IS NULL)),
    CHECK (seed IS NULL OR spent_at IS NOT NULL AND seed_until IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix:tokens_by_grant} ON {tokens} (grant_id);
CREATE INDEX {prefix:tokens_to_expire} ON {tokens} (expires_at) WHERE kind = 'access_token' AND spent_at IS NULL;
CREATE INDEX {prefix:tokens_with_seed} ON {tokens} (seed_until) WHERE seed IS NOT NULL;

-- What lives for minutes. The library alone knows what a value means.
CREATE TABLE {ephemeral} (
    -- Changes with each write, and AUTOINCREMENT never gives a number twice.
    version    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A digest over issuer, namespace and name.
    key        BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
    namespace  TEXT NOT NULL,
    value      BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX {prefix:ephemeral_by_namespace} ON {ephemeral} (namespace, expires_at, key);
CREATE INDEX {prefix:ephemeral_to_expire} ON {ephemeral} (expires_at);

-- The issuer that the storage belongs to: one row at most.
CREATE TABLE {issuer} (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    issuer TEXT NOT NULL
) STRICT;

-- The keys that the server signs with, private halves encrypted: one row at most.
CREATE TABLE {signing_keys} (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    value   BLOB NOT NULL
) STRICT;
