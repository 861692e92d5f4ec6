"""Workflows on ordinary Dramatiq workers, with Redis and Postgres."""
