-- Names in braces are replaced by quoted names with the configured schema and prefix.
-- Once this file is released it never changes: what is to be different then goes into a new one.

CREATE TABLE {clients} (
    id           text COLLATE "C" PRIMARY KEY,
    -- The registration as JSON; of a secret, only its digest. As text: it comes back as it went in.
    registration json NOT NULL
);

-- One row for each act of authorization. It alone says whether the tokens below it live.
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
    -- The grant that this one was derived from. No foreign key: it may be purged first.
    parent_grant bytea CHECK (octet_length(parent_grant) = 16),
    -- A keyed digest of the session that this grant ends with.
    session      bytea CHECK (octet_length(session) = 32),
    -- When its last one-time key expires: the row stays until then even if the grant has ended.
    kept_until   timestamptz,
    -- Whether a purge has begun with it. If so, revoked_at is when it ended, and says nothing about its children.
    is_closed    boolean NOT NULL DEFAULT false,
    -- When it can be purged: NULL is ignored by LEAST and GREATEST.
    purge_at     timestamptz NOT NULL GENERATED ALWAYS AS (GREATEST(LEAST(expires_at, revoked_at), kept_until)) STORED
);
CREATE INDEX {prefix:grants_by_subject} ON {grants} (subject, opened_at DESC, id DESC) WHERE subject IS NOT NULL;
CREATE INDEX {prefix:grants_by_client} ON {grants} (client_id, opened_at DESC, id DESC);
CREATE INDEX {prefix:grants_by_session} ON {grants} (session, opened_at DESC, id DESC) WHERE session IS NOT NULL;
CREATE INDEX {prefix:grants_by_parent} ON {grants} (parent_grant) WHERE parent_grant IS NOT NULL;
CREATE INDEX {prefix:grants_to_purge} ON {grants} (purge_at);

CREATE TABLE {tokens} (
    -- SHA-256 of the token, which itself is nowhere.
    hash       bytea PRIMARY KEY CHECK (octet_length(hash) = 32),
    -- A word such as access_token. A newer version may use others.
    kind       text NOT NULL,
    grant_id   bytea NOT NULL REFERENCES {grants},
    scope      text NOT NULL,
    issued_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- The token that was spent for this one.
    parent     bytea,
    -- When and by which attempt it was spent; both or neither.
    spent_at   timestamptz,
    spent_by   bytea,
    -- Present only while a retry may be answered; see the manual on the grace window.
    seed       bytea,
    -- When the seed is due to be erased.
    seed_until timestamptz,
    revoked_at timestamptz,
    details    json NOT NULL,
    CHECK ((spent_at IS NULL) = (spent_by IS NULL)),
    CHECK (seed IS NULL OR spent_at IS NOT NULL AND seed_until IS NOT NULL)
);
CREATE INDEX {prefix:tokens_by_grant} ON {tokens} (grant_id);
CREATE INDEX {prefix:tokens_to_expire} ON {tokens} (expires_at) WHERE kind = 'access_token' AND spent_at IS NULL;
CREATE INDEX {prefix:tokens_with_seed} ON {tokens} (seed_until) WHERE seed IS NOT NULL;

-- What lives for minutes. The library alone knows what a value means.
CREATE TABLE {ephemeral} (
    -- A digest over issuer, namespace and name.
    key        bytea PRIMARY KEY CHECK (octet_length(key) = 32),
    namespace  text COLLATE "C" NOT NULL,
    value      bytea NOT NULL,
    -- Changes with each write, and its sequence never gives a number twice.
    version    bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX {prefix:ephemeral_by_namespace} ON {ephemeral} (namespace, expires_at, key);
CREATE INDEX {prefix:ephemeral_to_expire} ON {ephemeral} (expires_at);

-- The issuer that the storage belongs to: one row at most.
CREATE TABLE {issuer} (
    id     integer PRIMARY KEY CHECK (id = 1),
    issuer text COLLATE "C" NOT NULL
);

-- The keys that the server signs with, private halves encrypted: one row at most.
CREATE TABLE {signing_keys} (
    id      integer PRIMARY KEY CHECK (id = 1),
    version bigint NOT NULL,
    value   bytea NOT NULL
);
