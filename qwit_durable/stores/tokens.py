"""Tokens that name one attempt of one step, signed with a secret that the store keeps: who has one may complete it.

A token is safe in a URL, an e-mail or a form: nobody can make or change one without the secret, and it tells nothing
but ids. It works in every process that reaches the same store, and in no other store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from uuid import UUID

import attrs

from qwit_durable.errors import InvalidToken
from qwit_durable.ids import new_secret
from qwit_durable.stores.answers import Answer, Kept
from qwit_durable.stores.task_writes import KeepSecret

__all__ = ["TokenClaim", "Tokens"]

_NAME = "completion"
_VERSION = 1
_TAG_BYTES = 16
_ID_BYTES = 16
_MOST_CHARS = 4096


@attrs.frozen(kw_only=True)
class TokenClaim:
    """What a token names."""

    run_id: UUID
    generation: int
    position: str
    attempt: int


class Tokens:
    """Makes and reads tokens; asks the store for its secret once.

    Args:
        write: Carries out one write.
    """

    def __init__(self, write: Callable[[KeepSecret], Answer]) -> None:
        self._write = write
        self._key: bytes | None = None

    def make(self, claim: TokenClaim) -> str:
        """The token for a claim: the same one each time."""
        numbers = claim.generation.to_bytes(4, "big") + claim.attempt.to_bytes(4, "big")
        payload = bytes([_VERSION]) + claim.run_id.bytes + numbers + claim.position.encode()
        return base64.urlsafe_b64encode(payload + self._tag(payload)).rstrip(b"=").decode()

    def read(self, token: str) -> TokenClaim:
        """What a token names.

        Raises:
            InvalidToken: It was not made by this store, or has been changed or cut.
        """
        found = _bytes_of(token)
        payload, tag = found[:-_TAG_BYTES], found[-_TAG_BYTES:]
        begin = 1 + _ID_BYTES
        is_whole = len(payload) > begin + 8 and payload[0] == _VERSION
        if not is_whole or not hmac.compare_digest(tag, self._tag(payload)):
            msg = (
                f"{_shown(token)} is no token of this store\n"
                f"  likely cause: it was cut or changed on its way, or it comes from another store\n"
                f"  way out: hand over p.token unchanged, and complete it where --store or Durable(...) names its store"
            )
            raise InvalidToken(msg)
        return TokenClaim(
            run_id=UUID(bytes=payload[1:begin]),
            generation=int.from_bytes(payload[begin : begin + 4], "big"),
            attempt=int.from_bytes(payload[begin + 4 : begin + 8], "big"),
            position=payload[begin + 8 :].decode(),
        )

    def _tag(self, payload: bytes) -> bytes:
        if self._key is None:
            kept = self._write(KeepSecret(name=_NAME, value=new_secret()))
            assert isinstance(kept, Kept)
            self._key = kept.value
        return hashlib.blake2b(payload, key=self._key, digest_size=_TAG_BYTES, person=b"qwit-token").digest()


def _bytes_of(token: object) -> bytes:
    if not isinstance(token, str) or not token.isascii() or len(token) > _MOST_CHARS:
        return b""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def _shown(token: object) -> str:
    """A token in messages: enough to recognise it, too little to use it."""
    text = token if isinstance(token, str) else repr(token)
    return repr(text if len(text) <= 12 else f"{text[:8]}…")  # noqa: PLR2004 - shorter ones are none
