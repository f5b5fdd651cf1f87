"""The service: routes, limits, and allowed callers. The kind of data reads a request; batching.py computes the response."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnatomy.catalog import Architecture
from nnatomy.data.kinds import kind_of
from nnatomy.data.requests import RequestError, RequestReader
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run
from nnatomy.runs.prepare import fitting
from nnatomy.runs.restore import architecture_of, dataset_of
from nnatomy.serving.batching import Batcher, Worker
from nnatomy.serving.openapi import POLICY, openapi, page
from nnatomy.serving.refusals import BROKEN, BUSY, MALFORMED, TIMED_OUT, TOO_LARGE, Refusal
from nnatomy.tasks import task_for

LOOPBACK = ("127.0.0.1", "localhost", "::1")
BACKLOG = 64  # connections that wait to be accepted; asyncio tries as many times a second where files run out
THREAD = 64 * 1024  # bytes from which a body is read next to the other requests, not between them


@dataclass(frozen=True)
class Limits:
    """The limits of one request, and of the requests that wait."""

    bytes: int = 8 * 2**20
    rows: int = 4096
    seconds: float = 30.0
    waiting: int = 1024
    memory: int = 256 * 2**20
    """Bytes of all bodies that are held together."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < float("inf"):
                raise UserError(f"The limit of {name} must be a positive number. Received {value:g}. Use a number above 0.")


@dataclass(frozen=True)
class Served:
    """The facts about a run that need no model."""

    folder: Path
    architecture: Architecture
    task: str
    classes: tuple[str, ...]
    description: str
    reader: RequestReader

    @classmethod
    def of(cls, folder: str | Path, limits: Limits) -> Served:
        """Raise UserError where the folder is not a finished run, or of a kind that is not served."""
        run = Run.open(folder)
        architecture = architecture_of(run)
        if not (run.best.exists() or run.last.exists()):
            raise UserError(
                f"A service needs a run with weights. Received {run.folder}, which has none yet. Continue it with nnatomy "
                f"train --resume {run.folder}."
            )
        dataset = dataset_of(run)
        if not task_for(fitting(architecture, dataset), dataset).takes_data:
            raise UserError(f"A service answers for data. Received {run.folder}, which makes examples. Use nnatomy sample.")
        reader = kind_of(dataset).reader(dataset.preprocessing, dataset.input_shape)
        reader.most_rows = limits.rows
        return cls(run.folder, architecture, dataset.task, dataset.classes, dataset.description, reader)

    def schema(self, limits: Limits) -> dict[str, Any]:
        """Return the response to GET /schema."""
        return {
            "architecture": self.architecture.name,
            "title": self.architecture.front["title"],
            "task": self.task,
            "trained_on": self.description,
            "accepts": list(self.reader.accepts),
            **self.reader.describe(),
            "classes": list(self.classes),
            "limits": {"bytes": limits.bytes, "rows": limits.rows, "seconds": limits.seconds},
        }


class Meters:
    """Return the response to GET /metrics, in Prometheus' text format."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = registry = CollectorRegistry()
        self.requests = Counter("nnatomy_requests", "Requests to /predict, by status.", ["status"], registry=registry)
        self.rows = Counter("nnatomy_rows", "Rows that were answered.", registry=registry)
        self.seconds = Histogram(
            "nnatomy_request_seconds", "From a request's first byte to its response.", registry=registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
        )  # fmt: skip
        self.together = Histogram(
            "nnatomy_batch_requests", "Requests answered together.", registry=registry, buckets=(1, 2, 4, 8, 16, 32, 64, 128)
        )
        self.lost = Counter("nnatomy_workers_lost", "Workers that ended before they sent a result.", registry=registry)
        self.waiting = Gauge("nnatomy_requests_waiting", "Requests that no worker has started.", registry=registry)

    def watch(self, event: str, count: int) -> None:
        """Count an event of the batcher."""
        if event == "batch":
            self.together.observe(count)
        else:
            self.lost.inc(count)


NAMED = re.compile(r"(\[[0-9a-f]*:[0-9a-f:.]*\]|[^][:@/?#\\\s]+)(:[0-9]{1,5})?", re.IGNORECASE)
"""A host name and, optionally, a port: all that a Host header may hold."""


class Guard:
    """Accept only requests that name this service: none from a page of another site, another port or a rebound DNS name."""

    def __init__(self, app: Any, names: Sequence[str]) -> None:
        self.app, self.names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (problem := self._problem(scope["headers"])) is not None:
            from starlette.responses import JSONResponse

            await JSONResponse({"error": problem}, 403)(scope, receive, send)
        elif scope["type"] != "websocket":  # unanswered, the server refuses it
            await self.app(scope, receive, send)

    def _problem(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        given: dict[bytes, list[str]] = {b"host": [], b"origin": []}
        for name, value in headers:
            if name in given:
                given[name].append(value.decode("latin-1"))
        host, known = ", ".join(given[b"host"]), ", ".join(sorted(self.names))
        named = NAMED.fullmatch(host)
        if named is None or named[1].strip("[]").lower() not in self.names:
            received = repr(host[:80]) if host else "none"
            return f"Host must name this service ({known}). Received {received}. Add the name with --allow."
        for origin in given[b"origin"]:
            scheme, _, place = origin.partition("://")
            if scheme not in DEFAULT or _with_port(place, DEFAULT[scheme]) != _with_port(host, DEFAULT[scheme]):
                return f"Origin must be that of this service ({host}). Received {origin[:80]!r}. Open the page at that address."
        return None


DEFAULT = {"http": ":80", "https": ":443"}


def _with_port(place: str, default: str) -> str:
    """Return host and port, lower case; the scheme's default where none is given."""
    named = NAMED.fullmatch(place)
    return (named[1] + (named[2] or default)).lower() if named else ""


def application(
    folder: str | Path, limits: Limits | None = None, workers: int = 1, names: Sequence[str] = LOOPBACK
) -> Any:
    """The ASGI application that serves a run; its workers run between its startup and its shutdown.

    `names`: the host names by which it may be called. Raises UserError for a folder that is not a run.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    limits = limits or Limits()
    served, meters = Served.of(folder, limits), Meters()
    schema = served.schema(limits)
    example, _ = served.reader.read("application/json", json.dumps(schema["example"]).encode())
    processes = [Worker(str(served.folder.resolve()), limits.seconds, example) for _ in range(workers)]
    batcher = Batcher(processes, limits.rows, limits.waiting, meters.watch)

    held = 0  # bytes of bodies

    @contextlib.contextmanager
    def holding() -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes from the memory of all requests, and give them back."""
        nonlocal held
        mine = 0

        def take(count: int) -> None:
            nonlocal held, mine
            held, mine = held + count, mine + count
            if held > limits.memory:
                full = f"All bodies together hold at most {limits.memory} bytes. Received more. Send this one again."
                raise Refusal(BUSY, full)

        try:
            yield take
        finally:
            held -= mine

    async def body_of(request: Request, take: Callable[[int], None]) -> bytes:
        too_large = Refusal(TOO_LARGE, f"A body holds at most {limits.bytes} bytes. Received more. Send several requests.")
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > limits.bytes:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > limits.bytes:
                        raise too_large
                    take(len(part))
                    parts.append(part)
        except TimeoutError:
            raise Refusal(408, f"A body must arrive within {limits.seconds:g} s. Received a part. Send it again.") from None
        except ClientDisconnect:
            raise Refusal(MALFORMED, "The request ended before its body did. Send it again.") from None
        return b"".join(parts)

    async def answered(request: Request, take: Callable[[int], None]) -> dict[str, Any]:
        body = await body_of(request, take)
        kind = request.headers.get("content-type", "")
        read: Callable[[str, bytes], Any] = served.reader.read
        try:
            arrays, notices = await asyncio.to_thread(read, kind, body) if len(body) > THREAD else read(kind, body)
        except RequestError as problem:
            raise Refusal.of(problem) from None
        try:
            async with asyncio.timeout(limits.seconds):
                found = await batcher.answer(arrays)
        except TimeoutError:
            late = f"A response must be ready within {limits.seconds:g} s. Received more work than that. Send fewer rows."
            raise Refusal(TIMED_OUT, late) from None
        meters.rows.inc(len(arrays[0]))
        content: dict[str, Any] = {"predictions": found.predictions(len(arrays[0]))} if found.columns else {}
        return content | ({"files": found.files} if found.files else {}) | ({"notices": notices} if notices else {})

    async def predict(request: Request) -> Response:
        start = time.perf_counter()
        headers = {}
        try:
            with holding() as take:
                content, status = await answered(request, take), 200
        except Refusal as refusal:
            content, status = {"error": str(refusal)}, refusal.status
            headers = {"Retry-After": "1"} if status == BUSY else {}
        except Exception as problem:  # the caller gets the fact, the log the cause
            print(f"nnatomy: a request failed: {type(problem).__name__}: {problem}", file=sys.stderr)
            content, status = {"error": "The service failed on this request. Its log names the error."}, BROKEN
        meters.requests.labels(str(status)).inc()
        meters.seconds.observe(time.perf_counter() - start)
        return JSONResponse(content, status, headers)

    async def health(request: Request) -> Response:
        alive = sum(worker.alive for worker in processes)
        state = {"status": "ok" if alive else "no worker runs", "workers": alive, "waiting": len(batcher.waiting)}
        return JSONResponse(state, 200 if alive else BUSY)

    async def show_schema(request: Request) -> Response:
        return JSONResponse(schema)

    async def describe(request: Request) -> Response:
        return JSONResponse(openapi(schema))

    async def form(request: Request) -> Response:
        return HTMLResponse(page(schema), headers={"Content-Security-Policy": POLICY})

    async def metrics(request: Request) -> Response:
        meters.waiting.set(len(batcher.waiting))
        return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_LATEST)

    async def explain(request: Request, problem: Exception) -> Response:
        known = ", ".join(f"{next(iter(sorted((r.methods or set()) - {'HEAD'})))} {r.path}" for r in routes)
        status = problem.status_code if isinstance(problem, HTTPException) else MALFORMED
        received = f"{request.method} {request.url.path[:80]}"
        rule = f"This service answers {known}. Received {received}. Request one of these paths."
        return JSONResponse({"error": rule}, status)

    @contextlib.asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        await batcher.start()
        try:
            yield
        finally:
            await batcher.stop()

    routes = [
        Route("/", form),
        Route("/openapi.json", describe),
        Route("/predict", predict, methods=["POST"]),
        Route("/schema", show_schema),
        Route("/health", health),
        Route("/metrics", metrics),
    ]
    guard = [Middleware(Guard, names=names)]
    return Starlette(routes=routes, lifespan=running, middleware=guard, exception_handlers={HTTPException: explain})


def serve(
    folder: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    workers: int = 1,
    allow: Sequence[str] = (),
    limits: Limits | None = None,
    announce: Callable[[dict[str, Any]], None] = lambda place: print(json.dumps(place)),
) -> None:
    """Serve a run over HTTP until interrupted.

    `host`: the address to listen on, the loopback one unless another is given; `port`: 0 for any that is free; `allow`: further
    host names by which callers may name it; `announce` is called once it listens, with its "url".
    Raises UserError where the web extra is not installed, the address cannot be had, or the folder is not a run.
    """
    try:
        import hypercorn
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
    except ImportError:
        raise UserError(
            'Serving needs the extra web. Received an environment without it. Run pip install "nnatomy[web]".'
        ) from None
    if not 1 <= workers <= 64:
        raise UserError(
            f"--workers must be from 1 to 64. Received {workers}. Use --workers 1, which is enough for most models."
        )
    if not 0 <= port <= 65535:
        raise UserError(f"--port must be from 0 to 65535. Received {port}. Use --port 8000.")
    app = application(folder, limits, workers, (*LOOPBACK, host, *allow))
    place = listen(host, port)
    address, number = place.getsockname()[:2]
    url = f"http://{f'[{address}]' if ':' in address else address}:{number}"
    config = hypercorn.Config()
    config.bind = [f"fd://{place.detach()}"]
    config.backlog = BACKLOG
    config.errorlog = None  # what matters is printed where it happens
    config.include_server_header = False
    config.h11_max_incomplete_size = 64 * 1024  # bytes of a request's headers
    config.keep_alive_timeout = 10  # seconds until headers are complete, and between requests
    config.startup_timeout = 600
    config.graceful_timeout = 10
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner() as runner:  # uvloop resets connections when files run out
        started = runner.run(_serve(app, config, lambda: announce({"url": url, "run": str(folder)})))
    if not started:
        raise UserError(
            f"A worker must be able to load the run. Received {folder}, where none could. Run nnatomy evaluate {folder} to see "
            "why."
        )


async def _serve(app: Any, config: Any, announce: Callable[[], None]) -> bool:
    """Serve until SIGINT or SIGTERM; `announce` is called once connections are accepted. Return whether the workers started."""
    from hypercorn.asyncio import serve as run
    from hypercorn.utils import LifespanFailureError

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # where files run out, it would report each of these tries
    stop = asyncio.Event()
    for sent in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows, where KeyboardInterrupt ends the loop
            asyncio.get_running_loop().add_signal_handler(sent, stop.set)

    async def until_stopped() -> None:
        announce()
        await stop.wait()

    try:
        await run(app, config, shutdown_trigger=until_stopped)
    except LifespanFailureError:
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(BACKLOG)
    except (OSError, UnicodeError) as problem:  # the latter of names that no host can have
        named = port and not isinstance(problem, socket.gaierror | UnicodeError)
        remedy = "Choose another --port" if named else "Choose another --host"
        why = getattr(problem, "strerror", None) or "this is not a host's name"
        raise UserError(f"The service needs a free address. Received {host}:{port} ({why}). {remedy}.") from None
    return place
