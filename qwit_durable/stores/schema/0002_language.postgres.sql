-- A body can be restarted under its run's id; a run may wait in a lane; a body can publish values.

ALTER TABLE qwit.run DROP COLUMN generation;

ALTER TABLE qwit.run ADD COLUMN lane TEXT COLLATE "C";

ALTER TABLE qwit.live ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

ALTER TABLE qwit.outcome ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;

-- The latest value under each key.
CREATE TABLE qwit.published (
    run_id UUID NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (run_id, key)
);
