"""Measurements, for people to run: `make bench`."""
