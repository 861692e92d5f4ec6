"""A purchase that waits until somebody follows a link: `python -m examples.callback`."""
