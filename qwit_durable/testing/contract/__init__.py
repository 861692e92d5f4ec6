"""The store contract."""
