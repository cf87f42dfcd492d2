-- What a job's owner wants besides having it run, as JSON; empty for jobs that want nothing.
ALTER TABLE jobs ADD COLUMN options TEXT;

-- Jobs that wait for an identical one (status 'joined') and take over what that one makes.
CREATE TABLE joined_jobs (
    job_id    TEXT COLLATE "C" PRIMARY KEY NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    leader_id TEXT COLLATE "C" NOT NULL
);
CREATE INDEX joined_jobs_leader ON joined_jobs (leader_id, job_id);

-- The job that makes a result at the moment.
CREATE TABLE flights (
    cache_key TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    job_id    TEXT COLLATE "C" NOT NULL
);

-- The job whose outputs are a result.
CREATE TABLE cache_entries (
    cache_key  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    job_id     TEXT COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX cache_entries_job ON cache_entries (job_id);
CREATE INDEX cache_entries_expiry ON cache_entries (expires_at);

-- Several jobs may have the same bytes as outputs.
ALTER TABLE outputs ADD COLUMN removed_at BIGINT;
-- What lies below a prefix is found by the order of bytes.
ALTER TABLE outputs ALTER COLUMN storage_key TYPE TEXT COLLATE "C";
CREATE INDEX outputs_key ON outputs (storage_key) WHERE removed_at IS NULL;
CREATE INDEX outputs_age ON outputs (created_at) WHERE removed_at IS NULL;

-- The request that a job was accepted for, by the key that its sender gave it.
CREATE TABLE idempotency (
    owner      TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    body_hash  TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (owner, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Messages to the owners of jobs, written in the transaction that makes them true.
CREATE TABLE deliveries (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner          TEXT COLLATE "C" NOT NULL,
    subject_id     TEXT COLLATE "C" NOT NULL,
    event          TEXT NOT NULL,
    url            TEXT NOT NULL,
    host           TEXT COLLATE "C" NOT NULL,
    body           TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    status         TEXT NOT NULL,
    tries          INTEGER NOT NULL DEFAULT 0,
    failures       INTEGER NOT NULL DEFAULT 0,
    next_at        BIGINT NOT NULL,
    lease_until    BIGINT,
    created_at     BIGINT NOT NULL,
    ended_at       BIGINT
);
CREATE INDEX deliveries_due ON deliveries (next_at, id, host) WHERE status = 'pending';
CREATE INDEX deliveries_leased ON deliveries (host, lease_until) WHERE status = 'pending' AND lease_until IS NOT NULL;
CREATE INDEX deliveries_subject ON deliveries (subject_id, id);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE delivery_tries (
    delivery_id TEXT COLLATE "C" NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    time        BIGINT NOT NULL,
    http_status INTEGER,
    duration_ms BIGINT NOT NULL,
    error       TEXT,
    PRIMARY KEY (delivery_id, seq)
);

-- Files that callers have handed in.
CREATE TABLE uploads (
    id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner        TEXT COLLATE "C" NOT NULL,
    sha256       TEXT NOT NULL,
    size         BIGINT NOT NULL,
    kind         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    width        INTEGER,
    height       INTEGER,
    storage_key  TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX uploads_expiry ON uploads (expires_at);

-- Which jobs use which of them: these stay until the job has ended.
CREATE TABLE job_uploads (
    job_id    TEXT COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    upload_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (job_id, upload_id)
);
CREATE INDEX job_uploads_upload ON job_uploads (upload_id);

CREATE TABLE batches (
    id             TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner          TEXT COLLATE "C" NOT NULL,
    workflow_id    TEXT NOT NULL,
    total          INTEGER NOT NULL,
    -- Jobs that have not ended.
    open           INTEGER NOT NULL,
    callback       TEXT,
    metadata       TEXT NOT NULL,
    correlation_id TEXT NOT NULL,
    created_at     BIGINT NOT NULL,
    ended_at       BIGINT
);
CREATE INDEX batches_ended ON batches (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE batch_jobs (
    batch_id TEXT COLLATE "C" NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    job_id   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (batch_id, position)
);
