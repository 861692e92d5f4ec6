-- Timers that are due at the same moment come in order.

DROP INDEX timer_due;

CREATE INDEX timer_due ON timer (fire_at, run_id, position);
