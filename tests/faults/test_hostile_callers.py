"""The service under callers who do not keep to HTTP: raw bytes, other names, headers without end, requests that never end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn

pytest.importorskip("hypercorn", reason="the web extra is not installed")
pytestmark = [pytest.mark.any_kernels, pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="limits and memory by /proc")]
FILES = 96  # open files that the service is allowed: far fewer than the connections below


class Service:
    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.port = int(url.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def raw(self, text: bytes) -> tuple[int, str]:
        """Send bytes and return the status and the rest of the response; 0 where the connection ends without one."""
        with self.connect() as connection:
            try:
                connection.sendall(text)
                found = b""
                while part := connection.recv(65536):
                    found += part
                    head, _, body = found.partition(b"\r\n\r\n")
                    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                    if length and len(body) >= int(length[0].split(b":")[1]):
                        break
            except ConnectionError:
                pass
        return (int(found.split(b" ")[1]), found.decode("latin-1")) if found else (0, "")

    def get(self, path: str, *headers: str, host: str | None = "") -> tuple[int, str]:
        lines = [f"GET {path} HTTP/1.1", *([f"Host: {host or f'127.0.0.1:{self.port}'}"] if host is not None else []), *headers]
        return self.raw("\r\n".join([*lines, "", ""]).encode())

    def memory(self) -> int:
        """Resident megabytes of the server, its workers not counted."""
        (line,) = [x for x in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if x.startswith("VmHWM")]
        return int(line.split()[1]) // 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    rng = np.random.default_rng(0)
    lines = [f"{rng.normal():.3f},{rng.choice(['</script><b>', 'blue'])},{'yes' if i % 2 else 'no'}" for i in range(90)]
    (folder / "t.csv").write_text("size,color,bought\n" + "\n".join(lines) + "\n")
    nn.train("mlp", folder / "t.csv", target="bought", epochs=1, out=folder / "run", report=False)
    words = [sys.executable, "-m", "nnatomy", "serve", str(folder / "run"), "--port", "0", "--json"]
    limited = ["bash", "-c", f'ulimit -n {FILES}; exec "$@"', "-", *words]
    process = subprocess.Popen(limited, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Service(process, json.loads(process.stdout.readline())["url"])
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
        assert children
        assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.parametrize(
    "host, status",
    [
        ("127.0.0.1:{port}", 200), ("LOCALHOST:{port}", 200), ("localhost", 200), ("[::1]:{port}", 200),
        ("evil.example", 403), ("evil.com@127.0.0.1", 403), ("evil.com@127.0.0.1:{port}", 403), ("127.0.0.1.evil.com", 403),
        ("127.0.0.1/evil.com", 403), ("127.0.0.1?evil.com", 403), ("127.0.0.1:{port}#x", 403), ("127.0.0.1:x", 403),
        ("127.0.0.1:123456", 403), ("localhost:1:2", 403), ("[::1", 403), ("::1", 403), ("@localhost", 403),
        ("localhost,evil.com", 403), ("localhost, localhost", 403),
        ("[127.0.0.1]", 403),
    ],
)  # fmt: skip
def test_a_host_header_names_this_service(service: Service, host: str, status: int) -> None:
    found, said = service.get("/health", host=host.format(port=service.port))
    assert found in ({status} if status == 200 else {400, status})  # 400: the server itself refuses its form
    assert status == 200 or found == 400 or "Host must name this service" in said


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("hosts", [[], ["Host:"], ["Host: localhost", "Host: evil.com"]])
def test_a_missing_or_second_host_is_refused(service: Service, version: str, hosts: list[str]) -> None:
    text = "\r\n".join([f"GET /health HTTP/{version}", *hosts, "", ""])
    assert service.raw(text.encode())[0] in (400, 403)


@pytest.mark.parametrize(
    "origin, status",
    [
        ("http://127.0.0.1:{port}", 200), ("http://127.0.0.1:{other}", 403), ("http://127.0.0.1", 403),
        ("http://localhost:{port}", 403), ("https://127.0.0.1", 403), ("null", 403), ("http://[", 403), ("", 403),
        ("http://evil.example", 403), ("http://127.0.0.1:{port}@evil.com", 403), ("ftp://127.0.0.1:{port}", 403),
    ],
)  # fmt: skip
def test_an_origin_is_this_service(service: Service, origin: str, status: int) -> None:
    """A page on another port of this machine is another site; the default port of a scheme need not be written."""
    value = origin.format(port=service.port, other=service.port + 1)
    assert service.get("/health", f"Origin: {value}")[0] == status
    for scheme, port in (("http", 80), ("https", 443)):
        assert service.get("/health", f"Origin: {scheme}://localhost", host=f"localhost:{port}")[0] == 200
        assert service.get("/health", f"Origin: {scheme}://localhost:{port}", host="localhost")[0] == 200


def test_headers_without_end_are_refused_and_take_no_memory(service: Service) -> None:
    before = service.memory()
    for _ in range(12):
        with service.connect() as connection:
            try:
                connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
                for _ in range(300):  # 30 MB
                    connection.sendall(b"X: " + b"a" * 100_000 + b"\r\n")
            except ConnectionError:
                continue
            pytest.fail("30 MB of headers were taken")
    assert service.memory() - before < 30
    assert service.get("/health")[0] == 200


def test_requests_that_never_end_do_not_keep_others_out(service: Service) -> None:
    """Twice as many half-open requests as the service may open files; they end after 10 s, however slowly they trickle."""
    held = []
    for _ in range(2 * FILES):
        connection = service.connect()
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        held.append(connection)
    try:
        start = time.monotonic()
        assert service.get("/health")[0] == 200
        assert time.monotonic() - start < 25
        closed = False
        while not closed and time.monotonic() - start < 30:
            try:
                held[0].sendall(b"X: y\r\n")
                time.sleep(0.2)
            except ConnectionError:
                closed = True
        assert closed
    finally:
        for connection in held:
            connection.close()


def test_bodies_together_are_bounded(service: Service) -> None:
    from nnatomy.serving.service import Limits

    limits = Limits()
    assert limits.bytes < limits.memory <= 512 * 2**20


def test_the_page_and_the_description_come_from_the_schema(service: Service) -> None:
    status, text = service.get("/")
    head, _, body = text.partition("\r\n\r\n")
    assert status == 200
    assert "default-src 'none'" in head
    assert "size" in body
    assert "</script><b>" not in body  # a category's name does not end the script
    assert "http://" not in body
    assert "https://" not in body
    found: dict[str, Any] = json.loads(service.get("/openapi.json")[1].partition("\r\n\r\n")[2])
    schema = json.loads(service.get("/schema")[1].partition("\r\n\r\n")[2])
    assert set(found["paths"]) == {"/predict", "/schema", "/health", "/metrics", "/openapi.json"}
    content = found["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == set(schema["accepts"])
    assert content["application/json"]["example"] == schema["example"]
    row = content["application/json"]["schema"]["properties"]["rows"]["items"]["properties"]
    assert row["size"] == {"type": ["number", "null"]}
    assert row["color"] == {"type": ["string", "null"]}
