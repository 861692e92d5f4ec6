"""The client's side: handles, starting, listing, explaining."""

from qwit_durable.client.explanation import Explanation, Wait, WaitKind
from qwit_durable.client.handle import Handle
from qwit_durable.client.history import Entry, History
from qwit_durable.client.published import Published
from qwit_durable.client.runs import Run

__all__ = ["Entry", "Explanation", "Handle", "History", "Published", "Run", "Wait", "WaitKind"]
