"""Attempts: inline and queued, how each is run, watched, interrupted and recorded."""
