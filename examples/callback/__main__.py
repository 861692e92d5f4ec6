"""`python -m examples.callback`: two purchases, one approved after it was handed on, one refused."""

from __future__ import annotations

import threading
import time
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from examples.callback.server import make_server
from examples.callback.workflow import Mail, outbox, purchase
from qwit_durable import Durable, WorkflowFailed


def mail(number: int) -> Mail:
    """Wait for a mail, as a person does."""
    while len(outbox) < number:
        time.sleep(0.01)
    return outbox[number - 1]


def main() -> None:
    with Durable("memory://").embedded(threads=2) as durable:
        server = make_server(durable)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def click(verb: str, number: int) -> None:
            received = mail(number)
            to, query = received.to, urlencode({"token": received.token, "by": received.to})
            link = f"http://127.0.0.1:{server.server_port}/{verb}?{query}"
            try:
                with urlopen(link, timeout=10) as answer:
                    print(f"{to} follows {verb}: {answer.read().decode()}")
            except HTTPError as refused:
                print(f"{to} follows {verb}: {refused.code} {refused.read().decode()}")

        chair = purchase.start("chair", 12_000)
        click("pass", 1)
        click("approve", 2)
        print(chair.result(timeout=30))
        click("approve", 2)
        click("refuse", 2)

        yacht = purchase.start("yacht", 90_000_000)
        click("refuse", 3)
        try:
            yacht.result(timeout=30)
        except WorkflowFailed as failed:
            print(f"yacht: {failed.cause}, undone: {', '.join(failed.undone)}")
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
