"""Classification: which of several classes an example belongs to."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.functional import cross_entropy, softmax
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import BOOSTED, Baseline, FittedBaseline, arrays_of, parameters_of_trees, table_rows
from nnatomy.tasks.figures import BLUE, GRAY, short
from nnatomy.tasks.parts import Array, Batch, Coloring, Joined, Meter, Mistakes, Score
from nnatomy.tasks.scoring import quietly
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

C = (0.01, 0.1, 1.0)
"""Inverse strengths of the logistic regression's penalty; the validation part chooses."""
C_OF_WORDS = (0.1, 1.0, 10.0)
"""The same for words, whose features are smaller."""


def prior(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The most frequent class, with the classes' fractions of the training part as probabilities."""
    (labels,) = arrays_of(dataset.train, "target")
    log_p = np.log(np.maximum(np.bincount(labels, minlength=dataset.outputs) / len(labels), 1e-12))
    named = dataset.input_fields
    return FittedBaseline(lambda *x: np.tile(log_p, (fields.count(named, x), 1)), dataset.outputs, 0)


def logistic(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Logistic regression; sequences of tokens are TF-IDF: (1 + log count) log(examples / examples with it), of length 1."""
    inputs = arrays_of(dataset.train, "input")
    if inputs[0].dtype.kind not in "iu":
        return fitted_logistic(dataset, lambda *inputs: inputs[0].reshape(len(inputs[0]), -1))
    from sklearn.feature_extraction.text import TfidfTransformer

    words = len(dataset.preprocessing.to_json()["vocabulary"])
    weights = TfidfTransformer(sublinear_tf=True).fit(_counts(inputs, words))
    found = fitted_logistic(dataset, lambda *inputs: weights.transform(_counts(inputs, words)), C_OF_WORDS)
    return replace(found, chosen=f"TF-IDF, {found.chosen}")


def boosted(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Gradient boosting of trees over binned features, with scikit-learn's settings (Friedman 2001; Ke et al. 2017)."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    if (found := _one_class(dataset)) is not None:
        return found
    x, y = arrays_of(dataset.train, "input", "target", most=BOOSTED)[:2]
    model = HistGradientBoostingClassifier(random_state=0).fit(table_rows((x,)), y)
    trees = model.n_iter_ * model.n_trees_per_iteration_
    return FittedBaseline(
        lambda *x: np.log(np.maximum(_all_classes(model, x[0], dataset.outputs), 1e-12)),
        parameters_of_trees(model), 0, f"{trees} trees",
    )  # fmt: skip


def fitted_logistic(dataset: Dataset, features: Callable[..., Any], strengths: Sequence[float] = C) -> FittedBaseline:
    """Return logistic regression on features(*inputs), one row an example; the validation part chooses its penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    if (found := _one_class(dataset)) is not None:
        return found
    (y,), (y_held,) = arrays_of(dataset.train, "target"), arrays_of(dataset.validation, "target")
    inputs = features(*arrays_of(dataset.train, "input"))
    held = features(*arrays_of(dataset.validation, "input"))
    best, least, chosen = None, np.inf, strengths[0]
    for c in strengths:
        model = LogisticRegression(C=c, tol=1e-3, max_iter=200)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a fit that has not converged in 200 steps is used as it is
            model.fit(inputs, y)
            loss = log_loss(y_held, _all_classes(model, held, dataset.outputs), labels=np.arange(dataset.outputs))
        if loss < least:
            best, least, chosen = model, loss, c
    model = best or model
    outputs = dataset.outputs if dataset.outputs > 2 else 1
    return FittedBaseline(
        lambda *x: np.log(np.maximum(_all_classes(model, features(*x), dataset.outputs), 1e-12)),
        outputs * (inputs.shape[1] + 1), outputs * inputs.shape[1], f"C = {chosen:g}",
    )  # fmt: skip


def _one_class(dataset: Dataset) -> FittedBaseline | None:
    """Return the majority class where training has no other, as in small parts of a learning curve; else None."""
    (y,) = arrays_of(dataset.train, "target")
    return prior(dataset, ()) if len(np.unique(y)) < 2 else None


def _all_classes(model: Any, x: Any, classes: int) -> Array:
    """Probabilities of all classes, those that training did not show included."""
    p = np.zeros((x.shape[0], classes))
    p[:, model.classes_] = model.predict_proba(x)
    return p


def _counts(inputs: tuple[Array, ...], words: int) -> Any:
    """How often an example has each word, as a sparse matrix."""
    from scipy.sparse import csr_matrix

    tokens, lengths = inputs
    rows = np.repeat(np.arange(len(tokens)), lengths)
    inside = np.arange(tokens.shape[1]) < lengths[:, None]
    counts = csr_matrix((np.ones(len(rows), np.float32), (rows, tokens[inside])), shape=(len(tokens), words))
    counts.sum_duplicates()
    return counts


class Classification(Task):
    """Accuracy and its kin; outputs are one score a class, or a single score whose sign decides between two."""

    name = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "higher", says="fraction of examples whose class is predicted"),
        Metric("balanced_accuracy", "higher", says="accuracy, averaged over classes"),
        Metric("f1", "higher", says="harmonic mean of precision and recall, averaged over classes"),
        Metric("auc", "higher", says="area under the ROC curve, averaged over classes"),
    )
    drawn_as = "classes"
    explains = "the score of the class that was chosen"
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "majority class": prior, "logistic regression": logistic, "gradient boosting": boosted,
    }  # fmt: skip
    gives = (
        ("probabilities", "of the classes, in their order"),
        ("scores", "what the network itself gives, before the softmax or the sigmoid"),
    )

    outputs_are = "class scores"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean cross-entropy of class scores, or of a single score whose sign decides."""
        return cross_entropy(two_scores(outputs), batch[-1])

    def meter(self) -> Meter:
        return Joined(self.measure, self.dataset.fields)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the softmax of the scores, or the sigmoid of a single one."""
        return softmax(two_scores(outputs), axis=-1)

    def probabilities(self, outputs: Array) -> Array:
        """Return the probabilities of all classes, in float64."""
        return np.asarray(self.interpret(outputs.astype(np.float64), ()))

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        """Return the metrics of all scores of a split against its class ids."""
        from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

        p = self.probabilities(outputs)
        chosen = p.argmax(axis=-1)
        metrics = {
            "accuracy": float((chosen == targets).mean()),
            "balanced_accuracy": float(quietly(balanced_accuracy_score, targets, chosen)),
            "f1": float(f1_score(targets, chosen, average="macro", zero_division=0)),
        }
        if np.isfinite(p).all() and len(np.unique(targets)) == p.shape[1]:
            metrics["auc"] = float(
                roc_auc_score(targets, p[:, 1]) if p.shape[1] == 2 else roc_auc_score(targets, p, multi_class="ovr")
            )
        return Evaluation(metrics, {"targets": targets, "predictions": chosen, "probabilities": p})

    def errors(self, evaluation: Evaluation) -> Array:
        return np.asarray(evaluation.arrays["predictions"] != evaluation.arrays["targets"])

    def columns(self, meant: Array) -> dict[str, Array]:
        names = np.array(self.dataset.classes)
        columns = {"prediction": names[meant.argmax(axis=-1)], "probability": meant.max(axis=-1)}
        return columns | {f"p({name})": meant[:, i] for i, name in enumerate(names)} if len(names) <= 20 else columns

    def figure(self, evaluation: Evaluation) -> Figure:
        return confusion(evaluation.arrays, list(self.dataset.classes))

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the wrong examples, the least probable true class first, then the right ones."""
        y, p = evaluation.arrays["targets"], evaluation.arrays["probabilities"]
        chosen = evaluation.arrays["predictions"]
        own, names = p[np.arange(len(y)), y], [short(name) for name in self.dataset.classes]
        right = chosen == y
        order = np.lexsort((own, right))
        says = {
            int(i): f"{names[y[i]]}: right, {own[i]:.0%} sure" if right[i]
            else f"{names[y[i]]} → {names[chosen[i]]}, {p[i, chosen[i]]:.0%} sure"
            for i in order[:24]
        }  # fmt: skip
        wrong = int((~right).sum())
        note = "“true class → predicted class” and how sure the model was, the gravest mistakes first"
        note += "; then those that are right with the least certainty" if wrong < 24 else ""
        return Mistakes(order, says, f"{wrong} of {len(y):,} test examples are taken for another class", note)

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        p, label = self.probabilities(outputs)[0], int(self.targets(batch)[0][0])
        k = int(p.argmax())
        sign, place = (1.0, k) if outputs.shape[1] > 1 else (2.0 * k - 1.0, 0)
        names = [short(name) for name in self.dataset.classes]
        right = "right" if k == label else f"true: {names[label]}"
        return Score(lambda out, x: out[:, place] * sign, f"{names[k]} ({p[k]:.0%}, {right})")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        return Coloring("the true class", self.targets(batch)[0], self.dataset.classes)


def confusion(arrays: dict[str, Array], classes: list[str]) -> Figure:
    """Return how often each class (row) was taken for each other (column); for two classes also the ROC curve."""
    from matplotlib.figure import Figure
    from sklearn.metrics import confusion_matrix, roc_curve

    n = len(classes)
    counts = confusion_matrix(arrays["targets"], arrays["predictions"], labels=range(n))
    size = min(4 + 0.35 * n, 12)
    figure = Figure(figsize=(10, 4.2) if n == 2 else (size, size * 0.9), layout="constrained")
    axes, roc = figure.subplots(1, 2) if n == 2 else (figure.subplots(), None)
    fraction = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1)
    axes.set(title="Confusion matrix: test examples", xlabel="predicted", ylabel="true")
    names = [short(c, 17) for c in classes]
    axes.set_xticks(range(n), names, rotation=0 if n <= 10 and max(map(len, names)) < 6 else 90, fontsize=9 if n < 20 else 6)
    axes.set_yticks(range(n), names, fontsize=9 if n < 20 else 6)
    for i, j in np.argwhere(counts) if n <= 20 else ():
        color = "white" if fraction[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9, color=color)
    if roc is not None and len(np.unique(arrays["targets"])) == 2:
        x, y, _ = roc_curve(arrays["targets"], arrays["probabilities"][:, 1])
        roc.plot(x, y, color=BLUE)
        roc.plot([0, 1], [0, 1], color=GRAY, ls="--", lw=1)
        roc.set(title=f"ROC curve for “{classes[1]}”", xlabel="false positive rate", ylabel="true positive rate")
        roc.grid(alpha=0.25)
    return figure


def two_scores(scores: Any) -> Any:
    """Return a single score, whose sign decides between two classes, as a score for each: (0, z); others as they are."""
    return ops.concatenate([scores * 0.0, scores], axis=-1) if scores.shape[-1] == 1 else scores
