-- Schedules: few rows, read by the sweep through the index when one is due. `timetable` and `recent` are JSON.

CREATE TABLE qwit.schedule (
    namespace TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT,
    queue TEXT NOT NULL,
    args BYTEA NOT NULL,
    timetable TEXT NOT NULL,
    overlap TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    window_us BIGINT,
    lane TEXT,
    deadline_us BIGINT,
    attributes TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ NOT NULL,
    next_at TIMESTAMPTZ,
    paused BOOLEAN NOT NULL,
    note TEXT,
    last_due_at TIMESTAMPTZ,
    last_run_id UUID,
    last_run TEXT,
    started BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    recent TEXT NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (namespace, id)
);

CREATE INDEX schedule_due ON qwit.schedule (next_at) WHERE next_at IS NOT NULL;
