"""Architectures behind scikit-learn's interface: what its classifier and its regressor share."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from nnatomy import backends, random
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import ArraySplit, Dataset, Preprocessing, Split, SubsetSplit
from nnatomy.data.fields import DEFAULT, Field
from nnatomy.errors import UserError
from nnatomy.functional import masked_examples
from nnatomy.layers.module import Module
from nnatomy.runs.options import INTEGER, NUMBER, PAIRS, SWITCH, OptionType, parse_option
from nnatomy.runs.own import Build, Own, check_model, own_model
from nnatomy.tasks import Task, forward, task_for
from nnatomy.tasks.forward import evaluating
from nnatomy.tensor import Tensor
from nnatomy.training.fit import Checkpoint, fit
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.position import Position
from nnatomy.training.precision import FLOAT32
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

Array = np.ndarray[Any, Any]
WEIGHTED = (*DEFAULT, Field("weights", role="weight"))
KINDS = {False: "table", True: "image"}
"""The kind of data that rows are, by whether they have an `input_shape`."""
HELD_OUT = 0.1
"""The fraction of the rows that choose the best epoch, where that is wanted and no fraction is given."""


class _AsGiven(Preprocessing):
    """Arrays that need no preparation beyond what the estimator does."""

    kind = "arrays"

    def __init__(self, numbers: Sequence[int] = ()) -> None:
        """`numbers`: the columns whose values a model may embed; all, where that was requested."""
        self.numbers = tuple(numbers)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> _AsGiven:
        return cls()

    def transform(self, raw: Any) -> tuple[Array, ...]:
        return (np.asarray(raw, np.float32),)


class Neural(BaseEstimator):  # type: ignore[misc]
    """The common part of both estimators: a recipe, fitted on arrays.

    `architecture`: a name, a folder's path, a Module, which every fit copies, or a function that makes one: model() or
    model(dataset). `loss`, `optimizer`: of a Module, as for `nn.train`. `backend`, `device`: where it learns, if not on the
    active backend, which predicts. `early_stopping`: a `validation_fraction` of the rows (a tenth unless given) chooses the
    best epoch, and `n_iter_no_change` epochs without a better one end the training. `warm_start`: fit begins with the weights
    and the scaling of the last fit.
    """

    _task: str
    model_: Module
    _learned: tuple[int, int, dict[str, Any]]
    """The epochs and the steps so far, and the learner's state after them."""

    def __init__(
        self, architecture: Any = "mlp", *, epochs: int | None = None, batch_size: int | None = None, lr: float | None = None,
        settings: Mapping[str, Any] | None = None, input_shape: tuple[int, ...] | None = None, random_state: Any = None,
        validation_fraction: float | None = None, early_stopping: bool = False, n_iter_no_change: int = 10,
        warm_start: bool = False, backend: str | None = None, device: str | None = None, loss: Any = None,
        optimizer: Any = None,
    ) -> None:  # fmt: skip
        self.architecture = architecture
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.settings = settings
        self.input_shape = input_shape
        self.random_state = random_state
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.backend = backend
        self.device = device
        self.loss = loss
        self.optimizer = optimizer

    def _option(self, kind: OptionType, name: str) -> Any:
        value = getattr(self, name)
        return None if value is None else parse_option(kind, name, value, type(self).__name__)

    def _settings(self) -> dict[str, Any]:
        return self._option(PAIRS, "settings") or {}

    def _stops_early(self) -> bool:
        return bool(self._option(SWITCH, "early_stopping"))

    # Recipes

    def _recipe(self, dataset: Dataset) -> Recipe:
        """The recipe that fits the data, with the user's choices in it."""
        named = isinstance(self.architecture, str | PathLike)
        model = copy.deepcopy(self.architecture) if isinstance(self.architecture, Module) else self.architecture
        own = Own(None if named else model, loss=self.loss, optimizer=self.optimizer)
        recipe = self._named_recipe(dataset.kind) if named else own_model(own, dataset)[0].recipe
        epochs, batch_size = self._option(INTEGER, "epochs"), self._option(INTEGER, "batch_size")
        recipe = override(recipe, self._settings(), epochs=epochs, batch_size=batch_size, lr=self._option(NUMBER, "lr"))
        if not self._stops_early() or "patience" in self._settings():
            return recipe
        patience = self._option(INTEGER, "n_iter_no_change")
        if patience is None or patience < 1:
            raise UserError(f"n_iter_no_change counts epochs. Received {patience}. Give a whole number from 1.")
        return replace(recipe, patience=patience)

    def _named_recipe(self, kind: str) -> Recipe:
        known = [r for r in find_architecture(self.architecture).recipes if self._task in r.task_names]
        recipes = [r for r in known if r.kind == kind]
        if not recipes:
            rest = ", such as mlp"
            if any(r.kind == KINDS[self.input_shape is None] for r in known):
                rest = ", or give input_shape=(channels, height, width)" if self.input_shape is None else ", or no input_shape"
            raise UserError(
                f"An architecture needs a recipe for {self._task} on {kind} data. Received {self.architecture}, without one. "
                f"Choose another architecture{rest}."
            )
        return recipes[0]

    # Rows

    def _shaped(self, x: Array) -> Array:
        if self.input_shape is None:
            return x
        try:
            shape = tuple(INTEGER.read(side) for side in self.input_shape)
        except TypeError:
            shape = ()
        if not shape or min(shape) < 1:
            raise UserError(
                f"input_shape has whole numbers from 1. Received {self.input_shape!r}. Give, for example, (1, 28, 28)."
            )
        if x.shape[1] != int(np.prod(shape)):
            raise UserError(
                f"input_shape {shape} needs {int(np.prod(shape))} features a row. Received {x.shape[1]}. "
                "Give rows of flattened images."
            )
        return x.reshape(len(x), *shape)

    def _weighed(self, x: Array, y: Array, weights: Any) -> tuple[Array, Array, Array | None]:
        """Rows of weight above 0, and their weights; None where all are alike."""
        if weights is None:
            return x, y, None
        weights = _check_sample_weight(weights, x, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        x, y, weights = x[kept], y[kept], weights[kept]
        return x, y, None if (weights == weights[0]).all() else weights

    def _split(self, count: int, labels: Array | None) -> tuple[Array, Array]:
        """The rows that are trained on, and those that choose the best epoch, where that was requested."""
        early = self._stops_early()
        fraction = self._option(NUMBER, "validation_fraction")
        if fraction is None:
            fraction = HELD_OUT if early or {"patience", "plateau"} & set(self._settings()) else 0.0
        if not 0 <= fraction < 1:
            raise UserError(f"validation_fraction is a fraction of the rows. Received {fraction!r}. Give one such as 0.1.")
        rows = np.arange(count)
        if fraction == 0:
            if early:
                raise UserError("early_stopping needs rows that choose the epoch. Received validation_fraction=0. Give 0.1.")
            return rows, rows[:0]
        from sklearn.model_selection import train_test_split

        state = check_random_state(self.random_state)
        train, held = train_test_split(rows, test_size=fraction, random_state=state, stratify=labels)
        return np.sort(train), np.sort(held)

    # Training

    def _fit(
        self, x: Array, y: Array, classes: tuple[str, ...], outputs: int, weights: Array | None, *, onward: bool = False
    ) -> None:
        """Train on rows of weight above 0; `onward`, one more epoch of the training so far, at a constant learning rate."""
        if onward and self._stops_early():
            raise UserError("partial_fit() has no rows to choose an epoch by. Received early_stopping=True. Use fit().")
        again = hasattr(self, "model_") and (onward or bool(self._option(SWITCH, "warm_start")))
        if not again:
            self._scaler = StandardScaler().fit(x, sample_weight=weights)
        inputs = self._shaped(self._scaler.transform(x).astype(np.float32))
        whole: Split = ArraySplit((inputs, y))
        embedded = range(inputs.shape[1]) if "bins" in self._settings() else ()
        train, held = (np.arange(len(x)), np.arange(0)) if onward else self._split(len(x), y if classes else None)
        dataset = Dataset(
            "arrays", KINDS[self.input_shape is not None], self._goal(), SubsetSplit(whole, train),
            SubsetSplit(whole, held), ArraySplit((inputs[:0], y[:0])), classes, _AsGiven(embedded), (), inputs.shape[1:],
            f"{len(x)} rows", outputs,
        )  # fmt: skip
        recipe = self._recipe(dataset)
        recipe = replace(recipe, batch_size=min(recipe.batch_size, len(x)))
        checkpoint = None
        if onward:
            learn = recipe.learn.changed("schedule", "none") if "schedule" in recipe.learn.settings() else recipe.learn
            done = self._learned[0] if again else 0
            recipe = replace(recipe, learn=learn, epochs=done + 1, patience=None, plateau=None)
            if again:
                position = Position(epoch=done, step=self._learned[1])
                checkpoint = Checkpoint(self._learned[2], position, {}, {}, {})
        if not (onward and again):
            self._seed = int(check_random_state(self.random_state).randint(2**31))
        here = self.backend is None and self.device is None
        before = random.default.state_dict()
        try:
            with nullcontext() if here else backends.backend(self.backend or backends.current(), self.device):
                random.seed(self._seed)
                model = copy.deepcopy(self.model_) if again else recipe.build(dataset, **recipe.options)
                model.astype("float32").to_backend()
                task: Task = task_for(recipe, dataset)
                if isinstance(recipe.build, Build):
                    check_model(model, recipe, dataset, FLOAT32, task)
                if weights is not None:
                    require_weights(recipe, model, dataset)
                    heavy = ArraySplit((inputs, y, (weights / weights.mean()).astype(np.float32)), WEIGHTED)
                    dataset = replace(dataset, train=SubsetSplit(heavy, train), validation=SubsetSplit(heavy, held))
                fitted = fit(recipe, model, dataset, task, self._seed, checkpoint=checkpoint)
            state = Devices().to_host(fitted.state)
            self._learned = fitted.position.epoch, fitted.position.step, state
            model.to_backend()
            model.eval().astype("float64")  # so that a row's output does not depend on the rows around it
        finally:
            random.default.load_state_dict(before)
        self.model_ = model
        self._task_ = task
        self.n_iter_ = fitted.position.epoch

    def _goal(self) -> str:
        """The task that is learned from the rows."""
        return self._task

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self, "model_")
        x = validate_data(self, x, reset=False)
        inputs = self._shaped(self._scaler.transform(x).astype(np.float64))
        out = self._task_.recipe.decide(forward(self.model_, (inputs,)))
        return np.asarray(out.data, np.float64)


def require_weights(recipe: Recipe, model: Module, dataset: Dataset) -> None:
    """Raise UserError where a learner or a loss does not heed the weights of rows."""
    if "weights" not in recipe.learn.can:
        raise UserError(
            f"Weights of rows and classes scale a loss. Received some for a learner by {type(recipe.learn).__name__}. "
            "Leave them out, or choose another architecture, such as mlp."
        )
    batch = dataset.train.take(np.arange(min(8, len(dataset.train))))
    kept, found = random.default.state_dict(), []
    for weight in (1.0, 2.0):
        random.default.load_state_dict(kept)
        with evaluating(model), masked_examples(np.full(len(batch[0]), weight, np.float32)):
            loss, _ = next(iter(recipe.learn.losses.values()))(model, *map(Tensor, batch))
        found.append(float(loss.data))
    if found[0] == found[1] != 0:
        raise UserError(
            "A loss heeds the weights of rows if it averages by nn.functional.batch_mean. Received weights, and a loss that is "
            "the same without. End it with batch_mean, or leave them out."
        )
