-- Lanes: a row while somebody is in it, and a place for each run that waits. The head stands in the lane's row.

CREATE TABLE qwit.lane (
    namespace TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    head UUID NOT NULL,
    number BIGINT NOT NULL,
    last BIGINT NOT NULL,
    waiting INTEGER NOT NULL,
    since TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (namespace, lane)
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Whoever is next is looked for behind the head's number, so the dead rows before it are never walked over.
CREATE TABLE qwit.place (
    run_id UUID PRIMARY KEY,
    namespace TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

CREATE UNIQUE INDEX place_number ON qwit.place (namespace, lane, number);

CREATE INDEX run_lane ON qwit.run (namespace, lane, id) WHERE lane IS NOT NULL;
