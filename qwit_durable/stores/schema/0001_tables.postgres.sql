-- Payloads may be sealed. No foreign keys and no triggers: rows that belong together are written together.
-- Every table that grows is keyed first by a run's id, which begins with a time. Text that is sorted is sorted by bytes.

CREATE TABLE qwit.run (
    id UUID PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT,
    queue TEXT NOT NULL,
    root_id UUID NOT NULL,
    args BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    start_at TIMESTAMPTZ,
    parent_id UUID,
    parent_position TEXT COLLATE "C",
    generation INTEGER NOT NULL,
    attributes JSONB NOT NULL,
    deadline_at TIMESTAMPTZ,
    trace TEXT
);

CREATE INDEX run_parent ON qwit.run (parent_id) WHERE parent_id IS NOT NULL;

CREATE INDEX run_attributes ON qwit.run USING gin (attributes jsonb_path_ops) WHERE attributes <> '{}';

-- Which run stands under a user's id.
CREATE TABLE qwit.idem (
    namespace TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    run_id UUID NOT NULL,
    PRIMARY KEY (namespace, key)
);

-- Open runs only: the one table whose rows change often. No index but its key, and free room on each page, so that an
-- update stays on its page and touches no index (HOT).
CREATE TABLE qwit.live (
    run_id UUID PRIMARY KEY,
    status TEXT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    owner BIGINT,
    epoch BIGINT NOT NULL,
    head INTEGER NOT NULL,
    awaiting INTEGER NOT NULL,
    begun BOOLEAN NOT NULL,
    lost INTEGER NOT NULL,
    cancel_asked BOOLEAN NOT NULL,
    reason BYTEA,
    reason_kind TEXT,
    note TEXT
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE TABLE qwit.outcome (
    run_id UUID PRIMARY KEY,
    status TEXT NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    value BYTEA,
    failure BYTEA,
    undone TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    head INTEGER NOT NULL
);

-- For lists of what went wrong among millions that went well.
CREATE INDEX outcome_not_completed ON qwit.outcome (status, run_id) WHERE status <> 'completed';

-- Insert-only; the rows of one run lie together.
CREATE TABLE qwit.event (
    run_id UUID NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    args BYTEA NOT NULL,
    value BYTEA NOT NULL,
    detail BYTEA NOT NULL,
    PRIMARY KEY (run_id, number)
);

-- Owed work. Rows come and go.
CREATE TABLE qwit.task (
    run_id UUID NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    ready_at TIMESTAMPTZ NOT NULL,
    ring_at TIMESTAMPTZ NOT NULL,
    priority INTEGER,
    attempt INTEGER NOT NULL,
    owner BIGINT,
    began_at TIMESTAMPTZ,
    claimed_at TIMESTAMPTZ,
    rings INTEGER NOT NULL,
    cancelled BOOLEAN NOT NULL,
    spec BYTEA,
    PRIMARY KEY (run_id, position)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX task_due ON qwit.task (ring_at);

CREATE INDEX task_owner ON qwit.task (owner) WHERE owner IS NOT NULL;

CREATE TABLE qwit.timer (
    run_id UUID NOT NULL,
    position TEXT COLLATE "C" NOT NULL,
    fire_at TIMESTAMPTZ NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (run_id, position)
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX timer_due ON qwit.timer (fire_at);

CREATE TABLE qwit.signal (
    run_id UUID NOT NULL,
    dedupe_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (run_id, dedupe_id)
);

CREATE TABLE qwit.worker (
    id BIGINT PRIMARY KEY,
    host TEXT NOT NULL,
    pid BIGINT NOT NULL,
    process_started DOUBLE PRECISION NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    beat_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    queues TEXT NOT NULL
);

CREATE TABLE qwit.duty (
    duty TEXT PRIMARY KEY,
    worker BIGINT NOT NULL,
    until TIMESTAMPTZ NOT NULL
);
