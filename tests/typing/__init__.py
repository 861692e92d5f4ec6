"""Read by mypy and pyright, run by nobody: what users see of the types."""
