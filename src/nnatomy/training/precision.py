"""Which floating-point numbers a step computes in: one type throughout, or half precision around float32 weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.backends import B
from nnatomy.data.fields import Field
from nnatomy.errors import UserError, unknown_name
from nnatomy.tensor import Tensor


@dataclass(frozen=True)
class Precision:
    """`master`: the type of weights, optimizer state and evaluation. `half`: that of forward and backward, if narrower.

    In half precision, losses, softmax and the statistics of normalization are still computed in float32, and so are the running
    statistics, which are in buffers named running_*.
    """

    name: str
    master: str = "float32"
    half: str | None = None
    scaled: bool = False
    """True if gradients need loss scaling: float16 cannot hold small ones, bfloat16 has float32's range."""
    matmul: str = "highest"
    """JAX's name for the precision of float32 products: "highest" is float32 itself."""

    def inputs(self, fields: tuple[Field, ...], batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a batch as the model takes it: inputs in the type of the forward pass, targets in the master's."""
        if self.half is None and self.master == "float32":
            return batch
        wanted = [self.master if field.role == "target" else self.half or self.master for field in fields]
        return tuple(a.astype(dtype) if _floating(a) else a for a, dtype in zip(batch, wanted))

    def evaluated(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return a batch as the master weights take it."""
        return tuple(a.astype(self.master) if _floating(a) and a.dtype != self.master else a for a in batch)

    @contextmanager
    def lowered(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """A block in which parameters and buffers have the type of forward; running statistics keep theirs."""
        low: dict[str, Any] = {}
        masters: dict[str, Any] = {}
        for name, t in tensors.items() if self.half is not None else ():
            if t.data.dtype.kind == "f" and not name.rpartition(".")[2].startswith("running_"):
                masters[name] = t.data
                t.data = low[name] = t.data.astype(self.half)
        try:
            yield
        finally:
            for name, master in masters.items():
                t = tensors[name]
                t.data = master if t.data is low[name] else t.data.astype(self.master)  # a buffer may have been changed


def _floating(a: Any) -> bool:
    return np.dtype(a.dtype).kind == "f" or str(a.dtype) == "bfloat16"


FLOAT32 = Precision("float32")
PRECISIONS = {
    p.name: p
    for p in (
        FLOAT32,
        Precision("tf32", matmul="tensorfloat32"),
        Precision("bfloat16", half="bfloat16"),
        Precision("float16", half="float16", scaled=True),
        Precision("float64", master="float64"),
    )
}


def precision_named(name: str, backend: str) -> Precision:
    """The precision of that name. Raises UserError for another name, and for one that the backend does not have."""
    if name not in PRECISIONS:
        raise unknown_name("precision", name, PRECISIONS)
    if backend == "numpy" and name not in ("float32", "float64"):
        raise UserError(f"--precision {name} needs a backend with such numbers. Received --backend numpy. Add --backend jax.")
    return PRECISIONS[name]


class Scaling:
    """Loss scaling for float16 (Micikevicius et al. 2018, section 3.2): gradients are those of `scale` times the loss.

    A step whose gradients overflow changes no weights and halves the scale; it doubles after `interval` steps that did not.
    """

    def __init__(self, scale: float = 2.0**15, interval: int = 2000) -> None:
        self.scale: Any = scale
        self.fine: Any = 0  # steps since the scale last changed
        self.interval = interval

    def state(self) -> dict[str, Any]:
        """The arrays that a step's state holds of it."""
        return {"scale": B.asarray(self.scale, dtype="float32"), "fine": B.asarray(self.fine, dtype="int32")}

    def bind(self, state: Mapping[str, Any]) -> None:
        """Set it to `state`."""
        self.scale, self.fine = state["scale"], state["fine"]

    def select_finite(self, old: dict[str, Any], new: dict[str, Any], parameters: Iterable[Tensor]) -> dict[str, Any]:
        """The state after a step: `new` where all gradients are finite; else `old`, but for the random generator."""
        finite = B.asarray(True)
        for p in parameters:
            if p.grad is not None:
                finite = B.logical_and(finite, B.isfinite(p.grad.data).all())
        grown = B.logical_and(finite, self.fine + 1 >= self.interval)
        scale = B.where(finite, B.where(grown, self.scale * 2, self.scale), B.maximum(self.scale / 2, 1.0))
        fine = B.where(B.logical_and(finite, B.logical_not(grown)), self.fine + 1, 0)
        kept = {key: _chosen(finite, new[key], old[key]) for key in new if key not in ("generator", "own")}
        scaling = {"scale": scale.astype("float32"), "fine": fine.astype("int32")}
        return kept | {"generator": new["generator"], "own": {"scaling": scaling}}


def _chosen(first: Any, new: Any, old: Any) -> Any:
    """`new` where `first` is true, else `old`, leaf by leaf."""
    if isinstance(new, dict):
        return {key: _chosen(first, new[key], old[key]) for key in new}
    if isinstance(new, list | tuple):
        return [_chosen(first, a, b) for a, b in zip(new, old)]
    return new if new is old else B.where(first, new, old)
