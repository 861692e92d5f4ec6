"""What goes wrong between a process and its store."""

from __future__ import annotations

from qwit_durable.errors.at_import import DurableError

__all__ = ["PayloadError", "SchemaMismatch", "StoreError", "StoreUnavailable"]


class StoreError(DurableError):
    """Base of what goes wrong between this process and the store.

    >>> try:
    ...     Durable("sqlite:///no/such/folder/orders.db").start(checkout, order)
    ... except StoreError as error:
    ...     print(type(error).__name__)
    StoreUnavailable
    """


class StoreUnavailable(StoreError, ConnectionError):
    """The store can't be reached, or the connection was lost. Nothing that was acknowledged is lost.

    >>> Durable("sqlite:///no/such/folder/orders.db").start(checkout, order)
    Traceback (most recent call last):
    qwit_durable.errors.StoreUnavailable: the store sqlite:///no/such/folder/orders.db can't be used: ...
    """


class SchemaMismatch(StoreError):
    """The store's schema is missing, older or newer than this code. The message says what to do.

    >>> try:
    ...     handle = Durable("sqlite:///orders.db").start(checkout, order)
    ... except SchemaMismatch as error:
    ...     raise SystemExit(f"not migrated yet: {error}") from None
    """


class PayloadError(StoreError):
    """A stored payload can't be opened by this process's `codec=`: another key, none at all, or it is damaged.

    Nothing is lost by it: with the right codec the run goes on.

    Attributes:
        key_id: The id of the key that sealed it, where that is known.

    >>> from qwit_durable.codec import AesGcmCodec
    >>> sealed = Durable("sqlite:///orders.db", codec=AesGcmCodec({"2025": AesGcmCodec.new_key()}))
    >>> handle = sealed.start(checkout.options(id="order-17"), order)
    >>> later = Durable("sqlite:///orders.db", codec=AesGcmCodec({"2026": AesGcmCodec.new_key()}))
    >>> try:
    ...     history = later.get("order-17").history()
    ... except PayloadError as error:
    ...     print(error.key_id)
    2025
    """

    def __init__(self, message: str, *, key_id: str | None = None) -> None:
        self.key_id = key_id
        super().__init__(message)
