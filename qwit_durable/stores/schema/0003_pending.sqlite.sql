-- A step can be left open and be completed from outside, with a token that is signed; attempts report their progress.

ALTER TABLE task ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;

ALTER TABLE task ADD COLUMN parked_at INTEGER;

ALTER TABLE task ADD COLUMN ended BLOB;

ALTER TABLE task ADD COLUMN progress BLOB;

ALTER TABLE task ADD COLUMN progress_at INTEGER;

CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
