-- A worker that does not know a queued step leaves it to others, and says so.

ALTER TABLE qwit.task ADD COLUMN note TEXT;
