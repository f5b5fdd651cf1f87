"""The suite says which tests are dear, wherever they ran."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from costs import of_contracts

TESTS = """
import subprocess, sys, time

BUSY = "import time\\nwhile time.process_time() < 0.6: pass"

def test_asleep():
    time.sleep(0.3)

def test_busy():
    began = time.process_time()
    while time.process_time() < began + 0.3: pass

def test_child():
    subprocess.run([sys.executable, "-c", BUSY])
"""


@pytest.mark.parametrize("words", [(), ("-n", "1")])
def test_the_dearest_are_printed(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    pytester.makepyfile(TESTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    said = pytester.runpytest_subprocess("-p", "costs", *words).stdout.str()
    rows = re.findall(r"([\d.]+) s  \S+::test_(\w+)", said)
    assert [name for _, name in rows] == ["child", "busy", "asleep"]
    seconds = [float(s) for s, _ in rows]
    assert seconds[0] > 0.55 > seconds[1] > 0.25 > seconds[2]


def test_contracts_are_added_up_by_architecture() -> None:
    costs = {
        "tests/contracts/test_a.py::test_a[lstm-two layers]": 1.0, "tests/contracts/test_b.py::test_b[lstm]": 2.0,
        "tests/contracts/test_b.py::test_b[seq2seq-lstm]": 0.5,
        "tests/contracts/test_b.py::test_b[mlp]": 4.0, "tests/layers/test_c.py::test_c[lstm]": 8.0, "tests/d.py::test_d": 16.0,
    }  # fmt: skip
    assert of_contracts(costs) == {"lstm": 3.0, "mlp": 4.0, "seq2seq": 0.5}
