"""The benchmark runs, compares results before it times, and refuses results that differ."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nnatomy.benchmark import agreement, measure, report, server, tables, worker
from nnatomy.benchmark.agreement import Agreement, compare
from nnatomy.benchmark.implementation import OURS
from nnatomy.benchmark.implementations import PEERS
from nnatomy.benchmark.workloads import WORKLOADS, find
from nnatomy.cli import main

ANSWER = ([2.0, 1.0], {"w": np.array([1.0, -2.0]), "b": np.array([1e-9])})


def test_quick_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    figures, folder = tmp_path / "cpu.json", tmp_path / "new"
    words = "bench --quick --only mlp-small-1 --peers torch --threads 1"
    assert main([*words.split(), "--json", "--figures", str(figures), "--out", str(folder)]) == 0
    found = json.loads(figures.read_text())
    assert json.loads(capsys.readouterr().out) == found
    (result,) = found["results"]
    assert result["name"] == "mlp-small-1"
    assert list(result["timed"]) == ["train", "infer 1"]
    for kind, timed in result["timed"].items():
        for name in (OURS, "torch"):
            ms = timed["implementations"][name]["ms"]
            assert 0 < ms["low"] <= ms["median"] <= ms["high"]
            assert 0 < timed["implementations"][name]["roofline"] < 1
        assert 0 < result["agreement"][kind]["torch"]["gradient"] < 1e-5
        assert found["means"][kind]["torch"] == pytest.approx(timed["implementations"]["torch"]["ratio"]["median"])
    training = result["timed"]["train"]["implementations"]
    assert all(10 < training[name]["after_import_mib"] + 10 < training[name]["peak_mib"] for name in (OURS, "torch"))
    assert training[OURS]["peak_mib"] < training["torch"]["peak_mib"]
    assert 0 < found["libraries"][OURS]["import_seconds"] < 10 * found["libraries"]["torch"]["import_seconds"]
    assert found["libraries"]["torch"]["mib"] > 100
    assert found["settings"]["threads"] == 1
    page = (folder / "performance.md").read_text()
    assert "| mlp-small-1 |" in page
    assert [title for title, _ in tables.sections(found)] == ["Training step", "Inference, batch 1", "Libraries"]
    assert any(line.startswith(("Behind", "Other processes", "The machine")) for line in tables.closing(found))
    assert max(map(len, page.splitlines())) < 200
    assert (folder / "performance.png").read_bytes().startswith(b"\x89PNG")
    assert report.places(folder, figures) == (folder / "performance.md", figures)  # its own files may be written again


class Fake(worker.Worker):
    """A worker without a process: our own library, whose results a test may change."""

    bend: Any = staticmethod(lambda name, what, answer: answer)

    def __init__(self, name: str, module: str, *start: Any, **environment: Any) -> None:
        self.name, self.server = name, server.Server()
        self.send("start", OURS if name == OURS else "eager", *start[1:])

    def send(self, what: str, *args: Any) -> None:
        self.reply = self.bend(self.name, what, getattr(self.server, what)(*args))

    def receive(self) -> Any:
        if isinstance(self.reply, worker.WorkerError):
            raise self.reply
        return self.reply

    def close(self) -> None:
        pass


def _run(monkeypatch: pytest.MonkeyPatch, bend: Any) -> dict[str, Any]:
    from nnatomy.benchmark.implementations import ours

    monkeypatch.setattr(ours, "prepare", lambda threads: None)  # this process is not a worker's
    monkeypatch.setattr(measure, "Worker", Fake)
    monkeypatch.setattr(Fake, "bend", staticmethod(bend))
    settings = measure.chosen(["mlp-small-64"], ["torch"], 1, quick=True)
    return measure.run(find("mlp-small-64"), [OURS, "torch"], settings, None, {})


def test_the_same_answers_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = _run(monkeypatch, lambda name, what, answer: answer)
    assert result["differ"] == {}
    assert {kind: set(timed["implementations"]) for kind, timed in result["timed"].items()} == {
        "train": {OURS, "torch"}, "infer 64": {OURS, "torch"},
    }  # fmt: skip


@pytest.mark.parametrize("what", ["loss", "gradient", "output"])
def test_what_differs_is_not_timed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def bend(name: str, asked: str, answer: Any) -> Any:
        if name == "torch" and asked == "train":
            losses, moments = answer
            if what == "loss":
                return [loss * 1.01 for loss in losses], moments
            if what == "gradient":  # Adam hides a gradient that is wrong by a factor: the losses agree
                return losses, moments | {"0.weight": 2 * moments["0.weight"]}
        return answer * 1.01 if name == "torch" and asked == "answer" and what == "output" else answer

    result = _run(monkeypatch, bend)
    differ = result["differ"]["torch"]
    assert differ["in"] == ("infer 64" if what == "output" else "train")
    assert differ["gradient_in"] == {"loss": "", "gradient": "0.weight", "output": "output"}[what] or what == "loss"
    assert set(result["timed"][differ["in"]]["implementations"]) == {OURS}
    whole = {"results": [result], "absent": {}}
    assert not report.agreed(whole)
    assert "other answers" in report.caveats(whole)[0]


def test_what_fails_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def bend(name: str, asked: str, answer: Any) -> Any:
        return worker.WorkerError("no C compiler") if name == "torch" and asked == "train" else answer

    result = _run(monkeypatch, bend)
    assert result["failed"] == {"torch": "no C compiler"}
    assert set(result["timed"]["train"]["implementations"]) == {OURS}
    whole = {"results": [result], "absent": {}}
    assert report.agreed(whole)
    assert report.caveats(whole) == ["mlp-small-64: PyTorch is left out: no C compiler."]


def test_a_worker_that_dies_is_told() -> None:
    one = measure.start("mlp-small-1", measure.chosen(threads=1), OURS)
    try:
        one.receive()
        with pytest.raises(worker.WorkerError, match="AttributeError"):
            one.ask("weights")  # nothing is built
        one.process.kill()
        with pytest.raises(worker.WorkerError, match="ended with code -9"):
            one.ask("memory")
    finally:
        one.close()


def _bent(**moments: Any) -> tuple[list[float], dict[str, Any]]:
    return ANSWER[0], ANSWER[1] | moments


@pytest.mark.parametrize(
    ("theirs", "fine"),
    [
        (ANSWER, True),
        (([2.0, 1.002], ANSWER[1]), False),
        (([2.0, float("nan")], ANSWER[1]), False),
        (_bent(w=np.array([1.001, -2.0])), True),
        (_bent(w=np.array([1.01, -2.0])), False),
        (_bent(w=np.array([np.nan, -2.0])), False),
        (_bent(b=np.array([2e-9])), True),  # rounding, next to gradients of 2
        (_bent(b=np.array([2e-3])), False),
        (_bent(c=np.array([1.0])), False),
    ],
)
def test_agreement(theirs: Any, fine: bool) -> None:
    assert bool(compare(ANSWER, theirs)) is fine
    assert bool(compare(theirs, ANSWER)) is fine


def test_some_networks_may_differ_more_but_for_their_first_loss() -> None:
    assert compare(ANSWER, ([2.0, 1.01], ANSWER[1]), allowed=0.05)
    assert not compare(ANSWER, ([2.01, 1.01], ANSWER[1]), allowed=0.05)
    assert compare(ANSWER, ([2.0, 7.0], ANSWER[1]), one=True)
    assert bool(Agreement(0.0, 0.0, 0.0, "")) is True


@pytest.mark.parametrize("library", ["pytorch", "jax_jit", "keras_tensorflow"])
@pytest.mark.parametrize("name", ["lenet", "bigru"])
def test_the_libraries_answer_alike(library: str, name: str) -> None:
    """Layouts, gates and biases are matched: each library in this process, two steps and an output."""
    needs = {"pytorch": "torch", "jax_jit": "jax", "keras_tensorflow": "tensorflow"}[library]
    pytest.importorskip(needs)
    from importlib import import_module

    from nnatomy.benchmark.implementations.ours import Network

    workload = find(name)
    ours = Network(workload, None, {"eager": True})
    theirs = import_module(f"nnatomy.benchmark.implementations.{library}").Network(workload, ours.weights(), {})
    assert compare(_two_steps(ours), _two_steps(theirs))
    first = ours.moments()
    ours.restart()  # a block starts from the first weights, whatever came before
    assert any((first[key] != 0).any() for key in first)
    assert compare(_two_steps(ours), _two_steps(theirs))
    x = workload.question(3)
    mine, other = (n.array(n.answer(n.question(x))) for n in (ours, theirs))
    assert agreement.compare_outputs(mine, other)
    assert not agreement.compare_outputs(mine, other * 1.01)


def _two_steps(network: Any) -> Any:
    network.restart()
    losses = [network.step()]
    moments = network.moments()
    return [*losses, network.step()], moments


def test_every_workload_is_written_for_every_library() -> None:
    pytest.importorskip("jax")
    pytest.importorskip("tensorflow")
    from nnatomy.benchmark.implementations import jax_jit, keras_tensorflow

    models = {w.model for w in WORKLOADS}
    assert models == set(jax_jit.NETWORKS) == set(keras_tensorflow.NETWORKS)
    assert len({w.name for w in WORKLOADS}) == len(WORKLOADS)


def test_kinds_are_ordered_by_size() -> None:
    timed = {kind: {"implementations": {}} for kind in ("infer 64", "infer 8", "train", "infer 1")}
    assert report.kinds({"results": [{"name": "x", "timed": timed}]}) == ["train", "infer 1", "infer 8", "infer 64"]


def test_numbers_have_three_digits() -> None:
    assert [report.number(v) for v in (1234.5, 99.96, 12.34, 1.234, 0.0123)] == ["1234", "100", "12.3", "1.23", "0.012"]


def test_where_we_are_behind_is_said() -> None:
    ratios = {"torch": (0.7, 0.8, 0.9), "jax": (0.9, 1.1, 1.2), "keras": (1.4, 1.5, 1.6)}
    figures = {name: {"ratio": dict(zip(("low", "median", "high"), r, strict=True))} for name, r in ratios.items()}
    found = {"results": [{"name": "gpt", "timed": {"train": {"implementations": {OURS: {}, **figures}}}}]}
    assert report.behind(found) == ["training step: gpt (PyTorch by 1.25)"]
    assert report.level(found) == ["training step: gpt (JAX 1.10 (0.90–1.20))"]


def test_threads_and_names_are_checked() -> None:
    assert measure.chosen(["gpt", "gpt"], ["jax"], 1).workloads == (find("gpt"),)
    assert measure.chosen().peers == PEERS
    assert measure.chosen(peers=[]).names == (OURS,)
    assert measure.chosen(eager=True, peers=["jax"]).names == (OURS, "eager", "jax")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "eager_profile.py"
    spec = spec_from_file_location("profile_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "profile_script", module)
    spec.loader.exec_module(module)
    return module


def test_profile_covers_the_step_and_leaves_no_trace(script: ModuleType) -> None:
    from nnatomy import ops
    from nnatomy.ops.primitive import Primitive
    from nnatomy.optim import Adam

    before = (ops.relu, Primitive.vjp, Adam.step, "step" in vars(Adam))
    total, rows = script.profile(find("mlp-small-8"), 0.05)
    assert {"affine", "affine, backward", "relu", "Adam"} <= {name for name, _, _ in rows}
    assert sum(ms for _, _, ms in rows) == pytest.approx(total)
    assert ("relu", 2) in [(name, calls) for name, calls, _ in rows]
    assert before == (ops.relu, Primitive.vjp, Adam.step, "step" in vars(Adam))
