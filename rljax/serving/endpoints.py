"""What is at each address of the application."""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from rljax.serving.batching import LOGGER, Batcher
from rljax.serving.messages import Reader, Refusal

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)  # bounds of a histogram
RETRY_SECONDS = "1"


class Encoding(NamedTuple):
    """How bodies of a content type are written."""

    content_type: str
    loads: Callable[[bytes], Any]
    """Raises ValueError or RecursionError for what is not so encoded."""
    dumps: Callable[[Any], bytes]


def _json(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


JSON = Encoding("application/json", json.loads, _json)
MSGPACK = Encoding("application/msgpack", msgpack.unpackb, msgpack.packb)
ENCODINGS = {
    b"": JSON,
    b"application/json": JSON,
    b"application/msgpack": MSGPACK,
    b"application/x-msgpack": MSGPACK,
    b"application/vnd.msgpack": MSGPACK,
}
"""By the content type of a request; an answer is encoded as its request."""


class Metrics:
    """What `/metrics` says, in a registry of its own, so that a process may have several."""

    def __init__(self, sizes: list[int]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "rljax_requests",
            "Answers of /act, by their status.",
            ["status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "rljax_request_seconds",
            "From the headers of a request for an action to its answer.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._sizes = Histogram(
            "rljax_batch_size",
            "Requests in a batch; the sum counts the actions.",
            buckets=sizes,
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)

    def gauge(self, name: str, about: str, value: Callable[[], float]) -> None:
        """Add a number that is asked for when it is read."""
        Gauge(name, about, registry=self.registry).set_function(value)

    def batch(self, size: int) -> None:
        """Count a batch."""
        self._sizes.observe(size)

    def answer(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(status).inc()
        self._seconds.observe(seconds)


class Act:
    """`POST /act`: an observation is answered with an action.

    It is an ASGI application itself, so that no `Request` and no `Response` of Starlette is made
    for each action.
    """

    def __init__(self, reader: Reader, batcher: Batcher, metrics: Metrics) -> None:
        self._reader = reader
        self._batcher = batcher
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        encoding, status, headers = JSON, 200, []
        try:
            encoding = _encoding(scope)
            request = self._reader.read(_decoded(encoding, await self._body(receive)))
            answer = {"action": await self._batcher.act(request)}
        except Refusal as refusal:
            status, answer = refusal.status, {"error": str(refusal)}
            if status == 503:
                headers = [(b"retry-after", RETRY_SECONDS.encode())]
        except Exception:
            LOGGER.exception("a request failed")
            status, answer = 500, {"error": "the server failed: see its log"}
        self._metrics.answer(status, time.perf_counter() - began)
        body = encoding.dumps(answer)
        headers.append((b"content-type", encoding.content_type.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _body(self, receive: Receive) -> bytes:
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal("the client left before the end of its request", 400)
            body += message.get("body", b"")
            if len(body) > self._reader.most_bytes:
                raise Refusal(
                    f"the body is longer than {self._reader.most_bytes:,} bytes, which no request "
                    "for this policy needs",
                    413,
                )
            if not message.get("more_body"):
                return body


def _encoding(scope: Scope) -> Encoding:
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    encoding = ENCODINGS.get(content_type.partition(b";")[0].strip().lower())
    if encoding is None:
        raise Refusal(
            f"content type {content_type.decode('latin-1')!r} is not known: it must be "
            "application/json or application/msgpack",
            415,
        )
    return encoding


def _decoded(encoding: Encoding, body: bytes) -> Any:
    try:
        return encoding.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(f"the body is not {encoding.content_type}") from None


def application(act: Act, metrics: Metrics, about: dict[str, Any]) -> Starlette:
    """The application: `/act`, `/metrics`, and `/health`, which tells `about`."""

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", **about})

    async def measured(request: Request) -> Response:
        text = generate_latest(metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    async def elsewhere(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = f"{request.method} {request.url.path} is not known"
        sentence = f"{what}: there are POST /act, GET /health and GET /metrics"
        return JSONResponse({"error": sentence}, error.status_code, error.headers)

    return Starlette(
        routes=[
            Route("/act", act, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", measured),
        ],
        exception_handlers={HTTPException: elsewhere},
    )
