-- A body can be restarted under its run's id; a run may wait in a lane; a body can publish values.

ALTER TABLE run DROP COLUMN generation;

ALTER TABLE run ADD COLUMN lane TEXT;

ALTER TABLE live ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE outcome ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

-- The latest value under each key.
CREATE TABLE published (
    run_id BLOB NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;
