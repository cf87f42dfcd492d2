-- Keys of callers. What a key is, nobody can tell from here: only its hash is kept.
CREATE TABLE api_keys (
    id            TEXT PRIMARY KEY NOT NULL,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    hash          TEXT NOT NULL,
    -- Own limits and rights, as JSON.
    rights        TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    created_by    TEXT NOT NULL,
    expires_at    BIGINT,
    last_used_at  BIGINT,
    revoked_at    BIGINT
);

-- What was done by whom. Rows are only ever added; each holds the hash of the one before.
CREATE TABLE audit (
    seq            BIGINT PRIMARY KEY NOT NULL,
    time           BIGINT NOT NULL,
    actor          TEXT NOT NULL,
    action         TEXT NOT NULL,
    target         TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    address        TEXT NOT NULL,
    detail         TEXT NOT NULL,
    hash           TEXT NOT NULL
);
CREATE INDEX audit_actor ON audit (actor, seq);
CREATE INDEX audit_action ON audit (action, seq);
