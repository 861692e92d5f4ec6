-- Lanes: a row while somebody is in it, and a place for each run that waits. The head stands in the lane's row.

CREATE TABLE lane (
    namespace TEXT NOT NULL,
    lane TEXT NOT NULL,
    head BLOB NOT NULL,
    number INTEGER NOT NULL,
    last INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (namespace, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE place (
    run_id BLOB PRIMARY KEY,
    namespace TEXT NOT NULL,
    lane TEXT NOT NULL,
    number INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX place_number ON place (namespace, lane, number);

CREATE INDEX run_lane ON run (namespace, lane, id) WHERE lane IS NOT NULL;
