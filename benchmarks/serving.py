"""The cost of a response over HTTP next to the forward pass in it, one request at a time and many together.

    python benchmarks/serving.py
    python benchmarks/serving.py --out docs/performance.md     # writes its section of that page

LeNet-5, trained for two epochs on the digits that come with scikit-learn. Requests are pixels as JSON over connections that
stay open. Every response is compared with the model's output; one that differs or is lost ends the benchmark.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import nnatomy as nn
from nnatomy import tasks
from nnatomy.runs.folder import write_atomically
from nnatomy.runs.restore import restore

TITLE = "## Serving"


@contextmanager
def service(run: Path) -> Iterator[int]:
    """The port of a service for a run."""
    words = [sys.executable, "-m", "nnatomy", "serve", str(run), "--port", "0", "--json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


class Client:
    """One caller, who requests one picture after another and checks what comes."""

    def __init__(self, port: int, pictures: list[Any], expected: list[tuple[str, float]]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.bodies = [json.dumps({"images": [p]}).encode() for p in pictures]
        self.expected = expected

    def ask(self, number: int) -> float:
        """Return the seconds until the response for a picture arrives."""
        which = number % len(self.bodies)
        start = time.perf_counter()
        self.connection.request("POST", "/predict", self.bodies[which], {"Content-Type": "application/json"})
        answer = json.loads(self.connection.getresponse().read())
        seconds = time.perf_counter() - start
        found, (name, probability) = answer["predictions"][0], self.expected[which]
        if found["prediction"] != name or abs(found["probability"] - probability) > 1e-5:
            raise SystemExit(f"The service returned {found}, the model {name} with {probability}.")
        return seconds


def milliseconds(seconds: list[float]) -> str:
    """Median and 99th percentile."""
    return f"{statistics.median(seconds) * 1e3:.2f} | {np.percentile(seconds, 99) * 1e3:.2f}"


def measure(requests: int, clients: int) -> list[str]:
    """The section's lines."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        result = nn.train("lenet5", epochs=2, out=run, report=False)
        prepared, _ = restore(run)
        inputs = result.dataset.test.all()[0][:32]
        preprocessing: Any = result.dataset.preprocessing
        pictures = (preprocessing.to_images(inputs)[:, 0] * preprocessing.largest).round(4).tolist()
        with threadpool_limits(1, user_api="blas"):
            columns = prepared.task.predict(prepared.model, preprocessing.transform(np.array(pictures)[:, None]))
            expected = list(zip(columns["prediction"].tolist(), columns["probability"].tolist(), strict=True))
            bare = []
            for i in range(requests):
                start = time.perf_counter()
                tasks.forward(prepared.model, (inputs[i % 32 : i % 32 + 1],))
                bare.append(time.perf_counter() - start)
        with service(run) as port:
            one = Client(port, pictures, expected)
            for i in range(50):
                one.ask(i)
            single = [one.ask(i) for i in range(requests)]
            together: list[float] = []

            def work(number: int) -> None:
                client = Client(port, pictures, expected)
                together.extend([client.ask(number + i) for i in range(requests // clients)])

            threads = [threading.Thread(target=work, args=(n,)) for n in range(clients)]
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            whole = time.perf_counter() - start
    lost = requests // clients * clients - len(together)
    allowed = 2 * statistics.median(bare) + 1e-3
    verdict = "within" if statistics.median(single) <= allowed else "above"
    return [
        TITLE, "",
        "`nnatomy serve` on LeNet-5, pixels as JSON over an open connection, beside the bare forward pass of one:",
        "",
        "| | median, ms | 99 %, ms |", "| --- | --- | --- |",
        f"| forward pass alone | {milliseconds(bare)} |",
        f"| one client, one request at a time | {milliseconds(single)} |",
        f"| {clients} clients at once | {milliseconds(together)} |", "",
        f"One at a time: {verdict} twice the forward pass plus 1 ms ({allowed * 1e3:.2f} ms). {clients} clients: "
        f"{len(together) / whole:.0f} answers a second, {lost} of {len(together) + lost} lost; each was compared with the "
        "model's own. Written by `python benchmarks/serving.py`.",
        "",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1024)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--out", type=Path, help="a page whose section on serving is written again")
    chosen = parser.parse_args()
    lines = measure(chosen.requests, chosen.clients)
    print("\n".join(lines))
    if chosen.out is not None:
        before, _, rest = chosen.out.read_text().partition(TITLE)
        after = rest.partition("\n## ")[2]
        section = "\n".join(lines) + (f"\n## {after}" if after else "")
        write_atomically(chosen.out, f"{before.rstrip()}\n\n{section}")


if __name__ == "__main__":
    main()
