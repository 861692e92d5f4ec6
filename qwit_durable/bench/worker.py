"""What `dramatiq` loads to work on a benchmark's runs: `dramatiq qwit_durable.bench.worker:broker`.

Where everything is comes from the environment. A worker ends when the benchmark that started it is gone.
"""

from __future__ import annotations

from qwit_durable.bench.ending import end_with
from qwit_durable.bench.place import Place

__all__ = ["broker", "durable"]

_place, _parent = Place.from_environment()
broker, durable, _ = _place.connect()
end_with(_parent)
