"""Runs on several devices and hosts: the course of one device, 1/n of the state on each, and a host that dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy.cli.main import main
from nnatomy.errors import UserError
from nnatomy.runs.folder import Run, load_arrays
from nnatomy.training.parallel import hosts
from nnatomy.training.parallel.devices import Devices, arrange

pytest.importorskip("jax", reason="the jax extra is not installed")

pytestmark = pytest.mark.any_kernels

WORKER = Path(__file__).with_name("devices_worker.py")


def start(*words: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(process: subprocess.Popen[str], seconds: float = 180) -> tuple[str, str]:
    """Return a process's output and its stderr; it is killed after so many seconds."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"a process did not end within {seconds} s: {process.communicate()[1][-2000:]}")


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, error = finished(process)
    assert process.returncode == 0, error[-3000:]
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Loss curves of the MLP and LSTM architectures on one and on four devices, from a process that has four."""
    return answer(start("curves", tmp_path_factory.mktemp("curves")))


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A hosts file with this machine twice, at a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    path = tmp_path / "hosts"
    path.write_text(f"127.0.0.1:{port}  # coordinates\n127.0.0.1\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("way", ["mlp-data", "mlp-full", "accumulated-full", "lstm-data", "lstm-full", "lstm-moved"])
def test_four_devices_give_the_curve_of_one(found: dict[str, Any], way: str) -> None:
    one = found[f"{way.partition('-')[0]}-one"]
    assert one[-2] < one[0]
    np.testing.assert_allclose(found[way], one, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mlp", "lstm"])
def test_fully_sharded_state_takes_a_quarter_of_each_device(found: dict[str, Any], architecture: str) -> None:
    lay = found[f"{architecture}-bytes"]
    assert lay["whole"] < 0.01 * lay["all"]  # arrays without an axis that four divides
    assert lay["each"] == [(lay["all"] - lay["whole"]) / 4 + lay["whole"]] * 4


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "shard"), [("mlp", "full"), ("lstm", "data")])
def test_two_hosts_give_the_curve_of_one_device(
    found: dict[str, Any], pair: Path, tmp_path: Path, architecture: str, shard: str
) -> None:
    processes = [start("host", tmp_path / "run", pair, index, architecture, shard) for index in (0, 1)]
    first, second = map(answer, processes)
    assert (first["first"], second["first"]) == (True, False)
    np.testing.assert_allclose(first["losses"], found[f"{architecture}-one"], rtol=1e-9)
    if architecture == "mlp":  # a batch of 44 in two parts; no device takes a whole one
        assert set(second["taken"][:4]) == {22}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hosts", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_host_that_dies_stops_the_others_and_the_run_continues(pair: Path, tmp_path: Path, how: int) -> None:
    run, words = tmp_path / "run", ("mlp", "--backend", "jax", "--limit", "150", "--batch-size", "44", "--epochs", "300")
    processes = [
        start("command", 5, "train", *words, "--out", run, "--hosts", pair, "--host-index", index) for index in (0, 1)
    ]
    victim, survivor = processes if how == signal.SIGSTOP else reversed(processes)
    try:
        end = time.monotonic() + 120
        while not (run / "last.safetensors").exists() and time.monotonic() < end and survivor.poll() is None:
            time.sleep(0.05)
        victim.send_signal(how)
        died = time.monotonic()
        _, error = finished(survivor, 60)
        assert time.monotonic() - died < 5 + 10
        assert survivor.returncode == hosts.LOST, error[-3000:]
        last = error.strip().splitlines()[-1]
        assert "has died or cannot be reached. Continue on all hosts with nnatomy train --resume" in last
        assert "Traceback" not in error
        assert "***" not in error
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    saved = load_arrays(run / "last.safetensors")[1]["position"]["step"]
    assert saved > 0
    assert main(["train", "--resume", str(run), "--backend", "numpy"]) == 0
    history = Run.open(run).history()
    assert [line["epoch"] for line in history] == list(range(1, len(history) + 1))
    assert history[-1]["step"] > saved
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    assert (run / "result.json").exists()


@pytest.mark.slow
def test_stopping_one_host_stops_all_after_the_same_step(pair: Path, tmp_path: Path) -> None:
    run, words = tmp_path / "run", ("mlp", "--backend", "jax", "--limit", "150", "--batch-size", "44", "--epochs", "300")
    processes = [
        start("command", 30, "train", *words, "--set", "patience=none", "--out", run, "--hosts", pair, "--host-index", index)
        for index in (0, 1)
    ]
    try:
        end = time.monotonic() + 120
        while not (run / "metrics.jsonl").exists() and time.monotonic() < end and processes[1].poll() is None:
            time.sleep(0.05)
        processes[1].send_signal(signal.SIGTERM)
        said = [finished(process, 60)[1] for process in processes]
        assert [process.returncode for process in processes] == [130, 130], said
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert f"Continue with: nnatomy train --resume {run} --hosts {pair}" in said[0]
    assert "Continue" not in said[1]
    assert 0 < load_arrays(run / "last.safetensors")[1]["position"]["step"] < 300 * 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"backend": "numpy", "devices": 4}, "Add --backend jax"),
        ({"backend": "jax", "devices": 0}, "--devices must be at least 1"),
        ({"backend": "jax", "devices": 2, "shard": "half"}, "shard"),
        ({"backend": "jax", "devices": 2, "device": "cpu:1"}, "Leave the number out"),
        ({"backend": "jax", "devices": 99, "device": "tpu"}, "needs as many tpu devices. Received 0 on this host"),
        ({"backend": "jax", "host_index": 1}, "Add --hosts"),
        ({"backend": "jax", "hosts": "/nowhere/hosts"}, "one host[:port] a line"),
    ],
)
def test_what_cannot_be_arranged_is_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("[", r"\[")):
        arrange(**options)


def test_one_device_is_left_as_it_is() -> None:
    assert type(arrange("jax", "cpu", devices=1)) is Devices
    assert type(arrange()) is Devices


def test_hosts_files(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# two machines\nalpha:4000\n\nbeta  # the second\n")
    assert hosts.read_hosts(str(path)) == ["alpha:4000", "beta"]
    for text, sentence in (("alpha\n", "at least two hosts"), ("alpha beta\ngamma\n", "Received 'alpha beta'")):
        path.write_text(text)
        with pytest.raises(UserError, match=sentence):
            hosts.read_hosts(str(path))


def test_a_host_finds_its_line() -> None:
    assert hosts.which_host(["203.0.113.1", "127.0.0.1:4000"]) == 1
    assert hosts.which_host(["203.0.113.1", "203.0.113.2"], 0) == 0
    for names, index, sentence in (
        (["203.0.113.1", "203.0.113.2"], None, "Received no line"),
        (["127.0.0.1", "localhost"], None, "2 lines"),
        (["a", "b"], 2, "counts the 2 hosts from 0"),
    ):
        with pytest.raises(UserError, match=sentence):
            hosts.which_host(names, index)


def test_the_environment_of_a_cluster_is_needed_for_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SLURM", "OMPI", "KUBERNETES", "JAX_")):
            monkeypatch.delenv(name)
    with pytest.raises(UserError, match="Received none of them"):
        hosts.join("auto")
    for name, value in (("JAX_COORDINATOR_ADDRESS", "alpha"), ("JAX_NUM_PROCESSES", "two"), ("JAX_PROCESS_ID", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="must be whole numbers"):
        hosts.join("auto")
