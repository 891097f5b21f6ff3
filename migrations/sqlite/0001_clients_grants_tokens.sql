-- Names in braces stand for quoted names with the configured prefix.
-- After its release this file never changes. Later changes go into new files.
-- Times are whole microseconds since 1970-01-01 00:00 UTC.

CREATE TABLE {clients} (
    id           TEXT PRIMARY KEY NOT NULL,
    -- The registration as JSON. Secrets are stored as digests only.
    registration TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each authorization. Only this row says whether its tokens are live.
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
    -- The grant from which this one was derived. It has no foreign key, because the parent may be purged first.
    parent_grant BLOB CHECK (length(parent_grant) = 16),
    -- A keyed digest of the session with which this grant ends.
    session      BLOB CHECK (length(session) = 32),
    -- When its last one-time key expires. The row stays until then, even if the grant has ended.
    kept_until   INTEGER,
    -- Whether a purge has removed a part of it. Then revoked_at is when it ended, and does not affect children.
    is_closed    INTEGER NOT NULL DEFAULT 0,
    -- When the grant can be purged.
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
    -- SHA-256 of the token. The token itself is not stored.
    hash       BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    -- The kind of the token, such as access_token. Newer versions may add kinds.
    kind       TEXT NOT NULL,
    grant_id   BLOB NOT NULL REFERENCES {grants},
    scope      TEXT NOT NULL,
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- The token that was redeemed for this one.
    parent     BLOB,
    -- When it was spent, and by which attempt. Both or neither are set.
    spent_at   INTEGER,
    spent_by   BLOB,
    -- Present while a refresh may be repeated, or while no successor of a code is used. See the manual: grace window.
    seed       BLOB,
    -- When a purge erases the seed.
    seed_until INTEGER,
    revoked_at INTEGER,
    details    TEXT NOT NULL,
    CHECK ((spent_at IS NULL) = (spent_by IS NULL)),
    CHECK (seed IS NULL OR spent_at IS NOT NULL AND seed_until IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX {prefix:tokens_by_grant} ON {tokens} (grant_id);
CREATE INDEX {prefix:tokens_to_expire} ON {tokens} (expires_at) WHERE kind = 'access_token' AND spent_at IS NULL;
CREATE INDEX {prefix:tokens_with_seed} ON {tokens} (seed_until) WHERE seed IS NOT NULL;

-- Short-lived entries. Only the library interprets their values.
CREATE TABLE {ephemeral} (
    -- Each write changes it. AUTOINCREMENT never uses a number twice.
    version    INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A digest of the issuer, the namespace and the name.
    key        BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
    namespace  TEXT NOT NULL,
    value      BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX {prefix:ephemeral_by_namespace} ON {ephemeral} (namespace, expires_at, key);
CREATE INDEX {prefix:ephemeral_to_expire} ON {ephemeral} (expires_at);

-- The issuer that owns the storage: at most one row.
CREATE TABLE {issuer} (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    issuer TEXT NOT NULL
) STRICT;

-- The signing keys of the server, with encrypted private keys: at most one row.
CREATE TABLE {signing_keys} (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    value   BLOB NOT NULL
) STRICT;
