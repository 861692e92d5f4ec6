-- Ids are 16 bytes, times microseconds since 1970, flags 0 and 1. Payloads may be sealed.
-- Tables keyed by a run come WITHOUT ROWID where rows are small: one tree instead of two.

CREATE TABLE run (
    id BLOB PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT,
    queue TEXT NOT NULL,
    root_id BLOB NOT NULL,
    args BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    start_at INTEGER,
    parent_id BLOB,
    parent_position TEXT,
    generation INTEGER NOT NULL,
    attributes TEXT NOT NULL,
    deadline_at INTEGER,
    trace TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX run_parent ON run (parent_id) WHERE parent_id IS NOT NULL;

-- Which run stands under a user's id.
CREATE TABLE idem (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    run_id BLOB NOT NULL,
    PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;

-- Open runs only.
CREATE TABLE live (
    run_id BLOB PRIMARY KEY,
    status TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    owner INTEGER,
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL,
    awaiting INTEGER NOT NULL,
    begun INTEGER NOT NULL,
    lost INTEGER NOT NULL,
    cancel_asked INTEGER NOT NULL,
    reason BLOB,
    reason_kind TEXT,
    note TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE outcome (
    run_id BLOB PRIMARY KEY,
    status TEXT NOT NULL,
    ended_at INTEGER NOT NULL,
    value BLOB,
    failure BLOB,
    undone TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For lists of what went wrong among millions that went well.
CREATE INDEX outcome_not_completed ON outcome (status, run_id) WHERE status <> 'completed';

CREATE TABLE event (
    run_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    position TEXT NOT NULL,
    name TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    args BLOB NOT NULL,
    value BLOB NOT NULL,
    detail BLOB NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    run_id BLOB NOT NULL,
    position TEXT NOT NULL,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    ready_at INTEGER NOT NULL,
    ring_at INTEGER NOT NULL,
    priority INTEGER,
    attempt INTEGER NOT NULL,
    owner INTEGER,
    began_at INTEGER,
    claimed_at INTEGER,
    rings INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    spec BLOB,
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_due ON task (ring_at);

CREATE INDEX task_owner ON task (owner) WHERE owner IS NOT NULL;

CREATE TABLE timer (
    run_id BLOB NOT NULL,
    position TEXT NOT NULL,
    fire_at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (run_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX timer_due ON timer (fire_at);

CREATE TABLE signal (
    run_id BLOB NOT NULL,
    dedupe_id TEXT NOT NULL,
    PRIMARY KEY (run_id, dedupe_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE worker (
    id INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    process_started REAL NOT NULL,
    started_at INTEGER NOT NULL,
    beat_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    queues TEXT NOT NULL
) STRICT;

CREATE TABLE duty (
    duty TEXT PRIMARY KEY,
    worker INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
