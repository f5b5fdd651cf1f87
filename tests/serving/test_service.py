"""The service as its callers meet it: over HTTP, with good requests, bad ones, many at the same time, and failing workers."""

from __future__ import annotations

import http.client
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.errors import UserError
from nnatomy.serving.service import listen

pytest.importorskip("hypercorn", reason="the web extra is not installed")
pytestmark = pytest.mark.any_kernels


@dataclass
class Service:
    process: subprocess.Popen[str]
    port: int
    run: Path
    log: Path

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
            found = connection.getresponse()
            text = found.read()
            return found.status, json.loads(text) if "json" in (found.getheader("content-type") or "") else text.decode()
        finally:
            connection.close()

    def predict(self, value: Any) -> tuple[int, Any]:
        return self.ask("POST", "/predict", json.dumps(value).encode(), Content_Type="application/json")

    def worker(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()[0])


def serving(folder: Path, architecture: str, source: str, *flags: str) -> Iterator[Service]:
    run = folder / "run"
    nn.train(architecture, source, epochs=2, out=run, report=False)
    log = folder / "log"
    with log.open("w") as errors:
        words = [sys.executable, "-m", "nnatomy", "serve", str(run), "--port", "0", "--json", *flags]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        yield Service(process, int(place["url"].rpartition(":")[2]), run, log)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from serving(tmp_path_factory.mktemp("table"), "mlp", "wine")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    yield from serving(tmp_path_factory.mktemp("pictures"), "lenet5", "digits", "--most-bytes", "100000", "--most-seconds", "3")


def rows(service: Service) -> list[dict[str, Any]]:
    _, schema = service.ask("GET", "/schema")
    example: dict[str, Any] = schema["example"]["rows"][0]
    return [{name: value * (1 + i / 10) for name, value in example.items()} for i in range(5)]


def test_rows_are_answered_as_predict_answers_them(table: Service, tmp_path: Path) -> None:
    asked = rows(table)
    text = ",".join(asked[0]) + "\n" + "\n".join(",".join(map(str, row.values())) for row in asked) + "\n"
    (tmp_path / "new.csv").write_text(text)
    expected = nn.predict(table.run, tmp_path / "new.csv").columns
    for status, found in (
        table.predict({"rows": asked}), table.ask("POST", "/predict", text.encode(), Content_Type="text/csv"),
    ):  # fmt: skip
        assert status == 200
        assert [p["prediction"] for p in found["predictions"]] == expected["prediction"].tolist()
        np.testing.assert_allclose([p["probability"] for p in found["predictions"]], expected["probability"], rtol=1e-6)


def test_a_picture_is_answered_as_pixels_are(pictures: Service) -> None:
    from PIL import Image

    digit = (np.arange(64).reshape(8, 8) % 17).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray((digit.astype(float) * 255 / 16).round().astype(np.uint8)).save(file, "png")
    status, as_file = pictures.ask("POST", "/predict", file.getvalue(), Content_Type="image/png")
    assert status == 200
    status, as_pixels = pictures.predict({"images": [digit.tolist()]})
    assert status == 200
    assert as_file["predictions"][0]["probability"] == pytest.approx(as_pixels["predictions"][0]["probability"], rel=0.02)


def test_the_schema_shows_a_body_that_is_answered(table: Service, pictures: Service) -> None:
    for service in (table, pictures):
        status, schema = service.ask("GET", "/schema")
        assert status == 200
        assert service.predict(schema["example"])[0] == 200


def test_missing_values_and_unseen_ones(table: Service) -> None:
    row = rows(table)[0]
    first = next(iter(row))
    assert table.predict({"rows": [row | {first: None}]})[0] == 200
    status, found = table.predict({"rows": [row | {first: "much"}]})
    assert status == 422
    assert "must be a number" in found["error"]


WRONG = [
    (b"", {"Content_Type": "application/json"}, 400, "needs a body"),
    (b"{", {"Content_Type": "application/json"}, 400, "must be JSON"),
    (b"[" * 100_000, {"Content_Type": "application/json"}, 400, "must be JSON"),
    (b'{"rows": [{"x": NaN}]}', {"Content_Type": "application/json"}, 400, "JSON has no NaN"),
    (b"[1]", {"Content_Type": "application/json"}, 422, "must be a JSON object"),
    (b'{"row": 1}', {"Content_Type": "application/json"}, 422, "has one member, 'rows'"),
    (b'{"rows": []}', {"Content_Type": "application/json"}, 422, "at least one object"),
    (b'{"rows": [{}]}', {"Content_Type": "application/json"}, 422, "needs the member"),
    (b"\xff\xfe", {"Content_Type": "text/csv"}, 400, "must be UTF-8"),
    (b'""', {"Content_Type": "text/csv"}, 422, "no column names"),
    (b"alcohol\n1\n", {"Content_Type": "text/csv"}, 422, "has no such column"),
    (b"x", {"Content_Type": "application/x-pickle"}, 415, "Content-Type must be"),
    (b"x", {}, 415, "Received none"),
]


@pytest.mark.parametrize(("body", "headers", "status", "sentence"), WRONG)
def test_bad_requests_are_refused_in_one_sentence(
    table: Service, body: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    found, said = table.ask("POST", "/predict", body, **headers)
    assert found == status
    assert sentence in said["error"]


def test_unknown_members_are_told_with_the_nearest_name(table: Service) -> None:
    row = rows(table)[0]
    first = next(iter(row))
    status, found = table.predict({"rows": [row | {first + "s": 1}]})
    assert status == 422
    assert f"Did you mean {first!r}?" in found["error"]


def test_large_and_slow_requests_end(pictures: Service) -> None:
    assert pictures.ask("POST", "/predict", b" " * 100_001, Content_Type="application/json")[0] == 413
    many = iter([b" " * 60_000] * 2)  # its length is not sent beforehand
    assert pictures.ask("POST", "/predict", many, Content_Type="application/json")[0] == 413  # type: ignore[arg-type]
    assert pictures.predict({"images": [[[0]]] * 5000})[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", pictures.port, timeout=30)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "10")
    connection.endheaders(b"{")
    assert connection.getresponse().status == 408
    connection.close()


def test_other_paths_are_told_what_there_is(table: Service) -> None:
    for method, path, status in (("GET", "/nothing", 404), ("GET", "/predict", 405), ("DELETE", "/schema", 405)):
        found, said = table.ask(method, path)
        assert found == status
        assert "POST /predict" in said["error"]


def test_many_clients_at_once_lose_nothing(table: Service) -> None:
    asked = rows(table)
    expected = [table.predict({"rows": [row]})[1]["predictions"][0] for row in asked]
    found: list[tuple[int, int, Any]] = []

    def client(number: int) -> None:
        for i in range(8):
            which = (number + i) % len(asked)
            found.append((which, *table.predict({"rows": [asked[which]]})))

    clients = [threading.Thread(target=client, args=(n,)) for n in range(32)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert len(found) == 256
    for which, status, answer in found:
        assert status == 200
        assert answer["predictions"][0]["prediction"] == expected[which]["prediction"]
        assert answer["predictions"][0]["probability"] == pytest.approx(expected[which]["probability"], rel=1e-5)
    assert 'nnatomy_requests_total{status="200"}' in table.ask("GET", "/metrics")[1]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker by /proc")
def test_a_killed_worker_loses_no_accepted_request(table: Service) -> None:
    asked = rows(table)
    statuses: list[int] = []

    def client() -> None:
        for _ in range(20):
            statuses.append(table.predict({"rows": asked})[0])

    clients = [threading.Thread(target=client) for _ in range(4)]
    for c in clients:
        c.start()
    time.sleep(0.05)
    os.kill(table.worker(), signal.SIGKILL)
    for c in clients:
        c.join()
    assert statuses == [200] * 80
    assert "nnatomy_workers_lost_total 1.0" in table.ask("GET", "/metrics")[1]


def mutated(rng: random.Random, body: bytes) -> bytes:
    """A body with bytes changed, left out, repeated or spliced in."""
    text = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(text) + 1)
        how = rng.randrange(6)
        if how == 0 and text:
            text[min(at, len(text) - 1)] = rng.randrange(256)
        elif how == 1:
            del text[at : at + rng.randint(1, 20)]
        elif how == 2:
            text[at:at] = text[at : at + rng.randint(1, 40)]
        elif how == 3:
            text[at:at] = rng.choice([b"null", b"1e999", b"-", b"[]", b"{}", b'"', b"9" * 500, b"\\u0000", b"\0", b",,", b"\n"])
        elif how == 4:
            text = text[:at]
        else:
            old, new = rng.choice([b":", b",", b"0", b"[", b"."]), rng.choice([b"", b"[", b"\xc3"])
            text = bytearray(bytes(text).replace(old, new, 1))
    return bytes(text)


def test_mutated_bodies_get_an_answer_or_a_refusal(table: Service, pictures: Service) -> None:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(file, "png")
    asked = rows(table)
    csv = ",".join(asked[0]) + "\n" + "\n".join(",".join(map(str, row.values())) for row in asked)
    bodies = [
        (table, "application/json", json.dumps({"rows": asked[:2]}).encode()),
        (table, "text/csv", csv.encode()),
        (pictures, "application/json", json.dumps({"images": [np.eye(8).tolist()]}).encode()),
        (pictures, "image/png", file.getvalue()),
    ]
    rng = random.Random(0)
    refused = 0
    for number in range(1000):
        service, kind, body = bodies[number % len(bodies)]
        status, said = service.ask("POST", "/predict", mutated(rng, body), Content_Type=kind)
        assert status == 200 or 400 <= status < 500, (status, said)
        if status != 200:
            refused += 1
            assert set(said) == {"error"}
            assert "Traceback" not in said["error"]
    assert refused > 300
    for service in (table, pictures):
        assert service.ask("GET", "/health") == (200, {"status": "ok", "workers": 1, "waiting": 0})
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("source", ["narma10", "text", "series", "sentences"])
def test_every_kind_of_data_has_a_schema_whose_example_is_answered(source: str, tmp_path: Path) -> None:
    """Without HTTP: what the reader makes of the example is what the model takes."""
    from nnatomy.serving.service import Limits, Served

    rng = np.random.default_rng(0)
    if source == "text":
        (tmp_path / "book.txt").write_text("the cat sat on the mat and the dog ran. " * 120)
        path, flags = tmp_path / "book.txt", {"window": 16}
    elif source == "series":
        start = np.datetime64("2020-01-01T00")
        lines = [f"{start + np.timedelta64(i, 'h')},{v:.3f}" for i, v in enumerate(np.sin(np.arange(600) / 9))]
        (tmp_path / "wave.csv").write_text("date,value\n" + "\n".join(lines) + "\n")
        path, flags = tmp_path / "wave.csv", {"window": 24}
    elif source == "sentences":
        words = ["good", "fine", "bad", "poor", "film", "plot"]
        lines = [" ".join(rng.choice(words, 6)) + "\t" + ("pos" if i % 2 else "neg") for i in range(120)]
        (tmp_path / "films.tsv").write_text("\n".join(lines) + "\n")
        path, flags = tmp_path / "films.tsv", {}
    else:
        path, flags = None, {"limit": 200}
    result = nn.train("lstm", path or source, epochs=1, out=tmp_path / "run", report=False, **flags)
    served = Served.of(tmp_path / "run", Limits())
    example = served.schema(Limits())["example"]
    arrays, notices = served.reader.read("application/json", json.dumps(example).encode())
    answer = result.prepared.task.answer(result.model, arrays)
    lines = len(arrays[0]) if answer.rows is None else len(answer.rows)  # a forecast has a line for each step
    assert all(len(column) == lines for column in answer.columns.values())
    assert answer.rows is None or set(answer.rows) == set(range(len(arrays[0])))
    assert notices == []
    assert data.names()


def test_a_host_without_an_address_is_told_by_its_own_flag() -> None:
    with pytest.raises(UserError, match="Choose another --host"):
        listen("256.1.1.1", 8000)


def test_a_run_whose_weights_are_damaged_is_told_in_one_sentence(table: Service, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(table.run, broken)
    (broken / "best.safetensors").write_bytes(b"short")
    words = [sys.executable, "-m", "nnatomy", "serve", str(broken), "--port", "0"]
    found = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith(f"nnatomy: A worker must be able to load the run. Received {broken}, ")
    assert found.stderr.count("\n") == 1
