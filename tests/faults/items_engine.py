"""Items 27 to 43: edges of the engine, and what users of other libraries type."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from items import Item, refusal

import nnatomy as nn
import nnatomy.functional as F

Array = np.ndarray[Any, Any]


def array(value: Any) -> Array:
    return np.asarray(getattr(value, "data", value))


def cosines(folder: Path) -> Array:
    a, b = np.random.default_rng(0).normal(size=(2, 4, 5))
    return array(F.cosine_similarity(nn.tensor(a[:, :1]), nn.tensor(b), axis=-1))


def cosines_by_hand() -> Array:
    a, b = np.random.default_rng(0).normal(size=(2, 4, 5))
    a = np.broadcast_to(a[:, :1], b.shape)
    return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))  # type: ignore[no-any-return]


def focal(folder: Path) -> bool:
    x = nn.tensor([[20.0, 0.0]], requires_grad=True)
    F.sigmoid_focal_loss(x, nn.tensor([[1.0, 0.0]]), gamma=0.5).backward()
    return bool(np.isfinite(array(x.grad)).all())


def read_out_of_range(folder: Path) -> str:
    """What an embedding of a compiled model gives for an index that it does not have: a mark, or a refusal."""
    nn.use("jax")
    try:
        found = array(nn.Embedding(4, 2)(nn.tensor([9])))
        return "marked" if np.isnan(found).all() else f"gave {found}"
    except IndexError:
        return "marked"
    finally:
        nn.use("numpy")


def overwritten(folder: Path) -> str:
    p = nn.tensor([2.0, 3.0], requires_grad=True)
    loss = (p * p).sum()
    with suppress(ValueError):  # NumPy's: the array is read-only
        p.data[:] = 0
    loss.backward()
    return str(array(p.grad).tolist())


def shared(folder: Path) -> Array:
    x = np.ones((1, 2), np.float32)
    weight = nn.tensor([[1.0], [1.0]], requires_grad=True)
    out = nn.Tensor(x) @ weight
    x[:] = 100
    out.sum().backward()
    return array(weight.grad)


def pooled(folder: Path) -> list[int]:
    rows = nn.tensor(np.arange(88, dtype=np.float32).reshape(1, 1, 88, 1))
    return [int(v) for v in array(F.interpolate(rows, scale_factor=(1.3, 1.0)))[0, 0, [39, 65, 78], 0]]


def fitted(**how: Any) -> Any:
    x = np.random.default_rng(0).normal(size=(40, 3))
    return nn.NeuralClassifier("mlp", epochs=2, **how.pop("init", {})).fit(x, x[:, 0] > 0, **how)


def solved(folder: Path) -> Array:
    """The gradient of the sum of A's inverse times b with respect to b: the sums of the inverse's columns."""
    b = nn.tensor([[1.0], [2.0]], requires_grad=True)
    nn.linalg.solve(nn.tensor([[2.0, 0.0], [0.0, 4.0]]), b).sum().backward()
    return array(b.grad)


half = np.float16
ITEMS = [
    Item(27, "sigmoid of integers", lambda _: array(nn.sigmoid(nn.tensor([1, 2, 3]))), 1 / (1 + np.exp([-1.0, -2.0, -3.0]))),
    Item(27, "norm of bytes", lambda _: float(array(nn.norm(nn.tensor(np.array([30, 40], np.uint8))))), 50.0),
    Item(28, "mean of float16 ones", lambda _: float(array(nn.mean(nn.tensor(np.ones(70_000, half))))), 1.0),
    Item(28, "mean of float16 halves", lambda _: float(array(nn.mean(nn.tensor(np.full(66_000, 0.5, half))))), 0.5),
    Item(29, "variance of too few", refusal(lambda: nn.var(nn.arange(3.0), correction=5)), "Received 3 elements"),
    Item(29, "median with NaN", lambda _: bool(np.isnan(array(nn.median(nn.tensor([1.0, math.nan, 3.0]))))), True),
    Item(30, "cosine of broadcast operands", cosines, cosines_by_hand()),
    Item(30, "slope of focal loss", focal, True),
    Item(31, "index that an embedding lacks, on JAX", read_out_of_range, "marked"),
    Item(32, "and of integers", lambda _: array(nn.tensor([6]) & nn.tensor([3])), [2]),
    Item(32, "shift of integers", lambda _: array(nn.tensor([6]) << nn.tensor([2])), [24]),
    Item(33, "one-hot beyond the classes", refusal(lambda: nn.one_hot(nn.tensor([0, 5]), 3)), "Received"),
    Item(33, "negative size", refusal(lambda: nn.eye(-1)), "Received (-1, -1)"),
    Item(34, "width of NumPy's type", lambda _: nn.Linear(4, np.array([0, 2]).max() + 1)(nn.ones(1, 4)).shape, (1, 3)),
    Item(34, "axes in a list", lambda _: float(array(nn.ones(2, 3).sum(axis=[0, 1]))), 6.0),
    Item(35, "norm of an empty batch", lambda _: nn.GroupNorm(2, 4)(nn.zeros(0, 4, 3)).shape, (0, 4, 3)),
    Item(35, "softmax over nothing", lambda _: nn.softmax(nn.zeros(2, 0), axis=1).shape, (2, 0)),
    Item(36, "split by nothing", refusal(lambda: nn.split(nn.ones(4), 0)), "Received 0"),
    Item(36, "steps of nothing", refusal(lambda: nn.arange(0, 3, 0)), "Received 0"),
    Item(33, "a Tensor of a number", refusal(lambda: nn.Tensor(1, requires_grad=True)), "Received int64"),
    Item(33, "whole zeros with a gradient", refusal(lambda: nn.zeros(2, dtype="int64", requires_grad=True)), "Received int64"),
    Item(33, "a Tensor of texts", refusal(lambda: nn.Tensor(np.array(["a"]))), "holds numbers"),
    Item(36, "more cut off than there is", refusal(lambda: F.pad(nn.ones(4), (-9, 0))), "Received (-9, 0)"),
    Item(37, "weights written before backward", overwritten, "[4.0, 6.0]"),
    Item(37, "the caller's array written after", shared, [[1], [1]]),
    Item(38, "nearest rows by 1.3", pooled, [30, 50, 60]),
    Item(39, "transpose of two axes", lambda _: nn.randn(2, 3).transpose(0, 1).shape, (3, 2)),
    Item(39, "handle of a hook", lambda _: hasattr(nn.Linear(2, 2).register_forward_hook(print), "remove"), True),
    Item(40, "moved to a device", refusal(lambda: nn.ones(2).cuda()), "nn.use("),  # type: ignore[attr-defined]
    Item(40, "elements", lambda _: nn.ones(2, 3).numel(), 6),
    Item(40, "list of modules", lambda _: len(nn.ModuleList([nn.Linear(2, 2)])), 1),
    Item(40, "slope of a solved system", solved, [[0.5], [0.25]]),
    Item(41, "weights of rows", lambda _: fitted(sample_weight=np.ones(40)).predict(np.zeros((1, 3))).shape, (1,)),
    Item(41, "weights of classes", lambda _: fitted(init={"class_weight": "balanced"}).n_features_in_, 3),
    Item(42, "input of another type", refusal(lambda: nn.Linear(4, 2)(np.ones((1, 4)))), "the input x of float64"),
    Item(43, "initial values", lambda _: nn.init.xavier_uniform_(nn.Linear(3, 2).weight).shape, (2, 3)),
]  # fmt: skip
