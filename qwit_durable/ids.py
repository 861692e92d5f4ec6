"""Every id format of the library, and the one source of randomness.

Run ids are UUIDs whose first 48 bits are the time in milliseconds (version 7), so that rows of one time lie together.
Ids of sub-workflows and idempotency keys are derived from (run, generation, position): making one twice gives the
same one, which is what makes starting a child twice a no-op. This module imports nothing of the package.
"""

from __future__ import annotations

import hashlib
import os
import random
import uuid
from datetime import datetime

__all__ = [
    "child_id",
    "first_run_id",
    "idempotency_key",
    "new_nonce",
    "new_run_id",
    "new_secret",
    "new_uuid4",
    "new_worker_id",
    "parse_run_id",
    "random_float",
]

_RANDOM = random.SystemRandom()


def _uuid7(milliseconds: int, tail: bytes) -> uuid.UUID:
    raw = bytearray(milliseconds.to_bytes(6, "big") + tail[:10])
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return uuid.UUID(bytes=bytes(raw))


def new_run_id(now: datetime) -> uuid.UUID:
    """A new time-ordered run id."""
    return _uuid7(int(now.timestamp() * 1000), os.urandom(10))


def first_run_id(moment: datetime) -> uuid.UUID:
    """The id before which all runs lie that were started before this moment."""
    return uuid.UUID(int=int(moment.timestamp() * 1000) << 80)


def child_id(parent: uuid.UUID, generation: int, position: str) -> uuid.UUID:
    """The id of the sub-workflow that `parent` calls at `position`: in the parent's millisecond: trees lie together."""
    digest = hashlib.blake2b(f"{parent.hex}/{generation}/{position}".encode(), digest_size=10).digest()
    return _uuid7(int.from_bytes(parent.bytes[:6], "big"), digest)


def idempotency_key(run_id: uuid.UUID, generation: int, position: str) -> str:
    """A key for the outside world: the same for every attempt of one command, different for its undo."""
    digest = hashlib.blake2b(f"{run_id.hex}/{generation}/{position}".encode(), digest_size=16).hexdigest()
    return f"qwit-{digest}"


def parse_run_id(text: str) -> uuid.UUID | None:
    """The UUID that `text` spells, or None."""
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def new_worker_id() -> int:
    """A random positive 63-bit number for one incarnation of one process."""
    return _RANDOM.getrandbits(63) | 1


def new_nonce() -> bytes:
    """12 random bytes, for one message under a key."""
    return os.urandom(12)


def new_secret() -> bytes:
    """A key for signing: 32 random bytes."""
    return os.urandom(32)


def new_uuid4() -> uuid.UUID:
    """A random UUID; bodies get theirs through the recorded verb `new_uuid()`."""
    return uuid.uuid4()


def random_float() -> float:
    """A random number in [0, 1); bodies get theirs through the recorded verb `random_float()`."""
    return _RANDOM.random()
