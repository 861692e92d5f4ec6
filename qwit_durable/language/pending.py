"""`pending()`: a step that returns now and is completed later, by whoever has its token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qwit_durable.errors import NotRunningError
from qwit_durable.language.calls import call_site
from qwit_durable.language.context import current

__all__ = ["Pending", "pending"]


if TYPE_CHECKING:  # so that `return p` fits whatever the step says that it returns
    from typing import Any as _Anything
else:
    _Anything = object


class Pending(_Anything):  # type: ignore[misc]  # that is its purpose
    """What `pending()` gives: the step returns it to be left open.

    Attributes:
        token: Completes or fails this attempt from any process. Whoever has it may: treat it as a password.
    """

    __slots__ = ("token",)
    token: str

    def __init__(self, token: str) -> None:
        self.token = token

    def __repr__(self) -> str:
        return "<pending completion of this step>"


def pending() -> Pending:
    """Leave this step, or undo, open until somebody completes it: hand the token over, then return what this gives.

    The step waits as rows in the store: no thread, no memory, no broker message. `durable.complete(token, value)` or
    `durable.fail(token, error)` ends the wait, from any process and at any time, even before the step has returned. The
    first completion of any attempt wins. If the worker dies before the step returns, the next attempt is made and asks
    for a token of its own: what is handed over may come twice. `timeout` bounds the code alone; `deadline` bounds the
    wait, too.

    Returns:
        The value to return; its `token` is text that is safe in URLs. Asked again in the same attempt: the same.

    Raises:
        NotRunningError: No step runs here.
        AttemptLost: Another worker has taken this attempt over.
        MisuseError: The step is transactional: what it writes is committed with its value, so it can't be left open.

    >>> @step(deadline=timedelta(days=14))
    ... def approval(order_id: str) -> bool:
    ...     p = pending()
    ...     send_mail(f"https://shop.example/approve?token={p.token}")
    ...     return p
    """
    try:
        context = current()
    except NotRunningError:
        msg = (
            f"pending() at {call_site()} was called where no step runs\n"
            f"  likely cause: it is in a workflow's body, or in a thread that the step started by itself\n"
            f"  way out: call it in a step and return what it gives; a body waits with wait_signal()"
        )
        raise NotRunningError(msg) from None
    return Pending(context.open_for_completion())
