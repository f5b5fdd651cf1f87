"""Processor time of imports: NumPy, the engine, and each architecture's model on top of them. Best of nine processes."""

from __future__ import annotations

import subprocess
import sys

from nnatomy.catalog import architectures

CODE = """import time; a = time.process_time()
import numpy; b = time.process_time()
import nnatomy; c = time.process_time()
import nnatomy.architectures.{family}.{name}.model
print(b - a, c - b, time.process_time() - c)"""


def measure(family: str, name: str, processes: int = 9) -> list[float]:
    """Milliseconds for NumPy, the engine and the architecture, the least of each."""
    code = [sys.executable, "-c", CODE.format(family=family, name=name)]
    runs = [subprocess.run(code, capture_output=True, text=True, check=True).stdout.split() for _ in range(processes)]
    return [1e3 * min(float(run[i]) for run in runs) for i in range(3)]


if __name__ == "__main__":
    print("| architecture | NumPy, ms | engine, ms | architecture, ms | beyond NumPy, ms |\n|---|---|---|---|---|")
    for architecture in architectures().values():
        numpy, engine, model = measure(architecture.family, architecture.name)
        print(f"| {architecture.name} | {numpy:.0f} | {engine:.0f} | {model:.0f} | {engine + model:.0f} |")
