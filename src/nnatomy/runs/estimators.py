"""Architectures as scikit-learn estimators: fit, predict, score, in pipelines and searches as any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.preprocessing import LabelEncoder, StandardScaler
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.functional import binary_cross_entropy_with_logits
from nnatomy.runs.neural import Array, Neural
from nnatomy.tasks import Classification, Regression
from nnatomy.tasks.classification import two_scores
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe

IDENTITY = Recipe.decide


def labels_loss(model: Any, *batch: Any) -> tuple[Any, Any]:
    """Return the mean cross-entropy of each label's sigmoid, and the scores."""
    scores = model(*batch[:-1])
    return binary_cross_entropy_with_logits(scores, batch[-1]), scores


class NeuralClassifier(ClassifierMixin, Neural):  # type: ignore[misc]
    """A classifier behind scikit-learn's interface; labels (samples, labels) of 0 and 1 make it a multilabel one.

    `architecture`: "mlp", "perceptron", with `input_shape` one for images such as "lenet5", or your own Module.
    `settings`: what --set takes. `class_weight`: {class: weight}, or "balanced", which is rows / (classes * rows of the class).
    """

    _task = "classification"
    classes_: Array

    def __init__(
        self, architecture: Any = "mlp", *, epochs: int | None = None, batch_size: int | None = None, lr: float | None = None,
        settings: Mapping[str, Any] | None = None, input_shape: tuple[int, ...] | None = None, random_state: Any = None,
        class_weight: Any = None, validation_fraction: float | None = None, early_stopping: bool = False,
        n_iter_no_change: int = 10, warm_start: bool = False, backend: str | None = None, device: str | None = None,
        loss: Any = None, optimizer: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            architecture, epochs=epochs, batch_size=batch_size, lr=lr, settings=settings, input_shape=input_shape,
            random_state=random_state, validation_fraction=validation_fraction, early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change, warm_start=warm_start, backend=backend, device=device, loss=loss,
            optimizer=optimizer,
        )  # fmt: skip
        self.class_weight = class_weight

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X (samples, features) and labels y (samples), or y (samples, labels) of 0 and 1.

        A row of `sample_weight` 2 counts in the loss as if it were given twice.
        """
        return self._learn(X, y, sample_weight, None, onward=False)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train one more epoch, on these rows, at a constant learning rate; the first call scales the features and names all
        `classes`, where its rows do not have them all.
        """
        return self._learn(X, y, sample_weight, classes, onward=True)

    def _learn(self, X: Any, y: Any, sample_weight: Any, classes: Any, *, onward: bool) -> Self:
        again = hasattr(self, "model_") and (onward or self.warm_start)
        X, y = validate_data(self, X, y, multi_output=True, reset=not (onward and again))
        check_classification_targets(y)
        self._multilabel = type_of_target(y) == "multilabel-indicator"
        if not self._multilabel:
            y = column_or_1d(y, warn=True)
        elif hasattr(y, "toarray"):
            y = y.toarray()
        X, y, weights = self._weighed(X, y, sample_weight)
        found = np.arange(y.shape[1]) if self._multilabel else LabelEncoder().fit(y if classes is None else classes).classes_
        if again and (len(found) != len(self.classes_) or (found != self.classes_).any()):
            if not onward or classes is not None or not np.isin(found, self.classes_).all():
                raise UserError(
                    f"Training goes on with the classes that it began with, {self.classes_.tolist()}. Received "
                    f"{found.tolist()}. Name all classes at first, or make a new estimator."
                )
            found = self.classes_
        if not np.isin(y, found).all() and not self._multilabel:
            raise UserError(f"Labels are among the classes {found.tolist()}. Received others. Name all in classes=.")
        if len(found) < 2 and not self._multilabel:
            raise UserError(
                f"Classification needs at least two classes. Received one class, {found[0]!r}. Give data with both."
            )
        self.classes_ = found
        if self._multilabel:
            if self.class_weight is not None:
                raise UserError("class_weight is for one class a row. Received labels (samples, labels). Give sample_weight.")
            self._fit(X, y.astype(np.float32), (), y.shape[1], weights, onward=onward)
            return self
        numbers = np.searchsorted(found, y).astype(np.int64)
        if self.class_weight is not None:
            each = compute_class_weight(self.class_weight, classes=np.unique(y), y=y, sample_weight=weights)
            weights = np.ones(len(y)) if weights is None else weights
            X, numbers, weights = self._weighed(X, numbers, weights * each[np.searchsorted(np.unique(y), y)])
        names = tuple(str(c) for c in found)
        self._fit(X, numbers, names, len(names), weights, onward=onward)
        return self

    def _goal(self) -> str:
        return Regression.name if self._multilabel else self._task

    def _recipe(self, dataset: Dataset) -> Recipe:
        recipe = super()._recipe(dataset)
        if not self._multilabel or self.loss is not None:
            return recipe
        if not isinstance(recipe.learn, GradientDescent) or recipe.decide is not IDENTITY:
            raise UserError(
                f"Several labels a row need one score each, which follow a loss. Received {self.architecture}. "
                "Choose another architecture, such as mlp."
            )
        return replace(recipe, tasks=(Regression,), metric="loss", learn=recipe.learn.with_loss(labels_loss))

    def decision_function(self, X: Any) -> Array:
        """The scores: (samples) for two classes, the logarithm of their odds; else (samples, classes), or one a label."""
        outputs = self._outputs(X)
        if self._multilabel or len(self.classes_) > 2:
            return outputs
        return np.asarray(outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0])

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class (samples, classes), in the order of `classes_`; of each label, with several a row."""
        outputs = self._outputs(X)
        if self._multilabel:
            return np.asarray(expit(outputs))
        return cast(Classification, self._task_).probabilities(outputs)

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, finite also where a probability is too small for a number."""
        outputs = self._outputs(X)
        if self._multilabel:
            return np.asarray(log_expit(outputs))
        return np.asarray(log_softmax(np.asarray(two_scores(outputs)), axis=1))

    def predict(self, X: Any) -> Array:
        """The most probable class of each row; with several labels a row, 1 for each that is more probable than not."""
        if hasattr(self, "_multilabel") and self._multilabel:
            return (self._outputs(X) > 0).astype(np.int64)
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])


class NeuralRegressor(RegressorMixin, Neural):  # type: ignore[misc]
    """A regressor behind scikit-learn's interface; targets are standardized while it learns."""

    _task = "regression"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on rows X (samples, features) and values y (samples) or (samples, outputs).

        A row of `sample_weight` 2 counts in the loss as if it were given twice.
        """
        return self._learn(X, y, sample_weight, onward=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one more epoch, on these rows, at a constant learning rate; the first call scales features and targets."""
        return self._learn(X, y, sample_weight, onward=True)

    def _learn(self, X: Any, y: Any, sample_weight: Any, *, onward: bool) -> Self:
        again = hasattr(self, "model_") and (onward or self.warm_start)
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, reset=not (onward and again))
        flat, y = y.ndim == 1, np.asarray(y, np.float64).reshape(len(y), -1)
        X, y, weights = self._weighed(X, y, sample_weight)
        if not again:
            self._target_scaler = StandardScaler().fit(y, sample_weight=weights)
        elif y.shape[1] != len(self._target_scaler.mean_):
            raise UserError(
                f"Training goes on with as many targets as it began with, {len(self._target_scaler.mean_)}. Received "
                f"{y.shape[1]}. Make a new estimator."
            )
        self._flat = flat
        self._fit(X, self._target_scaler.transform(y).astype(np.float32), (), y.shape[1], weights, onward=onward)
        return self

    def predict(self, X: Any) -> Array:
        """The predicted values, shaped as the targets were."""
        outputs = self._outputs(X)
        values = np.asarray(self._target_scaler.inverse_transform(outputs))
        return values[:, 0] if self._flat else values
