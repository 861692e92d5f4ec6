-- Schedules: few rows, read by the sweep through the index when one is due. `timetable` and `recent` are JSON.

CREATE TABLE schedule (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    workflow TEXT NOT NULL,
    version TEXT,
    queue TEXT NOT NULL,
    args BLOB NOT NULL,
    timetable TEXT NOT NULL,
    overlap TEXT NOT NULL,
    catch_up TEXT NOT NULL,
    window_us INTEGER,
    lane TEXT,
    deadline_us INTEGER,
    attributes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    next_at INTEGER,
    paused INTEGER NOT NULL,
    note TEXT,
    last_due_at INTEGER,
    last_run_id BLOB,
    last_run TEXT,
    started INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    recent TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX schedule_due ON schedule (next_at) WHERE next_at IS NOT NULL;
