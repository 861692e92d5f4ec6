"""A web server with three links: what a route of Flask, Django or FastAPI would do."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from examples.callback.workflow import Approval, refusal
from qwit_durable import Durable, InvalidToken, OperationRefused


def follow(durable: Durable, verb: str, token: str, by: str) -> tuple[int, str]:
    """What happens when somebody follows a link. It may be followed twice: browsers and mail scanners do that."""
    try:
        if verb == "approve":
            is_first = durable.complete(token, Approval(by=by))
        elif verb == "refuse":
            is_first = durable.fail(token, refusal(by))
        else:
            is_first = durable.fail(token, f"{by} hands it back")
    except InvalidToken:
        return 404, "there is no such request"
    except OperationRefused:
        return 410, "that was decided before"
    return 200, "thank you" if is_first else "thank you, again"


def make_server(durable: Durable) -> ThreadingHTTPServer:
    """On a free port of this machine."""

    class Links(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            status, text = follow(durable, url.path.strip("/"), query.get("token", ""), query.get("by", "?"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            """Links hold tokens, and tokens do not belong into a log."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Links)
