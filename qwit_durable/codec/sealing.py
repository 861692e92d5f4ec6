"""A payload codec that encrypts: AES-GCM with 256-bit keys that can be rotated. Needs the extra `crypto`.

A sealed payload is `00 'q' 'a' '1'`, the length of the key's id and the id, 4 bytes that tell the key from others of
that id, a random nonce of 12 bytes, and the ciphertext with its tag. Everything before the nonce is authenticated too.
A store's rows prove to be written by a holder of the key; they do not prove to be in their place. Neighbour:
`stores.encoding` says what is sealed and what is not.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from qwit_durable.errors import DefinitionError, PayloadError, describe
from qwit_durable.ids import new_nonce, new_secret

__all__ = ["AesGcmCodec"]

#: JSON never begins so.
_MAGIC = b"\0qa1"
_KEY_BYTES = 32
_CHECK_BYTES = 4
_NONCE_BYTES = 12
_TAG_BYTES = 16
_MAX_ID_BYTES = 255


@attrs.frozen
class _Key:
    id: str
    head: bytes
    cipher: Any = attrs.field(repr=False)


class AesGcmCodec:
    """Encrypt every payload; open what any of the keys has sealed.

    Arguments, values, signals, errors with their tracebacks, reasons and published values are sealed. Names of
    workflows and steps, ids, queues, lanes, attributes, times and statuses are not: the store looks for them. Sizes
    show. To rotate, put a new key first and keep the old ones for as long as runs that they sealed are in the store;
    one key is good for four thousand million payloads.

    Args:
        keys: Keys by their ids, which are stored beside each payload: 32 bytes each, or those in base64, as `new_key`
            makes them. The first one seals.
        accept_plain: Read also what was stored without a codec, for as long as a store is being moved over. Otherwise
            such a payload is refused: who can write to the database could have put it there.

    Raises:
        DefinitionError: There is no key, or one is not of that form; or `cryptography` is not installed.

    >>> codec = AesGcmCodec({"2026": AesGcmCodec.new_key()})
    >>> codec.open(codec.seal(b"secret"))
    b'secret'
    """

    def __init__(self, keys: Mapping[str, bytes | str], *, accept_plain: bool = False) -> None:
        if not keys:
            msg = (
                "AesGcmCodec: keys is a dict of at least one key by its id\n"
                '  right:  AesGcmCodec({"2026": os.environ["SHOP_KEY_2026"]}); AesGcmCodec.new_key() makes one'
            )
            raise DefinitionError(msg)
        made = [_key(name, value) for name, value in keys.items()]
        self._first = made[0]
        self._keys = {key.id: key for key in made}
        self._accept_plain = accept_plain

    def __repr__(self) -> str:
        return f"<AesGcmCodec sealing with key {self._first.id!r}, {len(self._keys)} known>"

    @staticmethod
    def new_key() -> str:
        """Make a key: 32 random bytes in base64. Keep it where secrets are kept; without it the payloads are lost."""
        return base64.b64encode(new_secret()).decode()

    def seal(self, data: bytes) -> bytes:
        """The payload, encrypted with the first key."""
        key, nonce = self._first, new_nonce()
        return b"".join((key.head, nonce, key.cipher.encrypt(nonce, data, key.head)))

    def open(self, data: bytes) -> bytes:
        """The payload that was sealed.

        Raises:
            PayloadError: It was sealed with a key that is not here, or not sealed at all, or it was changed.
        """
        if not data.startswith(_MAGIC):
            if self._accept_plain:
                return data
            msg = (
                f"a stored payload of {len(data)} bytes is not encrypted, and this process reads only what is\n"
                f"  likely cause: it was written before the codec was set, or by a process without it (the command "
                f"line takes one with --codec)\n"
                f"  way out: AesGcmCodec(keys, accept_plain=True) for as long as such runs are in the store"
            )
            raise PayloadError(msg)
        key, at = self._key_of(data)
        nonce, sealed = data[at : at + _NONCE_BYTES], data[at + _NONCE_BYTES :]
        from cryptography.exceptions import InvalidTag

        try:
            opened: bytes = key.cipher.decrypt(nonce, sealed, data[:at])
        except (InvalidTag, ValueError) as error:
            msg = (
                f"a stored payload of {len(data)} bytes, sealed with key {key.id!r}, is damaged or was tampered with: "
                f"its authentication fails\n  way out: restore it from a backup; the key is the right one"
            )
            raise PayloadError(msg, key_id=key.id) from error
        return opened

    def _key_of(self, data: bytes) -> tuple[_Key, int]:
        """The key that has sealed this, and where its nonce begins."""
        length = data[len(_MAGIC)] if len(data) > len(_MAGIC) else 0
        at = len(_MAGIC) + 1 + length + _CHECK_BYTES
        if not length or len(data) < at + _NONCE_BYTES + _TAG_BYTES:
            msg = f"a stored payload of {len(data)} bytes is cut off\n  way out: restore it from a backup"
            raise PayloadError(msg)
        name = data[len(_MAGIC) + 1 : at - _CHECK_BYTES].decode(errors="replace")
        known = ", ".join(map(repr, self._keys))
        key = self._keys.get(name)
        if key is None:
            msg = (
                f"a stored payload was sealed with key {name!r}, which this process does not have; it has {known}\n"
                f"  way out: add that key to AesGcmCodec(...), behind the one that seals"
            )
            raise PayloadError(msg, key_id=name)
        if data[:at] != key.head:
            msg = (
                f"a stored payload was sealed with another key of the id {name!r} than this process has\n"
                f"  likely cause: a new key was given an old one's id, or two environments share a store\n"
                f"  way out: give each key an id of its own, and this process the key that sealed it"
            )
            raise PayloadError(msg, key_id=name)
        return key, at


def _key(name: object, value: object) -> _Key:
    if not isinstance(name, str) or not 0 < len(name.encode()) <= _MAX_ID_BYTES:
        msg = f"AesGcmCodec: the id of a key is a text of 1 to {_MAX_ID_BYTES} bytes, got {describe(name)}"
        raise DefinitionError(msg)
    raw: object = value
    if isinstance(value, str):
        try:
            raw = base64.b64decode(value, validate=True)
        except binascii.Error:
            raw = b""
    if not isinstance(raw, bytes) or len(raw) != _KEY_BYTES:
        # Never with the key itself.
        msg = (
            f"AesGcmCodec: key {name!r} is not {_KEY_BYTES} bytes, or those in base64\n"
            f"  right:  AesGcmCodec.new_key() makes one"
        )
        raise DefinitionError(msg)
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError:
        msg = "AesGcmCodec needs the package cryptography\n  way out: pip install 'qwit-durable[crypto]'"
        raise DefinitionError(msg) from None
    check = hashlib.blake2b(raw, digest_size=_CHECK_BYTES, person=b"qwit-key").digest()
    encoded = name.encode()
    return _Key(name, _MAGIC + bytes([len(encoded)]) + encoded + check, AESGCM(raw))
