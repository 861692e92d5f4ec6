-- Timers that are due at the same moment, as those of a hundred thousand runs that sleep until nine, come in order.

DROP INDEX qwit.timer_due;

CREATE INDEX timer_due ON qwit.timer (fire_at, run_id, position);
