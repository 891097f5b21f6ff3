-- Names in braces stand for quoted names with the configured schema and prefix.
-- After its release this file never changes. Later changes go into new files.

CREATE TABLE {clients} (
    id           text COLLATE "C" PRIMARY KEY,
    -- The registration as JSON. Secrets are stored as digests only. The type json keeps the text unchanged.
    registration json NOT NULL
);

-- One row for each authorization. Only this row says whether its tokens are live.
CREATE TABLE {grants} (
    id           bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    client_id    text COLLATE "C" NOT NULL,
    subject      text COLLATE "C",
    grant_type   text NOT NULL,
    scope        text NOT NULL,
    opened_at    timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    host_data    json,
    details      json NOT NULL,
    -- The grant from which this one was derived. It has no foreign key, because the parent may be purged first.
    parent_grant bytea CHECK (octet_length(parent_grant) = 16),
    -- A keyed digest of the session with which this grant ends.
    session      bytea CHECK (octet_length(session) = 32),
    -- When its last one-time key expires. The row stays until then, even if the grant has ended.
    kept_until   timestamptz,
    -- Whether a purge has removed a part of it. Then revoked_at is when it ended, and does not affect children.
    is_closed    boolean NOT NULL DEFAULT false,
    -- When the grant can be purged. LEAST and GREATEST ignore NULL.
    purge_at     timestamptz NOT NULL GENERATED ALWAYS AS (GREATEST(LEAST(expires_at, revoked_at), kept_until)) STORED
);
CREATE INDEX {prefix:grants_by_subject} ON {grants} (subject, opened_at DESC, id DESC) WHERE subject IS NOT NULL;
CREATE INDEX {prefix:grants_by_client} ON {grants} (client_id, opened_at DESC, id DESC);
CREATE INDEX {prefix:grants_by_session} ON {grants} (session, opened_at DESC, id DESC) WHERE session IS NOT NULL;
CREATE INDEX {prefix:grants_by_parent} ON {grants} (parent_grant) WHERE parent_grant IS NOT NULL;
CREATE INDEX {prefix:grants_to_purge} ON {grants} (purge_at);

CREATE TABLE {tokens} (
    -- SHA-256 of the token. The token itself is not stored.
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    -- The kind of the token, such as access_token. Newer versions may add kinds.
    kind       text NOT NULL,
    grant_id   bytea NOT NULL REFERENCES {grants},
    scope      text NOT NULL,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- The token that was redeemed for this one.
    parent     bytea,
    -- When it was spent, and by which attempt. Both or neither are set.
    spent_at   timestamptz,
    spent_by   bytea,
    -- Present while a refresh may be repeated, or while no successor of a code is used. See the manual: grace window.
    seed       bytea,
    -- When a purge erases the seed.
    seed_until timestamptz,
    revoked_at timestamptz,
    details    json NOT NULL,
    CHECK ((spent_at IS NULL) = (spent_by IS NULL)),
    CHECK (seed IS NULL OR spent_at IS NOT NULL AND seed_until IS NOT NULL)
);
CREATE INDEX {prefix:tokens_by_grant} ON {tokens} (grant_id);
CREATE INDEX {prefix:tokens_to_expire} ON {tokens} (expires_at) WHERE kind = 'access_token' AND spent_at IS NULL;
CREATE INDEX {prefix:tokens_with_seed} ON {tokens} (seed_until) WHERE seed IS NOT NULL;

-- Short-lived entries. Only the library interprets their values.
CREATE TABLE {ephemeral} (
    -- A digest of the issuer, the namespace and the name.
    key        bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    namespace  text COLLATE "C" NOT NULL,
    value      bytea NOT NULL,
    -- Each write changes it. The sequence never uses a number twice.
    version    bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX {prefix:ephemeral_by_namespace} ON {ephemeral} (namespace, expires_at, key);
CREATE INDEX {prefix:ephemeral_to_expire} ON {ephemeral} (expires_at);

-- The issuer that owns the storage: at most one row.
CREATE TABLE {issuer} (
    id     integer PRIMARY KEY CHECK (id = 1),
    issuer text COLLATE "C" NOT NULL
);

-- The signing keys of the server, with encrypted private keys: at most one row.
CREATE TABLE {signing_keys} (
    id      integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    value   bytea NOT NULL
);
