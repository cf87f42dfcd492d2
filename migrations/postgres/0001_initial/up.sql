-- The same tables as for SQLite. Times are milliseconds since the Unix epoch (UTC); ids and JSON are text, so that both databases can hold them. Names and
-- ids compare by bytes (COLLATE "C"), as they do in SQLite: the order of jobs is that of their ids.

CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);

CREATE TABLE workflows (
    id          TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL,
    version     INTEGER NOT NULL,
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    deleted_at  BIGINT
);

-- Never changed and never removed: a job keeps the version it began with.
CREATE TABLE workflow_versions (
    workflow_id  TEXT COLLATE "C" NOT NULL REFERENCES workflows (id),
    version      INTEGER NOT NULL,
    graph        TEXT NOT NULL,
    input_schema TEXT NOT NULL,
    outputs      TEXT NOT NULL,
    requirements TEXT,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (workflow_id, version)
);

CREATE TABLE jobs (
    id               TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    owner            TEXT COLLATE "C" NOT NULL,
    workflow_id      TEXT COLLATE "C" NOT NULL,
    workflow_version INTEGER NOT NULL,
    status           TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    inputs           TEXT NOT NULL,
    params           TEXT NOT NULL,
    resolved         TEXT NOT NULL,
    metadata         TEXT NOT NULL,
    request_id       TEXT COLLATE "C",
    correlation_id   TEXT NOT NULL,
    timeout_ms       BIGINT,
    not_before       BIGINT,
    retry_of         TEXT,
    nodes_total      INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    crashes          INTEGER NOT NULL DEFAULT 0,
    -- The fencing token: raised by each claim, checked by each later write of the worker.
    epoch            BIGINT NOT NULL DEFAULT 0,
    worker_id        TEXT,
    backend          TEXT,
    prompt_id        TEXT,
    lease_until      BIGINT,
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    created_at       BIGINT NOT NULL,
    dispatched_at    BIGINT,
    started_at       BIGINT,
    finished_at      BIGINT,
    store_ms         BIGINT,
    error            TEXT
);

CREATE INDEX jobs_owner ON jobs (owner, id);
CREATE INDEX jobs_status ON jobs (status, id);
CREATE INDEX jobs_owner_status ON jobs (owner, status, id);
CREATE INDEX jobs_workflow ON jobs (workflow_id, id);
CREATE INDEX jobs_request ON jobs (request_id, id) WHERE request_id IS NOT NULL;
CREATE INDEX jobs_undispatched ON jobs (created_at) WHERE status = 'queued' AND dispatched_at IS NULL;

CREATE TABLE outputs (
    job_id       TEXT COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file         TEXT COLLATE "C" NOT NULL,
    position     INTEGER NOT NULL,
    node_id      TEXT NOT NULL,
    kind         TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         BIGINT NOT NULL,
    sha256       TEXT NOT NULL,
    width        INTEGER,
    height       INTEGER,
    storage_key  TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (job_id, file)
);

CREATE TABLE job_logs (
    job_id  TEXT COLLATE "C" NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    seq     INTEGER NOT NULL,
    time    BIGINT NOT NULL,
    level   TEXT NOT NULL,
    event   TEXT NOT NULL,
    message TEXT NOT NULL,
    node    TEXT,
    PRIMARY KEY (job_id, seq)
);

-- Beginnings of storage keys that nothing refers to any more. Written in the transaction that drops the last
-- reference, removed once the files are gone.
CREATE TABLE trash (
    prefix     TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    created_at BIGINT NOT NULL
);
