-- A worker that does not know a queued step leaves it to others, and says so.

ALTER TABLE task ADD COLUMN note TEXT;
