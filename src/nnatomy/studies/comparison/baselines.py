"""What needs no network: the yardsticks that stand in every comparison, fitted on the same folds and preprocessed inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset, SeriesSplit, Split, WindowSplit, batches
from nnatomy.errors import UserError
from nnatomy.tasks import TASKS, detection, language_metrics

Array = npt.NDArray[Any]
C = (0.01, 0.1, 1.0)
"""Inverse strengths of the logistic regression's penalty; the validation part chooses."""
ALPHA = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Strengths of the ridge regression's penalty; the validation part chooses."""
WINDOWS = 20_000
"""Windows of a long series on which a ridge regression is fitted."""


@dataclass(frozen=True)
class Fitted:
    """A fitted baseline: outputs for model-ready inputs, as the task's networks would give them, and what it costs."""

    outputs: Callable[..., Array]
    parameters: int
    multiply_adds: int
    chosen: str = ""
    """What the validation part or the training part decided, in words."""


def score(task: str, fitted: Fitted, dataset: Dataset) -> dict[str, float]:
    """The task's metrics of a baseline on the test part."""
    if task == "language":
        return _language(fitted, dataset)
    parts = [(fitted.outputs(*batch[:-1]), batch[-1], batch[0]) for batch in batches(dataset.test, 1024)]
    outputs, targets = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    if task == "anomaly":
        return detection(targets, outputs)
    if task == "reconstruction":
        targets = np.concatenate([p[2] for p in parts])
    return TASKS[task](cast(Any, None), dataset).measure(outputs, targets).metrics


def _language(fitted: Fitted, dataset: Dataset) -> dict[str, float]:
    total, hits, count, seen = 0.0, 0, 0, np.zeros(dataset.outputs, np.int64)
    for tokens, following in batches(dataset.test, 256):
        log_p = fitted.outputs(tokens)
        total -= float(np.take_along_axis(log_p, following[..., None], -1).sum())
        hits += int((log_p.argmax(-1) == following).sum())
        count += following.size
        seen += np.bincount(following.reshape(-1), minlength=len(seen))
    return language_metrics(total / count, hits / count, seen)


# Classification and regression


def prior(dataset: Dataset, code: int) -> Fitted:
    """The most frequent class, with the classes' shares in the training part as probabilities."""
    labels = _all(dataset.train)[-1]
    log_p = np.log(np.maximum(np.bincount(labels, minlength=dataset.outputs) / len(labels), 1e-12))
    return Fitted(lambda *x: np.tile(log_p, (len(x[0]), 1)), dataset.outputs, 0)


def logistic(dataset: Dataset, code: int) -> Fitted:
    """Logistic regression; sentences are counts of words, as log(1 + count)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    words = len(dataset.preprocessing.to_json()["vocabulary"]) if dataset.kind == "sentences" else 0
    (*x, y), (*x_held, y_held) = _all(dataset.train), _all(dataset.validation)
    if len(np.unique(y)) < 2:
        raise UserError("Logistic regression needs two classes to learn from, the training part has one; lower --cv.")
    inputs, held = _features(x, words), _features(x_held, words)
    best, least, chosen = None, np.inf, C[0]
    for c in C:
        model = LogisticRegression(C=c, tol=1e-3, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what has not converged in 200 steps is judged as it is
            model.fit(inputs, y)
            loss = log_loss(y_held, _spread(model, held, dataset.outputs), labels=np.arange(dataset.outputs))
        if loss < least:
            best, least, chosen = model, loss, c
    model = best or model
    outputs = dataset.outputs if dataset.outputs > 2 else 1
    return Fitted(
        lambda *x: np.log(np.maximum(_spread(model, _features(x, words), dataset.outputs), 1e-12)),
        outputs * (inputs.shape[1] + 1), outputs * inputs.shape[1], f"C = {chosen:g}",
    )  # fmt: skip


def _spread(model: Any, x: Any, classes: int) -> Array:
    """Probabilities of all classes, those that training did not show included."""
    p = np.zeros((x.shape[0], classes))
    p[:, model.classes_] = model.predict_proba(x)
    return p


def _features(inputs: Any, words: int) -> Any:
    """One row of numbers an example: flattened, or a sparse count of its words."""
    if not words:
        return inputs[0].reshape(len(inputs[0]), -1)
    from scipy.sparse import csr_matrix

    tokens, lengths = inputs
    rows = np.repeat(np.arange(len(tokens)), lengths)
    inside = np.arange(tokens.shape[1]) < lengths[:, None]
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, tokens[inside])), shape=(len(tokens), words))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    return counts


def mean(dataset: Dataset, code: int) -> Fitted:
    """The mean of the training part, whatever the input."""
    average = _all(dataset.train)[-1].mean(axis=0)
    return Fitted(lambda *x: np.tile(average, (len(x[0]), 1)), average.size, 0)


def ridge(dataset: Dataset, code: int) -> Fitted:
    """Ridge regression from all inputs to all targets; of a series, from the window to the horizon."""
    from sklearn.linear_model import Ridge

    x, y = _regression_rows(dataset.train)
    x_held, y_held = _regression_rows(dataset.validation)
    best, least, chosen = None, np.inf, ALPHA[0]
    for alpha in ALPHA:
        model = Ridge(alpha).fit(x, y)
        loss = float(np.mean((model.predict(x_held).reshape(y_held.shape) - y_held) ** 2))
        if loss < least:
            best, least, chosen = model, loss, alpha
    model = best or model
    shape = _all(dataset.test, 1)[-1].shape[1:]
    return Fitted(
        lambda *x: model.predict(x[0].reshape(len(x[0]), -1)).reshape(-1, *shape),
        y.shape[1] * (x.shape[1] + 1), y.shape[1] * x.shape[1], f"alpha = {chosen:g}",
    )  # fmt: skip


def _regression_rows(split: Split) -> tuple[Array, Array]:
    some = np.unique(np.linspace(0, len(split) - 1, min(len(split), WINDOWS)).astype(int))
    x, y = split.take(some)
    return x.reshape(len(x), -1).astype(np.float64), y.reshape(len(y), -1).astype(np.float64)


# Forecasts


def last_value(dataset: Dataset, code: int) -> Fitted:
    """The last known value, for all steps ahead."""
    split = _series(dataset.train)
    columns = list(split.targets)
    return Fitted(lambda x: np.repeat(x[:, -1:, columns], split.horizon, axis=1), 0, 0)


def seasonal(dataset: Dataset, code: int) -> Fitted:
    """The value one season ago.

    The season is a lag at which the training part's changes from row to row repeat (a peak of their autocorrelation), within
    the window: the one that foretells training windows best.
    """
    split = _series(dataset.train)
    columns = list(split.targets)
    x = np.diff(split.values[:, columns[0]].astype(np.float64))  # levels drift, and hide a season in what drifts
    x = x - x.mean()
    reach = min(split.past, len(x) // 2)
    correlation = np.array([np.mean(x[: len(x) - lag] * x[lag:]) for lag in range(reach + 2)])
    peaks = [p for p in range(2, reach + 1) if correlation[p] > max(correlation[p - 1], correlation[p + 1], 1e-9)]
    if not peaks:
        raise UserError(f"No season was found within the window of {split.past} rows; a larger --window might show one.")
    some = np.unique(np.linspace(0, len(split) - 1, min(len(split), 2000)).astype(int))
    past, future = split.take(some)
    period = min(peaks, key=lambda p: float(np.mean((_season(past, columns, p, split.horizon) - future) ** 2)))
    return Fitted(lambda x: _season(x, columns, period, split.horizon), 1, 0, f"a season of {period} rows")


def _season(x: Array, columns: list[int], period: int, horizon: int) -> Array:
    return x[:, -period:, columns][:, np.arange(horizon) % period]


def _series(split: Split) -> SeriesSplit:
    if not isinstance(split, SeriesSplit):
        raise UserError("Naive forecasts need windows over a series, these data are whole sequences; compare without them.")
    return split


# Language


def unigrams(dataset: Dataset, code: int) -> Fitted:
    """How often each token stands in the training part, one added to each count."""
    counts = np.bincount(_tokens(dataset.train), minlength=dataset.outputs) + 1.0
    log_p = np.log(counts / counts.sum())
    return Fitted(lambda x: np.broadcast_to(log_p, (*x.shape, len(log_p))), len(log_p), 0)


def bigrams(dataset: Dataset, code: int) -> Fitted:
    """How often each token follows each other; p(b | a) = (n(a, b) + p(b)) / (n(a) + 1) with the unigrams' p(b)."""
    tokens, n = _tokens(dataset.train), dataset.outputs
    counts = np.zeros((n, n))
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1.0)
    p = np.bincount(tokens, minlength=n) + 1.0
    log_p = np.log((counts + p / p.sum()) / (counts.sum(axis=1, keepdims=True) + 1.0))
    return Fitted(lambda x: log_p[x], n * n, 0)


def _tokens(split: Split) -> Array:
    return split.tokens if isinstance(split, WindowSplit) else np.concatenate([b[0].reshape(-1) for b in batches(split, 256)])


# Anomalies and reconstruction


def z_score(dataset: Dataset, code: int) -> Fitted:
    """How far a window's values lie from the training part's mean: the mean of their squares, in standard deviations."""
    numbers = int(np.prod(dataset.input_shape))
    return Fitted(lambda x: np.square(x, dtype=np.float64).reshape(len(x), -1).mean(axis=1), 0, numbers)


def mean_example(dataset: Dataset, code: int) -> Fitted:
    """The mean training example, whatever the input."""
    average = _all(dataset.train)[0].mean(axis=0)
    return Fitted(lambda x: np.broadcast_to(average, (len(x), *average.shape)), average.size, 0)


def principal(dataset: Dataset, code: int) -> Fitted:
    """The nearest point of the plane of as many principal components as the narrowest architecture's code has numbers."""
    from sklearn.decomposition import PCA

    x = _all(dataset.train)[0]
    rows = x.reshape(len(x), -1)
    k = min(code, rows.shape[1] - 1, len(rows) - 1)
    model = PCA(k, svd_solver="full" if rows.shape[1] <= 1000 else "randomized", random_state=0).fit(rows)

    def outputs(x: Array) -> Array:
        flat = x.reshape(len(x), -1)
        return np.asarray(model.inverse_transform(model.transform(flat))).reshape(x.shape)

    return Fitted(outputs, (k + 1) * rows.shape[1], 2 * k * rows.shape[1], f"{k} components")


def _all(split: Split, most: int | None = None) -> tuple[Array, ...]:
    return split.take(np.arange(len(split) if most is None else min(most, len(split))))


Fit = Callable[[Dataset, int], Fitted]
BASELINES: dict[str, dict[str, Fit]] = {
    "classification": {"majority class": prior, "logistic regression": logistic},
    "regression": {"mean": mean, "ridge regression": ridge},
    "forecast": {"last value": last_value, "seasonal naive": seasonal, "ridge regression": ridge},
    "language": {"unigram counts": unigrams, "bigram counts": bigrams},
    "anomaly": {"z-score": z_score},
    "reconstruction": {"mean": mean_example, "principal components": principal},
}
"""By task, and by the name that tables show."""
