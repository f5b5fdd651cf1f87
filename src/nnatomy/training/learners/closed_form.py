"""Closed forms: sums over batches, then a solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnatomy import ops
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.functional import masked_examples
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.training.learners.learner import Batch, Learner, LearnerSpec, Loss, Setup, Tree

Sums = dict[str, Tensor]


@dataclass(frozen=True)
class ClosedForm(LearnerSpec):
    """The exact minimum of an objective that depends on the data through sums: S <- S + s(batch), then W = solve(S).

    The sums start again each epoch, so that one epoch is enough and more change nothing.
    """

    begin_sums: Callable[..., Mapping[str, Any]]
    """begin_sums(model, **settings) -> arrays by name, usually zeros in float64."""
    absorb: Callable[..., Mapping[str, Tensor]]
    """absorb(model, sums, *batch, mask) -> sums with a batch added; `mask` (batch,) is 0 where a row is padding, or None."""
    solve: Callable[..., None]
    """solve(model, sums, **settings): sets the model's weights; eager, on NumPy arrays."""
    loss: Loss | None = None
    """loss(model, *batch) -> (loss, outputs): the objective, which evaluation reports."""
    options: Mapping[str, Any] | None = None
    """Settings, such as the ridge: keyword arguments of `begin_sums` and `solve`."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        return {} if self.loss is None else {"loss": self.loss}

    def settings(self) -> dict[str, Any]:
        return dict(self.options or {})

    def changed(self, name: str, value: Any) -> ClosedForm:
        if name not in self.settings():
            raise KeyError(name)
        return replace(self, options={**self.settings(), name: value})

    def plain(self) -> dict[str, Any]:
        return {"learner": type(self).__name__, "solve": getattr(self.solve, "__name__", str(self.solve)), **self.settings()}

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> ClosedFormLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return ClosedFormLearner(self, model, dataset, setup)


class ClosedFormLearner(Learner):
    """The sums so far."""

    def __init__(self, spec: ClosedForm, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        self.spec = spec
        self._zeros = {name: np.asarray(a) for name, a in spec.begin_sums(model, **spec.settings()).items()}
        if not self._zeros:
            raise UserError("A closed form is solved from sums. Received none from begin_sums. Return at least one array.")
        self.sums: Sums = {name: Tensor(a.copy()) for name, a in self._zeros.items()}

    def own_state(self) -> Tree:
        return {name: t.data for name, t in self.sums.items()}

    def bind_own(self, tree: Tree) -> None:
        for name, t in self.sums.items():
            t.data = tree[name]

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        with no_grad(), masked_examples(mask):
            inputs = self.precision.inputs(self.named(batch), batch)
            kept = None if mask is None else Tensor(mask).astype("float32")
            for name, new in self.spec.absorb(self.model, dict(self.sums), *inputs, mask=kept).items():
                self.sums[name].data = new.astype(self._zeros[name].dtype).data
            first = next(iter(self.sums.values()))
            return {"loss": ops.sum(first * 0.0).astype("float32")}

    def end_epoch(self) -> None:
        sums = {name: np.asarray(t.data) for name, t in self.sums.items()}
        self.spec.solve(self.model, sums, **self.spec.settings())
        for name, t in self.sums.items():
            t.data = Tensor(self._zeros[name].copy()).data
