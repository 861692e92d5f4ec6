"""Plain Dramatiq workers on the same broker, to be compared with: `dramatiq qwit_durable.bench.plain_worker:broker`."""

from __future__ import annotations

from qwit_durable.bench.ending import end_with
from qwit_durable.bench.place import Place

__all__ = ["broker"]

_place, _parent = Place.from_environment()
broker = _place.plain()
end_with(_parent)
