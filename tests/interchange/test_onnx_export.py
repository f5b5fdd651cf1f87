"""Exported models: names, sizes and versions in them; and the models that are refused."""

from __future__ import annotations

import builtins
import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import layers as L
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).normal(size=(4, 1, 8, 8)).astype(np.float32)


class Called(L.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.weight = function, nn.Parameter(np.ones(3, np.float32))

    def forward(self, *inputs: Any) -> Any:
        return self.function(self, *inputs)


def convolutional() -> Any:
    return L.Sequential(
        L.Conv2d(1, 4, 3, padding=1), L.BatchNorm2d(4), L.ReLU(), L.AvgPool2d(2), L.Flatten(), L.Linear(64, 5), L.Dropout(0.5)
    )


def test_names_sizes_and_versions() -> None:
    from nnatomy.interchange.onnx import OPSET, to_onnx

    model = convolutional().eval()
    made = to_onnx(model, X[:1], inputs=["images"], outputs=["scores"], metadata={"architecture": "a test"})
    assert made.opset_import[0].version == OPSET >= 18
    assert made.producer_name == "nnatomy"
    assert made.producer_version == nn.__version__
    assert {p.key: p.value for p in made.metadata_props} == {"architecture": "a test"}
    (given,), (answer,) = made.graph.input, made.graph.output
    assert (given.name, answer.name) == ("images", "scores")
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["batch", 1, 8, 8]
    assert [d.dim_param or d.dim_value for d in answer.type.tensor_type.shape.dim] == ["batch", 5]
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(weights[name], value)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("Gemm") == kinds.count("Conv") == kinds.count("AveragePool") == 1
    assert not {"MatMul", "Transpose", "Identity"} & set(kinds), "a layer with its bias is one node"
    conv = next(node for node in made.graph.node if node.op_type == "Conv")
    assert list(conv.input) == ["images", "0.weight", "0.bias"]


def test_model_is_left_as_it_was() -> None:
    from nnatomy.interchange.onnx import to_onnx

    model = convolutional().train()
    before = model.state_dict()
    to_onnx(model, X)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(UserError):
        to_onnx(Called(lambda m, x: x * float(x.sum())), X)
    assert isinstance(model.state_dict()["0.weight"], np.ndarray)


def test_batch_may_lie_on_another_axis_or_nowhere() -> None:
    from nnatomy.interchange.onnx import check, to_onnx

    layer = L.LSTM(3, 5, batch_first=False, bidirectional=True).eval()
    rng = np.random.default_rng(0)
    x, h, c = (rng.normal(size=size).astype(np.float32) for size in ((6, 2, 3), (2, 2, 5), (2, 2, 5)))

    def function(x: Any, h: Any, c: Any) -> Any:
        return layer(x, (h, c))

    made = to_onnx(layer, x, h, c, function=function, axes=(1, 1, 1), outputs=["y", "h_n", "c_n"])
    more = tuple(a.take([0, 1, 1, 0, 1, 0, 0], axis=1) for a in (x, h, c))
    with nn.no_grad():
        check(made, lambda *a: function(*map(nn.Tensor, a)), (x, h, c), more)
    table = rng.normal(size=(3,)).astype(np.float32)
    made = to_onnx(Called(lambda m, x, t: x * t), X[:, 0, :, :3], table, axes=(0, None))
    check(made, lambda x, t: x * t, (X[:, 0, :, :3], table), (X[:1, 0, :, :3], table))


def test_a_wrong_model_is_found_out() -> None:
    from nnatomy.interchange.onnx import check, to_onnx

    model = convolutional().eval()

    def wanted(x: Array) -> Any:
        with nn.no_grad():
            return model(nn.Tensor(x))

    made = to_onnx(model, X)
    assert check(made, wanted, (X,)) < 1e-5
    weight = next(t for t in made.graph.initializer if t.name == "5.weight")
    changed = onnx.numpy_helper.to_array(weight).copy()
    changed[2, 7] += 0.1
    weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
    with pytest.raises(UserError, match="differs from this library by"):
        check(made, wanted, (X,))
    made.graph.node[0].op_type = "NoSuchOperation"
    with pytest.raises(UserError, match="it is refused"):
        check(made, wanted, (X,))


def test_difference_counts_shapes_types_and_nan() -> None:
    from nnatomy.interchange.onnx import _difference

    one = np.ones(3, np.float32)
    assert _difference(one, one) == 0
    assert _difference(one, one.astype(np.float64)) == np.inf
    assert _difference(one, np.ones(2, np.float32)) == np.inf
    assert _difference(np.array([np.nan, 1.0]), np.array([np.nan, 1.5])) == pytest.approx(0.2)
    assert _difference(np.array([np.nan, 1.0]), np.array([1.0, 1.0])) == np.inf
    assert _difference(np.array([np.inf]), np.array([np.inf])) == 0
    assert _difference(np.array([1, 2]), np.array([1, 3])) == np.inf


REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("values are asked for", lambda m, x: x * (2.0 if x.sum() > 0 else 1.0), "Received one that needs"),
    ("a function without a form", lambda m, x: nn.Tensor(nn.backends.B.log_softmax_vjp(x.data, x.data, axis=1)),
     r"log_softmax_vjp\(\), which has no form in ONNX"),
    ("randomness", lambda m, x: nn.functional.dropout(x, 0.5, True), "changes with the batch"),
    ("another way for larger batches", lambda m, x: x if len(x) < 4 else x * 2, "calls other functions"),
    ("a factor by the batch", lambda m, x: x * float(len(x)) ** 0.5, "changes with the batch"),
    ("half of the batch", lambda m, x: x[: len(x) // 2], "1 for 3 examples, 2 for 5"),
    ("a mask that picks", lambda m, x: x[x > 0], "shape depends on values"),
    ("the places of a maximum", lambda m, x: nn.Tensor(nn.backends.B.max_pool(
        x.data, kernel=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)), dilation=(1, 1))[1]), "only the first result"),
]  # fmt: skip


@pytest.mark.parametrize("function, said", [pytest.param(*case[1:], id=case[0]) for case in REFUSED])
def test_refused(function: Callable[..., Any], said: str) -> None:
    from nnatomy.interchange.onnx import to_onnx

    with pytest.raises(UserError, match=said) as caught:
        to_onnx(Called(function), X)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_examples_are_needed() -> None:
    from nnatomy.interchange.onnx import to_onnx

    with pytest.raises(UserError, match="at least one example on axis 0"):
        to_onnx(convolutional(), X[:0])


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.interchange.onnx import to_onnx

    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name.split(".")[0] == "onnx":
            raise builtins.ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install 'nnatomy\[onnx\]'"):
        to_onnx(convolutional(), X)


def test_the_example_in_the_documentation_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    space: dict[str, Any] = {}
    exec(code, space)
    assert space["scores"].shape == (7, 3)
