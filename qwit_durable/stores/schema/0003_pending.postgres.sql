-- A step can be left open and be completed from outside, with a token that is signed; attempts report their progress.

ALTER TABLE qwit.task ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;

ALTER TABLE qwit.task ADD COLUMN parked_at TIMESTAMPTZ;

ALTER TABLE qwit.task ADD COLUMN ended BYTEA;

ALTER TABLE qwit.task ADD COLUMN progress BYTEA;

ALTER TABLE qwit.task ADD COLUMN progress_at TIMESTAMPTZ;

CREATE TABLE qwit.secret (
    name TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);
