"""An expense that waits for a person: signals, timeouts and timers."""
