"""Verification finds what is wrong, says where, and does not cry wolf."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.training.recipe import Case
from nnatomy.verification.compare import Comparison, Verification, compare, difference, draw_weights, fill_table, verify

torch = pytest.importorskip("torch")


class TorchNorm(torch.nn.Module):  # type: ignore[misc]
    """torch.nn.BatchNorm1d without its counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(4)), torch.nn.Parameter(torch.zeros(4))
        self.register_buffer("running_mean", torch.zeros(4))
        self.register_buffer("running_var", torch.ones(4))

    def forward(self, x: Any) -> Any:
        return torch.nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


class TorchNet(torch.nn.Module):  # type: ignore[misc]
    """Two linear layers with batch normalisation between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.norm = TorchNorm()
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(self.norm(self.first(x)).tanh())


class Net(nn.layers.module.Module):
    """The same, with a place for a fault."""

    def __init__(self, fault: str = "") -> None:
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4, momentum=0.2 if fault == "momentum" else 0.1)
        self.last = nn.Linear(4, 2, bias=fault != "bias")
        self.fault = fault
        if fault == "sign":
            self.first.weight.register_hook(lambda g: -g)

    def forward(self, x: Any) -> Any:
        h = self.first(x)
        h = self.norm(h * 1.01 if self.fault == "scale" else h)
        if self.fault == "crash":
            return self.last(h.reshape(-1, 3))
        return self.last(h.tanh())


def loss(model: Any, x: Any, y: Any) -> Any:
    return ((model(x) - y) ** 2).mean() * (2 if getattr(model, "fault", "") == "loss" else 1)


def batch(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], ...]:
    return rng.normal(size=(6, 3)), rng.normal(size=(6, 2))


def fake_architecture(fault: str = "", twin: Callable[[], Any] = TorchNet) -> Any:
    """An architecture whose parts are in this file."""
    parts = {
        "model": SimpleNamespace(build=lambda: Net(fault)),
        "torch_twin": SimpleNamespace(build=twin, loss=lambda model, x, y: ((model(x) - y) ** 2).mean()),
    }
    return SimpleNamespace(name="net", module=parts.__getitem__, cases=(CASE,))


CASE = Case("net", {}, batch, loss)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_equal_networks_pass_though_a_bias_before_batch_norm_has_no_gradient(precision: str) -> None:
    (found,) = compare(fake_architecture(), CASE, precision, ["torch"])
    assert found.passed, found
    assert set(found.differences) == {"outputs", "loss", "gradients", "weights", "buffers"}


@pytest.mark.parametrize(
    "fault, told",
    [
        ("scale", "stage norm: off by"),
        ("crash", "after stage norm: nnatomy raised"),
        ("loss", "the loss function, as every stage agrees"),
        ("sign", "gradient of first.weight, off by 2.0e+00 (first on the way back; wrong: first.weight"),
        ("momentum", "buffers after 3 steps: norm.running_mean, norm.running_var"),
        ("bias", "parameters: only the twin has last.bias"),
    ],
)
def test_the_first_bad_stage_is_named(fault: str, told: str) -> None:
    (found,) = compare(fake_architecture(fault), CASE, "float64", ["torch"])
    assert not found.passed
    assert told in found.first_bad


def test_a_result_reads_as_json_and_as_a_table() -> None:
    result = verify(fake_architecture("scale"), twins=["torch"], timing=False)
    assert not result.passed
    plain = json.loads(json.dumps(result.to_json()))
    assert [c["precision"] for c in plain["comparisons"]] == ["float64", "float32"]
    assert result.table()[1][-1].startswith("DIFFERS: stage norm")
    crashed = verify(fake_architecture("crash"), twins=["torch"], timing=False)
    assert json.loads(json.dumps(crashed.to_json(), allow_nan=False))["comparisons"][0]["differences"]["outputs"] is None


def test_times_stand_side_by_side() -> None:
    result = verify(fake_architecture(), twins=["torch"], precision=["float32"])
    (timing,) = result.timings
    assert timing.examples >= 64
    assert set(timing.seconds) == {"nnatomy", "torch"}
    assert timing.ratio() == timing.seconds["nnatomy"] / timing.seconds["torch"] > 0


def test_verifying_leaves_the_random_stream_alone() -> None:
    nn.seed(5)
    expected = nn.random.default.state_dict()
    verify(fake_architecture(), twins=["torch"], precision=["float64"], timing=False)
    assert nn.random.default.state_dict() == expected


def test_drawn_weights_are_random_and_running_variances_stay_positive() -> None:
    from nnatomy.verification.implementations import Ours

    ours = Ours(fake_architecture(), CASE, "float64")
    drawn = draw_weights(ours, np.random.default_rng(0))
    assert (drawn["norm.running_var"] > 0).all()
    assert all(np.ptp(a) > 0 for a in drawn.values())


def test_difference() -> None:
    assert difference([1.0, -4.0], [1.0, -2.0]) == 1.0
    assert difference([0.1], [0.2], floor=1.0) == pytest.approx(0.1)
    assert difference([0.0], [0.0]) == 0.0
    for bad in ([np.nan], [np.inf], [1.0, 1.0]):
        assert difference(bad, [1.0]) == np.inf


def test_missing_frameworks_and_unknown_names_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.verification import implementations as twins

    monkeypatch.setitem(sys.modules, "torch", None)
    twins.pytorch.cache_clear()
    with pytest.raises(UserError, match=r'pip install "nnatomy\[verify\]"'):
        verify(fake_architecture(), twins=["torch"])
    for asked, named in (({"twins": ["jax"]}, "twin"), ({"precision": ["float16"]}, "precision"), ({"cases": ["nett"]}, "net")):
        with pytest.raises(UserError, match=named):
            verify(fake_architecture(), **asked)


def test_tables_are_filled_in_place_and_again() -> None:
    page = "before\n<!-- table: verify -->\n<!-- /table -->\nafter <!-- table: other --><!-- /table -->\n"
    numbers = dict.fromkeys(("outputs", "gradients", "weights"), 2e-16)
    result = Verification("net", (Comparison("a|b", "torch", "float64", 1e-9, numbers),))
    once = fill_table(page, "verify", result.page_rows())
    assert "| a\\|b | PyTorch | 2e-16 / - |" in once
    assert fill_table(once, "verify", result.page_rows()) == once
    assert once.startswith("before\n<!-- table: verify -->\n| Case |")
    assert once.endswith("<!-- /table -->\nafter <!-- table: other --><!-- /table -->\n")
    with pytest.raises(UserError, match="none"):
        fill_table(page, "train", result.page_rows())
