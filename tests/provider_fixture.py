"""A local HTTP server that answers by script, for the sources that read a provider over HTTP.

A script is a list of steps, used up in order, or one function that answers every request. A step, and what a function
returns, is an `Answer`, a value that becomes a JSON body of status 200, or bytes that are sent as they are. Requests
are kept in `requests`. A request beyond the script is answered with 418, which no source tries again.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What arrived: `params` in the order sent, names of headers in lower case."""

    path: str
    params: list[tuple[str, str]]
    headers: Mapping[str, str]

    def param(self, name: str) -> str | None:
        """The first value of a parameter."""
        return next((value for key, value in self.params if key == name), None)

    def all(self, name: str) -> list[str]:
        """Every value of a parameter."""
        return [value for key, value in self.params if key == name]


@dataclass(frozen=True)
class Answer:
    """One answer. `cut` sends that many bytes of the body and hangs up; `delay` waits before the first byte, `drip`
    before each one. Seconds.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    delay: float = 0.0
    drip: float = 0.0

    def content(self) -> bytes:
        """The body as bytes: a value becomes JSON."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


Step = Any
Script = Sequence[Step] | Callable[[Request], Step]


class ScriptedServer:
    """The server; give it another script with `play`, which forgets the requests so far."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._script: Script = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def play(self, script: Script) -> "ScriptedServer":
        """Answer by this script from now on."""
        with self._lock:
            self.requests = []
            self._script = script if callable(script) else list(script)
        return self

    def _answer(self, request: Request) -> Answer:
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            script = self._script
        if callable(script):
            step = script(request)
        elif number < len(script):
            step = script[number]
            step = step(request) if callable(step) else step
        else:
            step = Answer({"error": {"type": "script", "message": "no step left"}}, status=418)
        return step if isinstance(step, Answer) else Answer(step)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # 45 ms a request otherwise

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(parts.path, parse_qsl(parts.query, keep_blank_values=True), headers)
                answer = outer._answer(request)
                time.sleep(answer.delay)
                body = answer.content()
                self.send_response(answer.status)
                for name, value in {"content-type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                sent = body if answer.cut is None else body[: answer.cut]
                try:
                    for part in [sent[at : at + 1] for at in range(len(sent))] if answer.drip else [sent]:
                        time.sleep(answer.drip)
                        self.wfile.write(part)
                except OSError:  # nobody listens any more
                    self.close_connection = True
                if answer.cut is not None:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler

    def serve(self) -> None:
        """Answer until `stop`."""
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        """Stop and free the port."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def scripted_server(script: Script = ()) -> Iterator[ScriptedServer]:
    """A running server on a free port of this machine."""
    server = ScriptedServer()
    server.play(script)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
