-- While somebody holds an old snapshot, each dead version of a live row stays, with its entries in the index. A unique
-- index looks at all entries of a row whenever one is added: a run's steps got slower by the thousand. That a run has
-- one live row is held by the keys of `run` and `event`, which each way to insert one goes through.

ALTER TABLE qwit.live DROP CONSTRAINT live_pkey;

CREATE INDEX live_run ON qwit.live (run_id);

-- Without a primary key, this is what logical replication goes by. (It is written to the log only where that is used.)
ALTER TABLE qwit.live REPLICA IDENTITY FULL;

-- For lists of a workflow, a version or a namespace that has few among millions: says for each megabyte of rows what
-- may be in it. An insert costs nothing; the newest rows, of which nothing is said yet, are looked through.
CREATE INDEX run_rare ON qwit.run USING brin (
    workflow text_bloom_ops, version text_bloom_ops, namespace text_bloom_ops
) WITH (autosummarize = on);
