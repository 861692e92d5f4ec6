"""Payload codecs behind one another: what `Durable(codec=...)` is given, as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import attrs

from qwit_durable.errors import DefinitionError, describe

if TYPE_CHECKING:
    from qwit_durable.stores.encoding import PayloadCodec

__all__ = ["chained"]


@attrs.frozen
class _Chain:
    codecs: tuple[PayloadCodec, ...]

    def seal(self, data: bytes) -> bytes:
        for codec in self.codecs:
            data = codec.seal(data)
        return data

    def open(self, data: bytes) -> bytes:
        for codec in reversed(self.codecs):
            data = codec.open(data)
        return data


def chained(given: object) -> PayloadCodec | None:
    """One codec for what was given: None, a codec, or several in the order in which a payload passes them.

    Raises:
        DefinitionError: One of them is no codec.
    """
    if given is None:
        return None
    codecs = tuple(cast("Sequence[object]", given)) if isinstance(given, (list, tuple)) else (given,)
    for codec in codecs:
        if isinstance(codec, type) or not (
            callable(getattr(codec, "seal", None)) and callable(getattr(codec, "open", None))
        ):
            msg = (
                f"Durable: codec is an object with seal(bytes) and open(bytes), or a list of such, "
                f"got {describe(codec)}\n"
                f"  right:  codec=[ZlibCodec(), AesGcmCodec(keys)]"
            )
            raise DefinitionError(msg)
    return _Chain(cast("tuple[PayloadCodec, ...]", codecs))
