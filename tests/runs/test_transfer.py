"""Transfer: what starts from where, what is frozen and how fast the rest learns; planned, continued, and worth it."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy.cli import main
from nnatomy.data.kinds.image.idx import write_idx
from nnatomy.errors import UserError
from nnatomy.runs import transfer
from nnatomy.runs.folder import Run, load_arrays
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import Request
from nnatomy.runs.train import resume, train
from nnatomy.training import compilation
from nnatomy.training.loop import Callback, Loop

SMALL: dict[str, Any] = {"epochs": 1, "batch_size": 32, "limit": 200, "report": False}
NORMED = {"hidden": "16,12", "batch_norm": "true", "dropout": "0", "patience": "none"}


class Watch(Callback):
    """The weights after each epoch."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Any]] = []

    def begin(self, loop: Loop) -> None:
        self.weights.append({name: np.array(a) for name, a in loop.state["model"].items()})

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        self.weights.append({name: np.array(a) for name, a in loop.state["model"].items()})

    def end(self, loop: Loop) -> None:
        self.planned = bool(getattr(loop.step.function, "parts", list)())


class StopAfter(Callback):
    """An interruption at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


def digits_folder(folder: Path, classes: range, a_class: int | None = None, seed: int = 0) -> Path:
    """Some of scikit-learn's digits in MNIST's form; `a_class`: how many of each have labels, the others are tested on."""
    from sklearn.datasets import load_digits

    found = load_digits()
    keep = np.isin(found.target, classes)
    images = (found.images[keep] * 15).astype(np.uint8)
    labels = (found.target[keep] - classes.start).astype(np.uint8)
    order = np.random.default_rng(seed).permutation(len(labels))
    per_class = a_class or 150
    first = np.concatenate([order[labels[order] == k][:per_class] for k in range(len(classes))])
    rest = np.setdiff1d(order, first)
    folder.mkdir()
    for part, rows in (("train", first), ("t10k", rest)):
        write_idx(folder / f"{part}-images-idx3-ubyte", images[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels[rows])
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP with batch norm, trained on all ten digits."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    train("mlp", out=folder, settings=NORMED, seed=1, **SMALL)
    return folder


def test_a_run_begins_where_another_ended(pretrained: Path) -> None:
    prepared = prepare(Request("mlp", from_=str(pretrained), settings=NORMED, limit=200, split_seed=1))
    before = prepared.model.state_dict()
    (told,) = transfer.begin(prepared)
    assert "linears.0.weight" in told
    ended = Run.open(pretrained).weights()
    assert any((before[name] != a).any() for name, a in ended.items())
    for name, a in prepared.model.state_dict().items():
        np.testing.assert_array_equal(a, ended[name])


def test_a_new_head_for_another_number_of_classes(pretrained: Path, tmp_path: Path) -> None:
    folder = digits_folder(tmp_path / "five", range(5, 10), 20)
    request: dict[str, Any] = {"data": str(folder), "settings": NORMED, "from_": str(pretrained)}
    with pytest.raises(UserError, match=r"misshapen: linears\.2\.weight is \(10, 12\), expected \(5, 12\).*--new-head"):
        transfer.begin(prepare(Request("mlp", **request)))
    prepared = prepare(Request("mlp", new_head=True, **request))
    fresh = prepare(Request("mlp", **request)).model.state_dict()
    (told,) = transfer.begin(prepared)
    assert told.endswith("new are linears.2.weight, linears.2.bias")
    ended = Run.open(pretrained).weights()
    for name, a in prepared.model.state_dict().items():
        np.testing.assert_array_equal(a, fresh[name] if name.startswith("linears.2.") else ended[name])


def test_what_depends_on_the_outputs_is_the_head() -> None:
    for architecture, data, expected in (
        ("lenet5", None, {"output.weight", "output.bias"}),
        ("mlp", None, {"linears.2.weight", "linears.2.bias"}),
        ("lstm", "adding_problem", {"output.weight", "output.bias"}),
    ):
        prepared = prepare(Request(architecture, data=data, limit=50))
        assert set(transfer.head(prepared.recipe, prepared.dataset, prepared.model)) == expected
    prepared = prepare(Request("autoencoder", limit=50))
    with pytest.raises(UserError, match="no such layer"):
        transfer.head(prepared.recipe, prepared.dataset, prepared.model)


def test_a_file_of_pytorch_to_begin_from(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    twin = prepare(Request("lenet5", limit=50)).architecture.module("torch_twin").build(activation="relu")
    torch.save(twin.state_dict(), tmp_path / "lenet.pt")
    prepared = prepare(Request("lenet5", from_=str(tmp_path / "lenet.pt"), limit=50))
    transfer.begin(prepared)
    np.testing.assert_array_equal(prepared.model.state_dict()["c3.weight"], twin.c3.weight.detach().numpy())


@pytest.mark.parametrize("planned", [False, True])
def test_what_is_held_fast_stays_as_it_was(pretrained: Path, tmp_path: Path, planned: bool, monkeypatch: Any) -> None:
    """Parameters, and the statistics of a normalization that is held; the other normalization's continue."""
    monkeypatch.setattr(compilation, "WORTH_PLANNING", 0.0 if planned else 1e9)
    monkeypatch.setenv("NNATOMY_KERNELS", "auto" if planned else "reference")
    seen = Watch()
    train("mlp", out=tmp_path / "run", from_=pretrained, freeze=["linears.0", "norms.0*"], settings=NORMED, seed=2,
          callbacks=[seen], **SMALL)  # fmt: skip
    assert seen.planned == planned
    for name, a in seen.weights[-1].items():
        same = (a == seen.weights[0][name]).all()
        assert same == name.startswith(("linears.0.", "norms.0.")), name


def test_part_of_a_normalization_held_fast_keeps_its_statistics_going(pretrained: Path, tmp_path: Path) -> None:
    seen = Watch()
    train("mlp", out=tmp_path / "run", from_=pretrained, freeze="norms.0.weight", settings=NORMED, callbacks=[seen], **SMALL)
    first, last = seen.weights[0], seen.weights[-1]
    assert (first["norms.0.weight"] == last["norms.0.weight"]).all()
    assert (first["norms.0.running_mean"] != last["norms.0.running_mean"]).any()


@pytest.mark.parametrize("planned", [False, True])
@pytest.mark.parametrize("step", [3, 7, 12])
def test_gradual_unfreezing_is_exact_when_continued(tmp_path: Path, planned: bool, step: int, monkeypatch: Any) -> None:
    """Held for one epoch and for two, each epoch of five steps; cut within each of the three epochs."""
    monkeypatch.setattr(compilation, "WORTH_PLANNING", 0.0 if planned else 1e9)
    monkeypatch.setenv("NNATOMY_KERNELS", "auto" if planned else "reference")
    options: dict[str, Any] = {
        "epochs": 3, "batch_size": 32, "limit": 160, "seed": 3, "settings": NORMED, "rates": {"linears.0": 0.1},
        "freeze": ("linears.0=2", "norms.0=2", "linears.1=1"),
    }  # fmt: skip
    seen = Watch()
    train("mlp", out=tmp_path / "calm", callbacks=[seen], report=False, **options)
    assert seen.planned == planned
    moved = [
        [name for name in ("linears.0.weight", "norms.0.running_var", "linears.1.weight", "linears.2.weight")
         if (after[name] != before[name]).any()]
        for before, after in zip(seen.weights, seen.weights[1:])
    ]  # fmt: skip
    assert [len(names) for names in moved] == [1, 2, 4]
    assert moved[1] == ["linears.1.weight", "linears.2.weight"]
    train("mlp", out=tmp_path / "cut", callbacks=[StopAfter(step)], report=False, **options)
    resume(tmp_path / "cut", report=False)
    for file in ("last", "best"):
        ours, theirs = (load_arrays(tmp_path / run / f"{file}.safetensors")[0] for run in ("cut", "calm"))
        assert ours.keys() == theirs.keys()
        for name, a in ours.items():
            np.testing.assert_array_equal(a, theirs[name], err_msg=name)


def test_rates_are_factors_of_the_learning_rate(tmp_path: Path) -> None:
    """After one plain step of SGD each change is the factor times what it was."""
    changes = []
    for rates in ({}, {"linears.*": 0.5, "linears.0": 0.1}):
        seen = Watch()
        train("mlp", out=tmp_path / str(len(rates)), callbacks=[seen], rates=rates, epochs=1, batch_size=500, limit=100, lr=0.1,
              settings={"optimizer": "SGD", "hidden": "8", "dropout": "0", "schedule": "none"}, report=False)  # fmt: skip
        changes.append({name: a - seen.weights[0][name] for name, a in seen.weights[-1].items()})
    for name, factor in (("linears.0.weight", 0.1), ("linears.1.weight", 0.5), ("linears.1.bias", 0.5)):
        np.testing.assert_allclose(changes[1][name], factor * changes[0][name], rtol=2e-3, atol=1e-7)
        assert np.abs(changes[0][name]).max() > 1e-4


@pytest.mark.parametrize(
    "options, message",
    [
        ({"freeze": "convolution*"}, "No parameter has this name. Received 'convolution"),
        ({"freeze": "*"}, "--freeze for all 6"),
        ({"freeze": "linears*=1"}, "--freeze for all 6"),
        ({"freeze": "linears.0=x"}, "PATTERN=EPOCHS"),
        ({"freeze": "linears.0=0"}, "PATTERN=EPOCHS"),
        ({"rates": {"linears.7": 0.1}}, "Did you mean"),
        ({"rates": {"linears.0": 0.0}}, "a factor above 0"),
        ({"rates": {"linears.0": "slow"}}, "factors by pattern"),
        ({"new_head": True}, "without --from"),
        ({"from_": "nowhere"}, "which does not"),
        ({"from_": 3}, "a path for from_"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message.replace("*", r"\*")):
        train("mlp", out=tmp_path / "run", **options, **SMALL)
    assert not (tmp_path / "run").exists()


def test_the_command_line(pretrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = digits_folder(tmp_path / "five", range(5, 10), 20)
    settings = [word for key, value in NORMED.items() for word in ("--set", f"{key}={value}")]
    words = [
        "train", "mlp", "--data", str(folder), "--from", str(pretrained), "--new-head", "--freeze", "linears.0",
        "--freeze", "norms=1", "--rates", "linears.1=0.3", "--epochs", "2", "--out", str(tmp_path / "run"), "--json",
    ]  # fmt: skip
    assert main([*words, *settings]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["metrics"]["accuracy"] > 0.1
    assert "starts from" in err
    assert "frozen for the whole run: linears.0.weight, linears.0.bias" in err
    command = json.loads((tmp_path / "run" / "run.json").read_text())["command"]
    assert f"--from {pretrained.resolve()} --new-head" in command
    assert "--freeze linears.0 --freeze norms=1 --rates linears.1=0.3" in command
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == json.loads(out)["metrics"]
    assert main(["train", "--resume", str(tmp_path / "run"), "--freeze", "linears.0"]) == 2
    assert main(["train", "mlp", "--rates", "linears.1=fast"]) == 2


@pytest.mark.slow
def test_few_labels_gain_from_other_digits(tmp_path: Path) -> None:
    """LeNet-5 with seven labels a class of the digits 5 to 9, from scratch and from a run on 0 to 4."""
    source = digits_folder(tmp_path / "source", range(5))
    train("lenet5", source, out=tmp_path / "pretrained", epochs=8, report=False)
    scores: dict[str, list[float]] = {"scratch": [], "transfer": []}
    for seed in range(3):
        target = digits_folder(tmp_path / f"target{seed}", range(5, 10), 7, seed)
        for how, options in (
            ("scratch", {}),
            ("transfer", {"from_": tmp_path / "pretrained", "new_head": True, "rates": {"c1": 0.1, "c3": 0.1}}),
        ):
            out = tmp_path / f"{how}{seed}"
            result = train("lenet5", target, out=out, epochs=30, seed=seed, report=False, **options)  # type: ignore[arg-type]
            scores[how].append(result.metrics["accuracy"])
    assert statistics.mean(scores["transfer"]) > statistics.mean(scores["scratch"]) + 0.02, scores
