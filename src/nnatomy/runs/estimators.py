"""Architectures as scikit-learn estimators: fit, predict, score, in pipelines and searches as any other."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from os import PathLike
from typing import Any, Self, cast

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from nnatomy import backends, random
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import ArraySplit, Dataset, Preprocessing, Split, SubsetSplit
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.runs.options import PAIRS, parse_option
from nnatomy.runs.own import Build, Own, check_model, own_model
from nnatomy.tasks import Classification, Task, task_for
from nnatomy.training.fit import fit
from nnatomy.training.precision import FLOAT32
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

Array = np.ndarray[Any, Any]


class _AsGiven(Preprocessing):
    """Arrays that need no preparation beyond what the estimator does."""

    kind = "arrays"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> _AsGiven:
        return cls()

    def transform(self, raw: Any) -> tuple[Array, ...]:
        return (np.asarray(raw, np.float32),)


class _Neural(BaseEstimator):  # type: ignore[misc]
    """The common part of both estimators: a recipe, fitted on arrays.

    `architecture`: a name, a folder's path, a Module, which every fit copies, or a function that makes one: model() or
    model(dataset). `loss`, `optimizer`: of a Module, as for `nn.train`. `backend`, `device`: where it learns, if not on the
    active backend, which predicts.
    """

    _task: str

    def __init__(
        self, architecture: Any = "mlp", *, epochs: int | None = None, batch_size: int | None = None, lr: float | None = None,
        settings: Mapping[str, Any] | None = None, input_shape: tuple[int, ...] | None = None, random_state: Any = None,
        validation_fraction: float | None = None, backend: str | None = None, device: str | None = None,
        loss: Any = None, optimizer: Any = None,
    ) -> None:  # fmt: skip
        self.architecture = architecture
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.settings = settings
        self.input_shape = input_shape
        self.random_state = random_state
        self.validation_fraction = validation_fraction
        self.backend = backend
        self.device = device
        self.loss = loss
        self.optimizer = optimizer

    def _recipe(self, dataset: Dataset) -> Recipe:
        named = isinstance(self.architecture, str | PathLike)
        model = copy.deepcopy(self.architecture) if isinstance(self.architecture, Module) else self.architecture
        own = Own(None if named else model, loss=self.loss, optimizer=self.optimizer)
        recipe = self._named_recipe(dataset.kind) if named else own_model(own, dataset)[0].recipe
        settings = parse_option(PAIRS, "settings", self.settings or {}, type(self).__name__)
        return override(recipe, settings, epochs=self.epochs, batch_size=self.batch_size, lr=self.lr)

    def _named_recipe(self, kind: str) -> Recipe:
        recipes = [r for r in find_architecture(self.architecture).recipes if r.kind == kind and self._task in r.task_names]
        if not recipes:
            raise UserError(
                f"The architecture {self.architecture} has no recipe for {self._task} on {kind} data; "
                + "choose another architecture"
                + (", or give input_shape=(channels, height, width)." if self.input_shape is None else ".")
            )
        return recipes[0]

    def _shaped(self, x: Array) -> Array:
        if self.input_shape is None:
            return x
        if x.shape[1] != int(np.prod(self.input_shape)):
            raise UserError(
                f"input_shape {self.input_shape} needs {int(np.prod(self.input_shape))} features a row. Received {x.shape[1]}. "
                "Give rows of flattened images."
            )
        return x.reshape(len(x), *self.input_shape)

    def _fit(self, x: Array, y: Array, classes: tuple[str, ...], outputs: int) -> None:
        self._scaler = StandardScaler().fit(x)
        inputs = self._shaped(self._scaler.transform(x).astype(np.float32))
        nothing = ArraySplit((inputs[:0], y[:0]))
        whole = ArraySplit((inputs, y))
        train, validation = self._split(whole, y if classes else None)
        dataset = Dataset(
            "arrays", "table" if self.input_shape is None else "image", self._task, train, validation, nothing,
            classes, _AsGiven(), (), inputs.shape[1:], f"{len(x)} rows", outputs,
        )  # fmt: skip
        recipe = self._recipe(dataset)
        seed = int(check_random_state(self.random_state).randint(2**31))
        here = self.backend is None and self.device is None
        before = random.default.state_dict()
        try:
            with nullcontext() if here else backends.backend(self.backend or backends.current(), self.device):
                random.seed(seed)
                self.model_: Module = recipe.build(dataset, **recipe.options)
                self._task_: Task = task_for(recipe, dataset)
                if isinstance(recipe.build, Build):
                    check_model(self.model_.astype("float32").to_backend(), recipe, dataset, FLOAT32, self._task_)
                fitted = fit(
                    replace(recipe, batch_size=min(recipe.batch_size, len(x))), self.model_, dataset, self._task_, seed
                )
            self.model_.to_backend()
            self.model_.eval().astype("float64")  # so that a row's output does not depend on the rows around it
        finally:
            random.default.load_state_dict(before)
        self.n_iter_ = fitted.position.epoch

    def _split(self, whole: ArraySplit, labels: Array | None) -> tuple[Split, Split]:
        """The rows that are trained on, and those that choose the best epoch, where that was requested."""
        fraction = self.validation_fraction
        if fraction is None:
            fraction = 0.1 if {"patience", "plateau"} & set(self.settings or {}) else 0.0
        if not 0 <= fraction < 1:
            raise UserError(f"validation_fraction is a fraction of the rows. Received {fraction!r}. Give one such as 0.1.")
        if fraction == 0:
            return whole, SubsetSplit(whole, np.arange(0))
        from sklearn.model_selection import train_test_split

        rows, state = np.arange(len(whole)), check_random_state(self.random_state)
        train, held = train_test_split(rows, test_size=fraction, random_state=state, stratify=labels)
        return SubsetSplit(whole, np.sort(train)), SubsetSplit(whole, np.sort(held))

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self, "model_")
        x = validate_data(self, x, reset=False)
        inputs = self._shaped(self._scaler.transform(x).astype(np.float64))
        from nnatomy.tasks import forward

        out = self._task_.recipe.decide(forward(self.model_, (inputs,)))
        return np.asarray(out.data, np.float64)


class NeuralClassifier(ClassifierMixin, _Neural):  # type: ignore[misc]
    """A classifier behind scikit-learn's interface.

    `architecture`: "mlp", "perceptron", with `input_shape` one for images such as "lenet5", or your own Module.
    `settings`: what --set takes.
    """

    _task = "classification"

    def fit(self, X: Any, y: Any) -> Self:
        """Train on rows X (samples, features) and labels y (samples)."""
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        self._labels = LabelEncoder().fit(y)
        self.classes_ = self._labels.classes_
        if len(self.classes_) < 2:
            raise UserError(
                f"Classification needs at least two classes. Received one class, {self.classes_[0]!r}. Give data with both."
            )
        names = tuple(str(c) for c in self.classes_)
        self._fit(X, self._labels.transform(y).astype(np.int64), names, len(names))
        return self

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class (samples, classes), in the order of `classes_`."""
        outputs = self._outputs(X)
        return cast(Classification, self._task_).probabilities(outputs)

    def predict(self, X: Any) -> Array:
        """The most probable class of each row."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


class NeuralRegressor(RegressorMixin, _Neural):  # type: ignore[misc]
    """A regressor behind scikit-learn's interface; targets are standardized while it learns."""

    _task = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Train on rows X (samples, features) and values y (samples) or (samples, outputs)."""
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self._flat = y.ndim == 1
        y = np.asarray(y, np.float64).reshape(len(y), -1)
        self._target_scaler = StandardScaler().fit(y)
        self._fit(X, self._target_scaler.transform(y).astype(np.float32), (), y.shape[1])
        return self

    def predict(self, X: Any) -> Array:
        """The predicted values, shaped as the targets were."""
        outputs = self._outputs(X)
        values = np.asarray(self._target_scaler.inverse_transform(outputs))
        return values[:, 0] if self._flat else values
