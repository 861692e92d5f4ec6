"""The client's side: handles, starting, listing, explaining."""

from qwit_durable.client.handle import Handle
from qwit_durable.client.runs import Run

__all__ = ["Handle", "Run"]
