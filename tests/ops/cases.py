"""One line a case: the operation, its inputs, and the same in PyTorch. The test functions are in test_ops.py."""

# ruff: noqa: E501  (one line a case, however long)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import nnatomy as nn

Fill = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def real(r: np.random.Generator, s: tuple[int, ...]) -> np.ndarray:
    return r.normal(size=s)


def above(r: np.random.Generator, s: tuple[int, ...]) -> np.ndarray:
    return r.uniform(0.3, 2.0, size=s)


def unit(r: np.random.Generator, s: tuple[int, ...]) -> np.ndarray:
    return r.uniform(-0.9, 0.9, size=s)


def apart(r: np.random.Generator, s: tuple[int, ...]) -> np.ndarray:
    """Distinct values, none near another or near an integer, so that differences do not cross a kink."""
    return (r.permutation(int(np.prod(s))).reshape(s) - np.prod(s) / 2) * 0.37 + 0.11


@dataclass(frozen=True)
class Case:
    name: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    inputs: tuple[Any, ...]  # shapes to fill, or arrays to take as they are
    fill: Fill = real
    order: int = 2  # to which order gradients are held against central differences; 0: at a kink, or without gradient
    smooth: bool = True  # whether gradients are compared with PyTorch's
    tolerance: float = 1e-6

    def arrays(self, dtype: str) -> list[np.ndarray]:
        rng = np.random.default_rng(len(self.name))
        made = [np.asarray(i) if isinstance(i, np.ndarray | list) else self.fill(rng, i) for i in self.inputs]
        return [a.astype(dtype) if a.dtype.kind == "f" else a for a in made]


cases: list[Case] = []


def case(ours: Callable[..., Any], theirs: Callable[..., Any], *inputs: Any, name: str = "", **how: Any) -> None:
    label = f"{len(cases)}-{name or getattr(theirs, '__name__', 'op')}-" + ",".join(
        "x".join(map(str, np.shape(i) if isinstance(i, np.ndarray | list) else i)) for i in inputs
    )
    cases.append(Case(label, ours, theirs, inputs, **how))


t = torch
zero = np.array([-1.5, 0.0, 0.0, 2.0])
ties = np.array([[1.0, 3.0, 3.0, -2.0], [0.5, 0.5, 0.5, 0.5], [4.0, 2.0, 0.0, 4.0]])

# Arithmetic, broadcast in every way
for shapes in ([(3, 4), (3, 4)], [(3, 4), (4,)], [(3, 1), (1, 4)], [(), (2, 3)], [(2, 1, 3), (4, 1)], [(0, 3), (3,)], [(), ()]):
    case(nn.add, t.add, *shapes)
    case(nn.subtract, t.sub, *shapes)
    case(nn.multiply, t.mul, *shapes)
    case(nn.divide, t.div, *shapes, fill=above)
case(nn.power, t.pow, (3, 4), (4,), fill=above)
case(nn.power, t.pow, np.array([0.0, 2.0, 3.0, 0.0]), np.array([2.0, 0.0, 1.0, 0.0]), order=0, name="pow-zeros", smooth=True)
for p in (2, 3, 1, 0, 0.5, -1, -1.5):
    case(lambda x, p=p: x**p, lambda x, p=p: x**p, (3, 2), fill=above, name=f"pow{p}")
for p in (0, 1, 2, 3):
    case(lambda x, p=p: x**p, lambda x, p=p: x**p, zero, name=f"pow{p}-at-0", tolerance=1e-4)
case(lambda x: 2.0**x, lambda x: 2.0**x, (3,), name="rpow")
case(lambda x: 1 - x, lambda x: 1 - x, (3,), name="rsub")
case(lambda x: 2 / x, lambda x: 2 / x, (3,), fill=above, name="rdiv")
for ours, theirs in ((nn.logaddexp, t.logaddexp), (nn.arctan2, t.arctan2), (nn.maximum, t.maximum), (nn.minimum, t.minimum),
                     (nn.power, t.pow), (nn.remainder, t.remainder), (nn.divide, t.div)):  # fmt: skip
    case(lambda x, f=ours: f(x, 0.7), lambda x, f=theirs: f(x, t.tensor(0.7, dtype=x.dtype)), (3,), fill=above, name="number right")
    case(lambda x, f=ours: f(0.7, x), lambda x, f=theirs: f(t.tensor(0.7, dtype=x.dtype), x), (3,), fill=above, name="number left")
case(lambda x: -x, lambda x: -x, (3, 0), name="neg-empty")
case(nn.negative, t.neg, (3,))
bits = np.array([6, 5, -8, 0]), np.array([3, 4, 1, 2])
for ours, theirs in ((nn.bitwise_and, t.bitwise_and), (nn.bitwise_or, t.bitwise_or), (nn.bitwise_xor, t.bitwise_xor),
                     (nn.bitwise_left_shift, t.bitwise_left_shift), (nn.bitwise_right_shift, t.bitwise_right_shift)):  # fmt: skip
    case(ours, theirs, *bits, order=0, smooth=False)
case(nn.bitwise_not, t.bitwise_not, bits[0], order=0, smooth=False)
case(nn.bitwise_and, t.bitwise_and, np.array([True, True, False]), np.array([True, False, False]), order=0, smooth=False)
case(nn.remainder, t.remainder, np.array([2.3, -2.3, 5.1]), np.array([0.7, 0.7, -1.6]))
case(nn.fmod, t.fmod, np.array([2.3, -2.3, 5.1, 0.0]), np.array([0.7, 0.7, -1.6, 2.0]))
case(lambda x: nn.fmod(x, 0.7), lambda x: t.fmod(x, 0.7), (2, 3), name="fmod-number")
case(nn.fmod, t.fmod, np.array([7, -7, 5]), np.array([3, 3, -4]), order=0, smooth=False)
case(nn.square, t.square, (2, 3))
case(nn.sqrt, t.sqrt, (2, 3), fill=above)
case(nn.rsqrt, t.rsqrt, (2, 3), fill=above)
case(nn.reciprocal, t.reciprocal, (2, 3), fill=above)
case(nn.clone, t.clone, (2, 3))

# One argument, element by element
for ours, theirs in (
    (nn.exp, t.exp), (nn.expm1, t.expm1), (nn.sigmoid, t.sigmoid), (nn.softplus, F.softplus), (nn.erf, t.erf), (nn.sin, t.sin),
    (nn.cos, t.cos), (nn.arctan, t.arctan), (nn.sinh, t.sinh), (nn.cosh, t.cosh), (nn.tanh, t.tanh),
):  # fmt: skip
    case(ours, theirs, (3, 4))
    case(ours, theirs, ())
for ours, theirs in ((nn.log, t.log), (nn.log1p, t.log1p), (nn.log2, t.log2), (nn.log10, t.log10), (nn.exp2, t.exp2)):
    case(ours, theirs, (3, 4), fill=above)
for ours, theirs in ((nn.tan, t.tan), (nn.arcsin, t.arcsin), (nn.arccos, t.arccos), (nn.arctanh, t.arctanh)):
    case(ours, theirs, (3, 4), fill=unit)
case(nn.arctan2, t.arctan2, (3, 4), (4,))
case(nn.logaddexp, t.logaddexp, (3, 4), (4,))
case(nn.logaddexp, t.logaddexp, np.array([800.0, -800.0]), np.array([799.0, -801.0]), tolerance=1e-4)
for ours, theirs in ((nn.sigmoid, t.sigmoid), (nn.softplus, F.softplus), (nn.tanh, t.tanh)):
    case(ours, theirs, np.array([-1000.0, -40.0, 40.0, 1000.0]), order=0)

# Kinks and ties
case(nn.abs, t.abs, (3, 4))
case(nn.abs, t.abs, zero, order=0)
case(nn.relu, t.relu, (3, 4))
case(nn.relu, t.relu, zero, order=0)
case(nn.maximum, t.maximum, (3, 4), (4,))
case(nn.minimum, t.minimum, (3, 4), (4,))
case(nn.maximum, t.maximum, ties, ties[0], order=0)
case(nn.minimum, t.minimum, ties, ties[0], order=0)
case(lambda x: nn.clip(x, -0.5, 0.5), lambda x: t.clamp(x, -0.5, 0.5), (3, 4), name="clip")
case(lambda x: nn.clip(x, -1.5, 2.0), lambda x: t.clamp(x, -1.5, 2.0), zero, order=0, name="clip-edges")
case(lambda x: nn.clip(x, high=0.5), lambda x: t.clamp(x, max=0.5), (3, 4), name="clip-high")
case(lambda x, a, b: nn.clip(x, a, b), t.clamp, (3, 4), np.full(4, -0.4), np.full(4, 0.6), name="clip-tensors")
for ours, theirs in ((nn.sign, t.sign), (nn.floor, t.floor), (nn.ceil, t.ceil), (nn.round, t.round), (nn.trunc, t.trunc)):
    case(ours, theirs, np.array([[-2.3, -0.4, 0.2], [1.6, 0.7, 2.8]]))
case(nn.round, t.round, np.array([0.5, 1.5, 2.5, -0.5]), order=0)
case(lambda x: nn.round(x, 1), lambda x: t.round(x, decimals=1), np.array([0.53, 1.28, -0.71]), order=0, name="round-decimals", smooth=False)
case(nn.nan_to_num, t.nan_to_num, np.array([1.0, np.nan, np.inf]), order=0)
case(nn.nan_to_num, t.nan_to_num, np.array([1.0, np.nan, -np.inf]), order=0)
case(lambda x: nn.nan_to_num(x, 2.0, 3.0, -3.0), lambda x: t.nan_to_num(x, 2.0, 3.0, -3.0), np.array([1.0, np.nan, np.inf, -np.inf]), order=0, name="nan_to_num-given")
odd = np.array([1.0, 1.0 + 5e-6, 1.1, np.nan, np.inf, -np.inf, 0.0]), np.array([1.0, 1.0, 1.0, np.nan, np.inf, np.inf, np.inf])
case(nn.isclose, t.isclose, *odd, order=0, smooth=False)
case(lambda a, b: nn.isclose(a, b, 0.2, equal_nan=True), lambda a, b: t.isclose(a, b, 0.2, equal_nan=True), *odd, order=0, smooth=False, name="isclose-nan")
mask = np.array([[True, False, True], [False, False, True]])
case(lambda a, b: nn.where(mask, a, b), lambda a, b: t.where(t.tensor(mask), a, b), (2, 3), (3,), name="where")
case(lambda a: nn.where(mask, a, 2.5), lambda a: t.where(t.tensor(mask), a, 2.5), (2, 3), name="where-number")
case(lambda a: nn.masked_fill(a, mask, -1.0), lambda a: a.masked_fill(t.tensor(mask), -1.0), (2, 3), name="masked_fill")

# Reductions
for axis in (None, 0, -1, (0, 2), (-1, -2), 1):
    for keep in (False, True):
        kw = {"axis": axis, "keepdims": keep}
        dim = tuple(range(3)) if axis is None else axis
        tag = f"{axis}-{keep}"
        case(lambda x, kw=kw: nn.sum(x, **kw), lambda x, d=dim, k=keep: t.sum(x, d, k), (2, 3, 4), name=f"sum-{tag}")
        case(lambda x, kw=kw: nn.mean(x, **kw), lambda x, d=dim, k=keep: t.mean(x, d, k), (2, 3, 4), name=f"mean-{tag}")
        case(lambda x, kw=kw: nn.var(x, **kw), lambda x, d=dim, k=keep: t.var(x, d, keepdim=k), (2, 3, 4), name=f"var-{tag}")
        case(lambda x, kw=kw: nn.std(x, **kw), lambda x, d=dim, k=keep: t.std(x, d, keepdim=k), (2, 3, 4), name=f"std-{tag}")
        case(lambda x, kw=kw: nn.max(x, **kw), lambda x, d=dim, k=keep: t.amax(x, d, k), (2, 3, 4), fill=apart, name=f"max-{tag}")
        case(lambda x, kw=kw: nn.min(x, **kw), lambda x, d=dim, k=keep: t.amin(x, d, k), (2, 3, 4), fill=apart, name=f"min-{tag}")
        case(lambda x, kw=kw: nn.logsumexp(x, **kw), lambda x, d=dim, k=keep: t.logsumexp(x, d, k), (2, 3, 4), name=f"lse-{tag}")
        case(lambda x, kw=kw: nn.norm(x, **kw), lambda x, d=dim, k=keep: t.linalg.vector_norm(x, 2, d, k), (2, 3, 4), name=f"norm-{tag}")
case(nn.sum, t.sum, ())
case(nn.sum, t.sum, (0, 3), name="sum-empty")
case(lambda x: x.sum(0), lambda x: x.sum(0), (0, 3), name="sum-empty-axis")
case(lambda x: x.sum(1), lambda x: x.sum(1), (0, 3), name="sum-no-rows")
case(lambda x: nn.var(x, 0, correction=0), lambda x: x.var(0, correction=0), (4, 3), name="var0")
case(lambda x: nn.std(x, 0), lambda x: x.std(0), np.array([[1.0, 2.0], [1.0, 3.0], [1.0, 5.0]]), order=0, name="std-of-equals")
for axis in (0, 1, -1):
    case(lambda x, a=axis: x.prod(a), lambda x, a=axis: x.prod(a), (3, 4), name=f"prod{axis}")
    case(lambda x, a=axis: nn.cumsum(x, a), lambda x, a=axis: t.cumsum(x, a), (3, 4), name=f"cumsum{axis}")
    case(lambda x, a=axis: nn.cumprod(x, a), lambda x, a=axis: t.cumprod(x, a), (3, 4), name=f"cumprod{axis}", tolerance=1e-5)
    case(lambda x, a=axis: nn.softmax(x, a), lambda x, a=axis: t.softmax(x, a), (3, 4), name=f"softmax{axis}")
    case(lambda x, a=axis: nn.log_softmax(x, a), lambda x, a=axis: t.log_softmax(x, a), (3, 4), name=f"log_softmax{axis}")
case(lambda x: x.prod(), lambda x: x.prod(), (2, 3), name="prod-all")
case(lambda x: x.prod(1, keepdims=True), lambda x: x.prod(1, keepdim=True), np.array([[0.0, 2.0, 3.0], [0.0, 0.0, 2.0]]), name="prod-0")
case(lambda x: x.prod(0), lambda x: x.prod(0), (0, 2), name="prod-empty")
case(lambda x: nn.prod(x, (0, 2)), lambda x: x.prod(0).prod(1), (2, 3, 2), name="prod-axes")
case(lambda x: nn.cumprod(x, 1), lambda x: t.cumprod(x, 1), np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 2.0]]), name="cumprod-0", tolerance=1e-5)
case(lambda x: nn.softmax(x), lambda x: t.softmax(x, -1), np.array([[1e4, 0.0, -1e4], [-np.inf, 0.0, 1.0]]), order=0, name="softmax-far")
case(lambda x: nn.logsumexp(x, -1), lambda x: t.logsumexp(x, -1), np.array([[1e4, 0.0], [-np.inf, 1.0]]), order=0, name="lse-far")
case(lambda x: x.max(axis=1), lambda x: x.amax(1), ties, order=0, name="max-ties")
case(lambda x: x.min(), lambda x: x.amin(), ties, order=0, name="min-ties")
for p in (1, 1.5, 2, 3, np.inf):
    case(lambda x, p=p: nn.norm(x, p, 1), lambda x, p=p: t.linalg.vector_norm(x, p, 1), (3, 4), fill=apart, name=f"norm{p}")
    case(lambda x, p=p: nn.norm(x, p, 1), lambda x, p=p: t.linalg.vector_norm(x, p, 1), np.zeros((2, 3)), order=0, name=f"norm{p}-at-0")
for ours, theirs in ((nn.argmax, t.argmax), (nn.argmin, t.argmin)):
    case(lambda x, f=ours: f(x, 1), lambda x, f=theirs: f(x, 1), (3, 4), order=0, smooth=False, name="arg")
    case(ours, theirs, (3, 4), order=0, smooth=False)
    case(lambda x, f=ours: f(x, 0, keepdims=True), lambda x, f=theirs: f(x, 0, keepdim=True), (3, 4), order=0, smooth=False, name="arg")
for name in ("any", "all"):
    case(lambda x, n=name: getattr(nn, n)(x > 0, 1), lambda x, n=name: getattr(t, n)(x > 0, 1), (3, 4), order=0, smooth=False, name=name)

# Comparisons, logic
for ours, theirs in (
    (nn.equal, t.eq), (nn.not_equal, t.ne), (nn.less, t.lt), (nn.less_equal, t.le), (nn.greater, t.gt), (nn.greater_equal, t.ge),
):  # fmt: skip
    case(ours, theirs, ties, ties[0], order=0, smooth=False)
for name in ("logical_and", "logical_or", "logical_xor"):
    case(lambda a, b, n=name: getattr(nn, n)(a > 0, b > 0), lambda a, b, n=name: getattr(t, n)(a > 0, b > 0), (4,), (4,), order=0, smooth=False, name=name)
case(lambda a: ~(a > 0), lambda a: ~(a > 0), (4,), order=0, smooth=False, name="not")
case(nn.floor_divide, t.floor_divide, np.array([2.3, -2.3]), np.array([0.7, 0.7]), order=0, smooth=False)
for ours, theirs in ((nn.isnan, t.isnan), (nn.isinf, t.isinf), (nn.isfinite, t.isfinite)):
    case(ours, theirs, np.array([0.0, np.nan, np.inf, -np.inf]), order=0, smooth=False)

# Shapes
case(lambda x: x.reshape(4, -1), lambda x: x.reshape(4, -1), (2, 3, 4), name="reshape")
case(lambda x: x.reshape(()), lambda x: x.reshape(()), (1, 1), name="reshape-scalar")
case(lambda x: x.transpose(), lambda x: x.permute(2, 1, 0), (2, 3, 4), name="transpose")
case(lambda x: nn.transpose(x, (2, 0, -2)), lambda x: x.permute(2, 0, 1), (2, 3, 4), name="permute")
case(lambda x: x.swapaxes(0, -1), lambda x: x.swapaxes(0, -1), (2, 3, 4), name="swapaxes")
case(lambda x: nn.moveaxis(x, 0, -1), lambda x: t.movedim(x, 0, -1), (2, 3, 4), name="moveaxis")
case(lambda x: nn.broadcast_to(x, (2, 3, 4)), lambda x: x.broadcast_to((2, 3, 4)), (3, 1), name="broadcast_to")
case(lambda x: nn.expand_dims(x, -1), lambda x: x.unsqueeze(-1), (2, 3), name="expand_dims")
case(lambda x: nn.unsqueeze(x, 1), lambda x: x.unsqueeze(1), (2, 3), name="unsqueeze")
case(lambda x: x.squeeze(), lambda x: x.squeeze(), (1, 3, 1), name="squeeze")
case(lambda x: x.squeeze(-1), lambda x: x.squeeze(-1), (1, 3, 1), name="squeeze-last")
case(lambda x: nn.squeeze(x, 1), lambda x: x.squeeze(1), (1, 3, 1), name="squeeze-long")
case(lambda x: nn.flatten(x, 1), lambda x: x.flatten(1), (2, 3, 4), name="flatten")
case(lambda x: nn.flatten(x, 0, -2), lambda x: x.flatten(0, -2), (2, 3, 4), name="flatten-front")
case(lambda *x: nn.cat(x, -1), lambda *x: t.cat(x, -1), (2, 3), (2, 0), (2, 2), name="cat")
case(lambda *x: nn.stack(x, 1), lambda *x: t.stack(x, 1), (2, 3), (2, 3), name="stack")
case(lambda *x: nn.stack(x, -1), lambda *x: t.stack(x, -1), (2, 3), (2, 3), name="stack-last")
case(lambda x: nn.unstack(x, 1), lambda x: x.unbind(1), (2, 3), name="unstack")
case(lambda x: nn.split(x, 2, 1), lambda x: x.split(2, 1), (2, 5), name="split")
case(lambda x: nn.split(x, [1, 0, 4], -1), lambda x: x.split([1, 0, 4], -1), (2, 5), name="split-sizes")
case(lambda x: nn.chunk(x, 3, 1), lambda x: x.chunk(3, 1), (2, 5), name="chunk")
case(lambda x: nn.flip(x, 1), lambda x: x.flip(1), (2, 3), name="flip")
case(lambda x: nn.flip(x), lambda x: x.flip(0, 1), (2, 3), name="flip-all")
for shift in (1, -2, 0, 7):
    case(lambda x, s=shift: nn.roll(x, s, 1), lambda x, s=shift: x.roll(s, 1), (2, 5), name=f"roll{shift}")
    case(lambda x, s=shift: nn.roll(x, s), lambda x, s=shift: x.roll(s), (2, 5), name=f"roll-all{shift}")
case(lambda x: nn.roll(x, (1, -2), (0, 1)), lambda x: x.roll((1, -2), (0, 1)), (2, 5), name="roll-axes")
case(lambda x: nn.pad(x, [(0, 0), (1, 2)], value=3.0), lambda x: F.pad(x, (1, 2), value=3.0), (2, 3), name="pad")
for ours, theirs in (("edge", "replicate"), ("reflect", "reflect"), ("wrap", "circular")):
    case(lambda x, m=ours: nn.pad(x, [(0, 0), (0, 0), (2, 1)], m), lambda x, m=theirs: F.pad(x, (2, 1), m), (2, 2, 4), name=f"pad-{ours}")
case(lambda x: nn.repeat(x, (2, 1, 3)), lambda x: x.repeat(2, 1, 3), (2, 3), name="repeat")
case(lambda x: nn.repeat_interleave(x, 3, 1), lambda x: x.repeat_interleave(3, 1), (2, 3), name="repeat_interleave")
for k in (0, 1, -2):
    case(lambda x, k=k: nn.tril(x, k), lambda x, k=k: x.tril(k), (2, 3, 4), name=f"tril{k}")
    case(lambda x, k=k: nn.triu(x, k), lambda x, k=k: x.triu(k), (2, 3, 4), name=f"triu{k}")
case(nn.diagonal, t.diagonal, (2, 3, 4))
for k in (0, 1, -2, 9):
    case(lambda x, k=k: nn.diagonal(x, k, -2, -1), lambda x, k=k: t.diagonal(x, max(min(k, 4), -3), -2, -1), (2, 3, 4), name=f"diagonal{k}")
for k in (0, 2, -1):
    case(lambda x, k=k: nn.diag(x, k), lambda x, k=k: t.diag(x, k), (3,), name=f"diag{k}")
    case(lambda x, k=k: nn.diag(x, k), lambda x, k=k: t.diag(x, k), (3, 4), name=f"diag-of-matrix{k}")
    case(lambda x, k=k: nn.rot90(x, k), lambda x, k=k: t.rot90(x, k), (2, 3, 2), name=f"rot90 {k}")
case(lambda x: nn.rot90(x, 3, (2, 0)), lambda x: t.rot90(x, 3, (2, 0)), (2, 3, 2), name="rot90-axes")
case(nn.trace, t.trace, (3, 4))
case(lambda x: nn.tile(x, (2, 3)), lambda x: t.tile(x, (2, 3)), (2, 2, 3), name="tile")
case(lambda x: nn.tile(x, (2, 1, 2)), lambda x: t.tile(x, (2, 1, 2)), (3,), name="tile-more")
for way in ("ij", "xy"):
    case(lambda *x, w=way: nn.meshgrid(*x, indexing=w), lambda *x, w=way: t.meshgrid(*x, indexing=w), (2,), (3,), (4,), name=f"meshgrid {way}")
for shapes in ([(2, 3), (3, 2)], [(2,), (2, 1, 2)], [(2, 2, 1), (3,)]):
    case(nn.kron, t.kron, *shapes)
case(lambda a, b: nn.cross(a, b), lambda a, b: t.linalg.cross(a, b), (2, 3), (2, 3), name="cross")
case(lambda a, b: nn.cross(a, b, 0), lambda a, b: t.linalg.cross(a, b, dim=0), (3, 2), (3, 2), name="cross-axis")
for n, axis in ((1, -1), (2, 0), (0, 1)):
    case(lambda x, n=n, a=axis: nn.diff(x, n, a), lambda x, n=n, a=axis: t.diff(x, n, a), (3, 4), name=f"diff{n}")
case(nn.diff, t.diff, np.array([True, True, False]), order=0, smooth=False, name="diff-truth")
for q in (0.0, 0.3, 0.5, 1.0):
    for how in ("linear", "lower", "higher", "nearest", "midpoint"):
        case(lambda x, q=q, h=how: nn.quantile(x, q, 1, interpolation=h), lambda x, q=q, h=how: t.quantile(x, q, 1, interpolation=h), (3, 6), fill=apart, name=f"quantile {q} {how}")
case(lambda x: nn.quantile(x, [0.1, 0.9], 0, keepdims=True), lambda x: t.quantile(x, t.tensor([0.1, 0.9], dtype=x.dtype), 0, True), (5, 2), fill=apart, name="quantile-several")
case(lambda x: nn.quantile(x, 0.4), lambda x: t.quantile(x, 0.4), (3, 4), fill=apart, name="quantile-all")
case(lambda x: nn.quantile(x, 0.4, 1), lambda x: t.quantile(x, 0.4, 1), np.array([[1.0, np.nan, 2.0], [3.0, 1.0, 2.0]]), order=0, smooth=False, name="quantile-nan")
case(lambda x: nn.astype(x, x.dtype), lambda x: x, (2, 3), name="astype")

# Products
for shapes in ([(3, 4), (4, 2)], [(4,), (4,)], [(3, 4), (4,)], [(4,), (4, 2)], [(2, 3, 4), (4, 2)], [(2, 3, 4), (2, 4, 2)],
               [(5, 1, 3, 4), (2, 4, 2)], [(4,), (2, 4, 3)], [(2, 3, 4), (4,)], [(0, 4), (4, 2)], [(3, 0), (0, 2)]):  # fmt: skip
    case(nn.matmul, t.matmul, *shapes)
case(nn.linear, F.linear, (3, 4), (2, 4), (2,))
case(nn.linear, F.linear, (3, 4), (2, 4))
case(nn.linear, F.linear, (4,), (2, 4), (2,))
case(nn.linear, F.linear, (2, 3, 4), (2, 4), (2,))
case(nn.dot, t.dot, (4,), (4,))
case(nn.outer, t.outer, (3,), (4,))
case(lambda a, b: nn.tensordot(a, b, 2), lambda a, b: t.tensordot(a, b, 2), (2, 3, 4), (3, 4, 2), name="tensordot")
case(lambda a, b: nn.tensordot(a, b, ([-1, 0], [0, 1])), lambda a, b: t.tensordot(a, b, ([2, 0], [0, 1])), (2, 3, 4), (4, 2), name="tensordot-axes")
for formula, shapes in (
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,jk", [(2, 3), (3, 4)]), ("ij->", [(2, 3)]), ("ij->j", [(2, 3)]), ("ij->ji", [(2, 3)]),
    ("ij,kl->", [(2, 3), (2, 2)]), ("i,j->ij", [(2,), (3,)]), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]), ("i,i->i", [(3,), (3,)]),
    ("...ij,...jk->...ik", [(2, 3, 4), (4, 2)]), ("...i,...i->...", [(1, 3), (4, 3)]), ("i...,i...", [(3, 2), (3, 2)]),
    ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 4)]), ("ii->i", [(3, 3)]), ("ii", [(3, 3)]), ("bii,ij->bj", [(2, 3, 3), (3, 2)]),
    ("iji->j", [(2, 3, 2)]), ("ij,ij->", [(2, 3), (2, 3)]), ("ij,j->i", [(2, 1), (3,)]), ("i,i->", [(0,), (0,)]),
):  # fmt: skip
    case(lambda *x, f=formula: nn.einsum(f, *x), lambda *x, f=formula: t.einsum(f, *x), *shapes, name=f"einsum {formula}")


def qr_r(x: t.Tensor) -> t.Tensor:
    r = t.linalg.qr(x, mode="r").R
    return r * t.where(r.diagonal() < 0, -1, 1).to(r.dtype)[:, None]


for shape in ((5, 3), (3, 3), (2, 4), (1, 1)):
    case(nn.qr_r, qr_r, shape, order=0, smooth=False, name="qr_r")

# Linear algebra. Eigenvectors and singular vectors are compared where their sign does not matter.
L, M = nn.linalg, t.linalg


def near(x: Any, k: float = 2.0) -> Any:
    """Square matrices that are far from singular."""
    eye = np.eye(x.shape[-1], dtype=str(x.dtype).removeprefix("torch."))
    return x + k * (t.tensor(eye) if isinstance(x, t.Tensor) else eye)


def definite(x: Any) -> Any:
    y = x @ (nn.swapaxes(x, -1, -2) if not isinstance(x, t.Tensor) else x.mT)
    return near(y, 0.5)


for shape in ((3, 3), (2, 3, 3), (1, 1)):
    case(lambda x: L.inv(near(x)), lambda x: M.inv(near(x)), shape, fill=unit, name="inv")
    case(L.det, M.det, shape, name="det")
    case(lambda x: tuple(L.slogdet(near(x))), lambda x: tuple(M.slogdet(near(x))), shape, fill=unit, name="slogdet")
    case(lambda x: L.cholesky(definite(x)), lambda x: M.cholesky(definite(x)), shape, name="cholesky", tolerance=1e-5)
    case(lambda x: L.eigvalsh(definite(x)), lambda x: M.eigvalsh(definite(x)), shape, fill=apart, name="eigvalsh", tolerance=1e-5)
case(L.det, M.det, np.array([[1.0, 2.0], [2.0, 4.0]]), order=1, name="det-singular", smooth=False)  # PyTorch gives 0
case(L.det, M.det, np.zeros((3, 3)), order=1, name="det-zeros")
for shapes in ([(3, 3), (3,)], [(3, 3), (3, 2)], [(2, 3, 3), (2, 3, 2)], [(2, 3, 3), (2, 3)], [(2, 1, 3, 3), (4, 3, 2)], [(2, 3, 3), (3,)]):
    case(lambda a, b: L.solve(near(a), b), lambda a, b: M.solve(near(a), b if b.ndim > 1 or a.ndim < 3 else b[:, None]).squeeze(-1) if b.ndim == 1 and a.ndim > 2 else M.solve(near(a), b), *shapes, fill=unit, name="solve")
graded = np.array([[4.0, 1.0, 0.3], [0.2, 2.0, -0.5], [0.1, 0.4, 1.0]])
case(lambda x: nn.abs(L.eigh(definite(x)).eigenvectors), lambda x: M.eigh(definite(x)).eigenvectors.abs(), graded, name="eigh", tolerance=1e-4)
case(lambda x: nn.sum(L.eigh(definite(x))[0] ** 3), lambda x: (M.eigvalsh(definite(x)) ** 3).sum(), np.eye(3) * 2, order=1, name="eigh-of-equals")
for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2)):
    case(lambda x: L.svdvals(x), lambda x: M.svdvals(x), shape, fill=unit, name="svdvals", tolerance=1e-4)
    case(lambda x: tuple(L.qr(x)), lambda x: tuple(M.qr(x)), shape, name="qr", tolerance=1e-4)
    case(lambda x: L.pinv(x), lambda x: M.pinv(x), shape, fill=above, name="pinv", tolerance=1e-3)
    case(lambda x: L.matrix_rank(x), lambda x: M.matrix_rank(x), shape, order=0, smooth=False, name="matrix_rank")
for wide in (graded, graded[:2], graded[:, :2]):
    for i in (0, 2):
        case(lambda x, i=i: nn.abs(L.svd(x, full_matrices=False)[i]), lambda x, i=i: M.svd(x, full_matrices=False)[i].abs(), wide, name=f"svd{i}", tolerance=1e-4)
    case(lambda x: [m @ nn.swapaxes(m, -1, -2) for m in (L.svd(x)[0], L.svd(x)[2])], lambda x: [m @ m.mT for m in (M.svd(x)[0], M.svd(x)[2])], wide, order=0, smooth=False, name="svd-full")
    case(lambda x: (lambda u, s, v: (u[:, :2] * s[:2]) @ v[:2])(*L.svd(x)), lambda x: (lambda u, s, v: (u[:, :2] * s[:2]) @ v[:2])(*M.svd(x)), wide, order=1, name="svd-low-rank", tolerance=1e-4)
case(lambda x: L.pinv(x), lambda x: M.pinv(x), np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), order=0, smooth=False, name="pinv-of-rank-1")
case(lambda a, b: L.lstsq(a, b).solution, lambda a, b: M.lstsq(a, b).solution, (5, 2), (5, 3), order=1, name="lstsq", tolerance=1e-4)
case(lambda a, b: L.lstsq(a, b).solution, lambda a, b: M.pinv(a) @ b, (5, 2), (5,), name="lstsq-vector", tolerance=1e-4)
for n in (0, 1, 5, -2):
    case(lambda x, n=n: L.matrix_power(near(x), n), lambda x, n=n: M.matrix_power(near(x), n), (3, 3), fill=unit, name=f"matrix_power {n}", tolerance=1e-3)
for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
    case(lambda x, o=order: L.matrix_norm(x, o), lambda x, o=order: M.matrix_norm(x, o), (2, 3, 4), fill=apart, name=f"matrix_norm {order}", tolerance=1e-4)
case(lambda x: L.norm(x, "nuc", (0, 2), True), lambda x: M.norm(x, "nuc", (0, 2), True), (2, 3, 4), fill=apart, name="linalg.norm-axes", tolerance=1e-4)
case(lambda x: L.norm(x, 1), lambda x: M.norm(x, 1), (3, 4), fill=apart, name="linalg.norm-matrix")
case(L.norm, M.norm, (3, 4), name="linalg.norm")
for order in (0, 1, 2.5, -1, np.inf, -np.inf):
    case(lambda x, o=order: L.vector_norm(x, o, 1), lambda x, o=order: M.vector_norm(x, o, 1), (3, 4), fill=apart, name=f"vector_norm {order}", order=2 if order else 0, smooth=bool(order))

# Counting: the shapes of these results depend on values
occurring = np.array([3, 1, 1, 0, 3, 3])
case(lambda x: nn.bincount(x), lambda x: t.bincount(x), occurring, order=0, smooth=False, name="bincount")
case(lambda w: nn.bincount(nn.tensor(occurring) if isinstance(w, nn.Tensor) else occurring, w, 6), lambda w: t.zeros(6, dtype=w.dtype).index_add(0, t.tensor(occurring), w), (6,), name="bincount-weights")
case(lambda x: nn.unique(x, return_inverse=True, return_counts=True), lambda x: t.unique(x, return_inverse=True, return_counts=True), occurring.reshape(2, 3), order=0, smooth=False, name="unique")
case(lambda x: nn.argwhere(x), lambda x: t.argwhere(x), zero, order=0, smooth=False, name="argwhere")
case(lambda x: nn.count_nonzero(x, 1), lambda x: t.count_nonzero(x, 1), ties, order=0, smooth=False, name="counts")

# Reading and writing elements
rows = np.array([[2, 0, 0], [1, 2, 1]])
keys = (
    0, -1, slice(1, None), (slice(None), 1), (..., slice(None, None, 2)), (None, 1), (slice(None), None, 0), np.array([2, 0, 2]),
    (slice(None), np.array([1, 1, 0])), (np.array([0, 2]), np.array([1, 1])), np.array([True, False, True]), (0, 1), (..., 0),
    (np.array([[0, 1], [2, 2]]), slice(1, 3)), slice(0, 0), (slice(None, None, 1), slice(3, 0, 1)), np.zeros(3, bool),
)  # fmt: skip
for i, key in enumerate(keys):
    case(lambda x, k=key: x[k], lambda x, k=key: x[k], (3, 4), name=f"getitem{i}")
case(lambda x: x[::-1], lambda x: x.flip(0), (3, 4), name="getitem-backwards")
case(lambda x: nn.getitem(x, [2, 0, 2]), lambda x: x[[2, 0, 2]], (3, 4), name="getitem-list")
case(lambda x: nn.getitem(x, []), lambda x: x[[]], (3, 4), name="getitem-empty-list")
case(lambda x, v: nn.index_put(x, (np.array([0, 2]), np.array([1, 1])), v), lambda x, v: x.index_put((t.tensor([0, 2]), t.tensor([1, 1])), v), (3, 4), (2,), name="index_put")
case(lambda x, v: nn.index_put(x, (slice(None), 1), v), lambda x, v: t.select_scatter(x, v.expand(3), 1, 1), (3, 4), (1,), name="index_put-column")
case(lambda x, v: nn.scatter_add_at(x, np.array([0, 2, 0]), v), lambda x, v: x.index_add(0, t.tensor([0, 2, 0]), v), (3, 4), (3, 4), name="scatter_add_at")
case(lambda x, v: nn.scatter_add_at(x, slice(1, 3), v), lambda x, v: x + F.pad(v, (0, 0, 1, 0)), (3, 4), (2, 4), name="scatter_add_at-slice")
for axis in (0, 1, -1):
    i = rows % (3 if axis else 2)
    case(lambda x, i=i, a=axis: nn.gather(x, i, a), lambda x, i=i, a=axis: x.gather(a, t.tensor(i)), (2, 3), name=f"gather{axis}")
    case(lambda x, v, i=i, a=axis: nn.scatter_add(x, i, v, a), lambda x, v, i=i, a=axis: x.scatter_add(a, t.tensor(i), v), (2, 3), (2, 3), name=f"scatter_add{axis}")
    j = np.array([[1, 0, 2], [2, 1, 0]]) if axis else np.array([[1, 0, 1], [0, 1, 0]])
    case(lambda x, v, i=j, a=axis: nn.scatter(x, i, v, a), lambda x, v, i=j, a=axis: x.scatter(a, t.tensor(i), v), (2, 3), (2, 3), name=f"scatter{axis}")
case(lambda x: nn.gather(x, rows[:, :1], 1), lambda x: x.gather(1, t.tensor(rows[:, :1])), (2, 3), name="gather-few")
case(lambda x: nn.take(x, rows, 1), lambda x: x[:, t.tensor(rows)], (2, 3), name="take")
case(lambda x: nn.take(x, np.array([1, 0]), -2), lambda x: x.index_select(-2, t.tensor([1, 0])), (2, 3, 4), name="take-negative")
case(lambda w: nn.embedding(w, rows), lambda w: F.embedding(t.tensor(rows), w), (4, 3), name="embedding")
case(lambda w: nn.embedding(w, rows[:0]), lambda w: F.embedding(t.tensor(rows[:0]), w), (4, 3), name="embedding-none")

# Segments: one without rows, others in any order
segments = np.array([2, 0, 2, 4, 0, 2])
S = t.tensor(segments)
tied = np.array([[1.0, 2.0], [0.5, 0.5], [1.0, -3.0], [0.7, 0.7], [0.5, 0.25], [-1.0, 2.0]])


def torch_max(x: Any, n: int = 5) -> Any:
    wide = S[:, None].expand(-1, x.shape[1])
    return t.zeros(n, x.shape[1], dtype=x.dtype).scatter_reduce(0, wide, x, "amax", include_self=False)


def torch_softmax(x: Any) -> Any:
    return t.cat([F.softmax(x[s == S], 0) for s in (0, 2, 4)])[t.tensor([2, 0, 3, 5, 1, 4])]


case(lambda x: nn.segment_sum(x, segments, 5), lambda x: t.zeros(5, 3, dtype=x.dtype).index_add(0, S, x), (6, 3), name="segment_sum")
case(lambda x: nn.segment_sum(x, segments, 5), lambda x: t.zeros(5, dtype=x.dtype).index_add(0, S, x), (6,), name="segment_sum-1")
case(lambda x: nn.segment_sum(x, segments[:0], 3), lambda x: t.zeros(3, 2, dtype=x.dtype) + x.sum(), (0, 2), name="segment_sum-none")
case(
    lambda x: nn.segment_mean(x, segments, 5),
    lambda x: t.zeros(5, 3, dtype=x.dtype).scatter_reduce(0, S[:, None].expand(-1, 3), x, "mean", include_self=False),
    (6, 3), name="segment_mean",
)  # fmt: skip
case(lambda x: nn.segment_max(x, segments, 5), torch_max, (6, 3), fill=apart, name="segment_max")
case(lambda x: nn.segment_max(x, segments, 5), torch_max, tied, order=0, name="segment_max-ties")
case(lambda x: nn.segment_softmax(x, segments, 5), torch_softmax, (6, 3), name="segment_softmax")
case(lambda x: nn.segment_softmax(x, segments, 5), torch_softmax, tied * 1e3, order=0, name="segment_softmax-large")
for down in (False, True):
    for data in ((3, 4), ties):
        n = 2 if isinstance(data, tuple) else 0
        case(lambda x, d=down: nn.sort(x, 1, d), lambda x, d=down: x.sort(dim=1, descending=d, stable=True), data, fill=apart, order=n, name="sort")
        case(lambda x, d=down: nn.argsort(x, 0, d), lambda x, d=down: x.argsort(dim=0, descending=d, stable=True), data, order=0, smooth=False, name="argsort")
    case(lambda x, d=down: nn.topk(x, 2, 1, d), lambda x, d=down: x.topk(2, 1, d), (3, 4), fill=apart, name="topk")
case(lambda x: nn.argsort(x, descending=True), lambda x: x.argsort(descending=True, stable=True), np.array([1.0, np.nan, 3.0]), order=0, smooth=False, name="argsort-nan")
case(lambda x: nn.topk(x, 0, 0), lambda x: x.topk(0, 0), (3,), name="topk0")
case(lambda x: nn.median(x, axis=1), lambda x: x.median(1).values, (3, 4), fill=apart, name="median")
case(nn.median, t.median, (3, 4), fill=apart)
for name in ("max", "min", "median"):
    for keep in (False, True):
        case(lambda x, n=name, k=keep: tuple(getattr(nn, n)(x, dim=1, keepdims=k)), lambda x, n=name, k=keep: tuple(getattr(t, n)(x, 1, k)), (3, 4), fill=apart, name=f"{name}-dim")
case(lambda x, y: nn.max(x, y), t.max, (3, 4), (4,), name="max-of-two")
case(lambda x: nn.transpose(x, 0, 2), lambda x: x.transpose(0, 2), (2, 3, 4), name="transpose-two")
case(lambda x: nn.gather(x, 1, np.array([[1], [0]])), lambda x: x.gather(1, t.tensor([[1], [0]])), (2, 3), name="gather-as-pytorch")
case(lambda x: nn.nonzero(x, as_tuple=False), lambda x: x.nonzero(), np.array([[0.0, 1.0], [2.0, 0.0]]), order=0, smooth=False, name="nonzero-rows")
case(lambda x: nn.nonzero(x, as_tuple=True), lambda x: x.nonzero(as_tuple=True), np.array([[0.0, 1.0], [2.0, 0.0]]), order=0, smooth=False, name="nonzero")

# Convolution: every combination of stride, padding, dilation and groups in one dimension, a choice in two and three
for stride in (1, 2, 3):
    for padding in (0, 2):
        for dilation in (1, 2):
            for groups in (1, 2):
                how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
                o = 2 if stride == 2 else 1
                case(lambda *x, how=how: nn.conv(*x, **how), lambda *x, how=how: F.conv1d(*x, **how), (2, 4, 9), (6, 4 // groups, 3), (6,), name=f"conv1d {how}", order=o)
                for extra in {0, max(stride, dilation) - 1}:
                    more = how | {"output_padding": extra}
                    case(lambda *x, how=more: nn.conv_transpose(*x, **how), lambda *x, how=more: F.conv_transpose1d(*x, **how), (2, 4, 5), (4, 6 // groups, 3), (6 // groups * groups,), name=f"conv_transpose1d {more}", order=o)
for how in (
    {}, {"stride": 2, "padding": 1}, {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1)}, {"groups": 2, "padding": 1},
    {"padding": "valid"}, {"groups": 4, "stride": 3, "padding": 2},
):  # fmt: skip
    g = how.get("groups", 1)
    case(lambda *x, how=how: nn.conv(*x, **how), lambda *x, how=how: F.conv2d(*x, **how), (2, 4, 6, 5), (4, 4 // g, 3, 2), (4,), name=f"conv2d {how}", order=1)
case(lambda *x: nn.conv(*x, stride=2, padding=1), lambda *x: F.conv2d(*x, stride=2, padding=1), (1, 2, 4, 4), (2, 2, 3, 3), name="conv2d-second")
for d in (1, 2):
    case(lambda *x, d=d: nn.conv(*x, padding="same", dilation=d), lambda *x, d=d: F.conv2d(*x, padding="same", dilation=d), (2, 2, 6, 5), (3, 2, 3, 5), name="conv2d-same", order=1)
case(lambda *x: nn.conv(*x, padding="same", dilation=2), lambda *x: F.conv1d(*x, padding="same", dilation=2), (2, 2, 6), (3, 2, 4), name="conv1d-same-even", order=1)
case(lambda *x: nn.conv(*x), F.conv2d, (0, 2, 4, 4), (2, 2, 3, 3), name="conv2d-empty")
for how in ({"stride": 2, "padding": 1, "output_padding": 1}, {"stride": (2, 1), "padding": (0, 1), "groups": 2}, {"dilation": 2}):
    g = how.get("groups", 1)
    case(lambda *x, how=how: nn.conv_transpose(*x, **how), lambda *x, how=how: F.conv_transpose2d(*x, **how), (2, 4, 3, 4), (4, 4 // g, 3, 2), (4,), name=f"conv_transpose2d {how}", order=1)
case(lambda *x: nn.conv(*x, stride=2, padding=1), lambda *x: F.conv3d(*x, stride=2, padding=1), (1, 2, 4, 3, 4), (2, 2, 2, 3, 2), (2,), name="conv3d", order=1)
case(lambda *x: nn.conv_transpose(*x, stride=2), lambda *x: F.conv_transpose3d(*x, stride=2), (1, 2, 2, 2, 2), (2, 2, 2, 2, 2), (2,), name="conv_transpose3d", order=1)

# Pooling
for how in (
    {"kernel": 2}, {"kernel": 3, "stride": 2, "padding": 1}, {"kernel": (3, 2), "stride": (1, 2), "padding": (1, 0)},
    {"kernel": 2, "stride": 2, "ceil_mode": True}, {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
    {"kernel": 2, "stride": 3, "ceil_mode": True}, {"kernel": 3, "stride": 4, "padding": 1, "ceil_mode": True}, {"kernel": 3, "stride": 1},
):  # fmt: skip
    theirs = {"kernel_size" if k == "kernel" else k: v for k, v in how.items()}
    case(lambda x, h=how: nn.max_pool(x, **h), lambda x, h=theirs: F.max_pool2d(x, **h), (2, 2, 7, 5), fill=apart, name=f"max_pool {how}", order=1)
    for count in (True, False):
        case(lambda x, h=how, c=count: nn.avg_pool(x, count_include_pad=c, **h), lambda x, h=theirs, c=count: F.avg_pool2d(x, count_include_pad=c, **h), (2, 2, 7, 5), name=f"avg_pool {how} {count}", order=1)
case(lambda x: nn.max_pool(x, 2, dilation=2), lambda x: F.max_pool1d(x, 2, dilation=2), (2, 2, 7), fill=apart, name="max_pool1d-dilated")
case(lambda x: nn.max_pool(x, 2, 1), lambda x: F.max_pool3d(x, 2, 1), (1, 2, 3, 3, 2), fill=apart, name="max_pool3d")
case(lambda x: nn.avg_pool(x, 2, 1), lambda x: F.avg_pool3d(x, 2, 1), (1, 2, 3, 3, 2), name="avg_pool3d")
case(lambda x: nn.max_pool(x, 2), lambda x: F.max_pool2d(x, 2), np.ones((1, 1, 4, 4)), order=0, name="max_pool-ties")
for size in (1, 2, 3, (5, 2), 7, (2, 5)):
    case(lambda x, s=size: nn.adaptive_avg_pool(x, s), lambda x, s=size: F.adaptive_avg_pool2d(x, s), (1, 2, 7, 4), name=f"adaptive_avg {size}", order=1)
    case(lambda x, s=size: nn.adaptive_max_pool(x, s), lambda x, s=size: F.adaptive_max_pool2d(x, s), (1, 2, 7, 4), fill=apart, name=f"adaptive_max {size}", order=1)
case(lambda x: nn.adaptive_max_pool(x, 3), lambda x: F.adaptive_max_pool1d(x, 3), np.ones((1, 1, 7)), order=0, name="adaptive_max-ties")
case(lambda x: nn.adaptive_avg_pool(x, 2), lambda x: F.adaptive_avg_pool3d(x, 2), (1, 1, 4, 3, 2), name="adaptive_avg3d")

# Patches and interpolation
case(lambda x: nn.unfold(x, 2, padding=1, stride=2), lambda x: F.unfold(x, 2, padding=1, stride=2), (2, 3, 4, 5), name="unfold")
case(lambda x: nn.unfold(x, (3, 2), dilation=2), lambda x: F.unfold(x, (3, 2), dilation=2), (1, 2, 6, 5), name="unfold-dilated")
for mode, names in (("nearest", ("nearest",) * 3), ("linear", ("linear", "bilinear", "trilinear")), ("area", ("area",) * 3)):
    for n, their_mode in enumerate(names, start=1):
        shape = (1, 2, 5, 4, 3)[: n + 2]
        for size in ((7, 8, 3)[:n], (3, 2, 1)[:n]):
            case(lambda x, m=mode, s=size: nn.interpolate(x, s, mode=m), lambda x, m=their_mode, s=size: F.interpolate(x, s, mode=m), shape, name=f"interpolate {mode} {size}", order=1)
            if mode == "linear":
                case(lambda x, s=size: nn.interpolate(x, s, mode="linear", align_corners=True), lambda x, m=their_mode, s=size: F.interpolate(x, s, mode=m, align_corners=True), shape, name=f"interpolate corners {size}", order=1)
    for scale in (2.0, 0.5, 1.7, (0.6, 3.0)):
        case(lambda x, m=mode, s=scale: nn.interpolate(x, scale=s, mode=m), lambda x, m=names[1], s=scale: F.interpolate(x, scale_factor=s, mode=m), (1, 1, 5, 4), name=f"interpolate {mode} x{scale}", order=1)
for size in ((7, 8), (3, 2), (5, 4), (1, 9)):
    for corners in (False, True):
        case(lambda x, s=size, c=corners: nn.interpolate(x, s, mode="cubic", align_corners=c), lambda x, s=size, c=corners: F.interpolate(x, s, mode="bicubic", align_corners=c), (1, 2, 5, 4), name=f"interpolate cubic {size} {corners}", order=1)
case(lambda x: nn.interpolate(x, scale=(1.7, 0.6), mode="cubic"), lambda x: F.interpolate(x, scale_factor=(1.7, 0.6), mode="bicubic"), (1, 1, 5, 4), name="interpolate cubic x1.7", order=1)
