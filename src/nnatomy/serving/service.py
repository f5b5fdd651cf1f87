"""The service: routes, limits, and allowed callers. The kind of data reads a request; batching.py computes the response."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nnatomy import data
from nnatomy.catalog import Architecture
from nnatomy.data.kinds import kind_of
from nnatomy.data.requests import RequestError, RequestReader
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run
from nnatomy.runs.prepare import fitting
from nnatomy.runs.restore import architecture_of, described
from nnatomy.serving.batching import Batcher, Worker
from nnatomy.serving.refusals import BROKEN, BUSY, MALFORMED, TIMED_OUT, TOO_LARGE, Refusal
from nnatomy.tasks import task_for

LOOPBACK = ("127.0.0.1", "localhost", "::1")
THREAD = 64 * 1024  # bytes from which a body is read next to the other requests, not between them


@dataclass(frozen=True)
class Limits:
    """The limits of one request, and of the requests that wait."""

    bytes: int = 8 * 2**20
    rows: int = 4096
    seconds: float = 30.0
    waiting: int = 1024

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
        saved = run.read_json("dataset.json")
        if not (run.best.exists() or run.last.exists()):
            remedy = f"Continue it with nnatomy train --resume {run.folder}"
            raise UserError(f"The run in {run.folder} has no weights yet. {remedy}.")
        try:
            shape, classes = tuple(saved["input_shape"]), tuple(saved["classes"])
            task, description = str(saved["task"]), str(saved["description"])
        except (KeyError, TypeError):
            raise UserError(f"{run.folder / 'dataset.json'} is damaged: it does not describe the data. Train again.") from None
        preprocessing = data.preprocessing_from_json(run.read_json("preprocessing.json"))
        dataset = described(run.folder / "dataset.json", saved, preprocessing.to_json())
        if not task_for(fitting(architecture, dataset), dataset).takes_data:
            raise UserError(f"A service answers for data. Received {run.folder}, which makes examples. Use nnatomy sample.")
        reader = kind_of(preprocessing).reader(preprocessing, shape)
        reader.most_rows = limits.rows
        return cls(run.folder, architecture, task, classes, description, reader)

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


class Guard:
    """Accept only requests that name this service: none from a page of another site or a rebound DNS name."""

    def __init__(self, app: Any, names: Sequence[str]) -> None:
        self.app, self.names = app, frozenset(name.lower() for name in names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and (problem := self._problem(scope["headers"])) is not None:
            from starlette.responses import JSONResponse

            await JSONResponse({"error": problem}, 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _problem(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        for header, form in ((b"host", "//{}"), (b"origin", "{}")):
            for value in [v.decode("latin-1") for name, v in headers if name == header]:
                try:
                    name = urlsplit(form.format(value)).hostname
                except ValueError:
                    name = None
                if name is None or name.lower() not in self.names:
                    title, known = header.decode().capitalize(), ", ".join(sorted(self.names))
                    return f"{title} must name this service ({known}). Received {value[:80]!r}. Add it with --allow."
        return None


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
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    limits = limits or Limits()
    served, meters = Served.of(folder, limits), Meters()
    schema = served.schema(limits)
    example, _ = served.reader.read("application/json", json.dumps(schema["example"]).encode())
    processes = [Worker(str(served.folder.resolve()), limits.seconds, example) for _ in range(workers)]
    batcher = Batcher(processes, limits.rows, limits.waiting, meters.watch)

    async def body_of(request: Request) -> bytes:
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
                    parts.append(part)
        except TimeoutError:
            raise Refusal(408, f"A body must arrive within {limits.seconds:g} s. Received a part. Send it again.") from None
        except ClientDisconnect:
            raise Refusal(MALFORMED, "The request ended before its body did. Send it again.") from None
        return b"".join(parts)

    async def answered(request: Request) -> dict[str, Any]:
        body = await body_of(request)
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
            content, status = await answered(request), 200
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
        import prometheus_client  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise UserError('Serving needs the extra web, which is not installed. Run pip install "nnatomy[web]".') from None
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

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            log = logging.getLogger("uvicorn.error")
            log.disabled = True  # a run that cannot be used is reported in one sentence, below
            await super().startup(sockets)
            log.disabled = False
            if self.started:
                announce({"url": url, "run": str(folder)})

    server = Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=10))
    try:
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # by SystemExit uvicorn reports that it could not start
            server.run(sockets=[place])
    finally:
        place.close()
    if not server.started:
        raise UserError(f"The run in {folder} could not be loaded by a worker. Run nnatomy evaluate {folder} to see why.")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at the address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        place = socket.socket(family, kind, protocol)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen(1024)
    except OSError as problem:
        named = port and not isinstance(problem, socket.gaierror)
        remedy = "Choose another --port" if named else "Choose another --host"
        raise UserError(f"The service needs a free address. Received {host}:{port} "
                        f"({problem.strerror or problem}). {remedy}.") from None  # fmt: skip
    return place
