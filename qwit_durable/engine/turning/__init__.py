"""Turns: a run is held, fed what has happened, and carried on by transitions until it waits or ends."""
