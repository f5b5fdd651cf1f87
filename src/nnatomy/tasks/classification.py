"""Classification: which of several classes an example belongs to."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.functional import cross_entropy, softmax
from nnatomy.tasks.scoring import quietly
from nnatomy.tasks.task import Array, Joined, Meter, Task
from nnatomy.training.evaluation import Evaluation, Metric


class Classification(Task):
    """Accuracy and its kin; outputs are one score a class, or a single score whose sign decides between two."""

    name = "classification"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "higher", says="fraction of examples whose class is predicted"),
        Metric("balanced_accuracy", "higher", says="accuracy, averaged over classes"),
        Metric("f1", "higher", says="harmonic mean of precision and recall, averaged over classes"),
        Metric("auc", "higher", says="area under the ROC curve, averaged over classes"),
    )
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

    def columns(self, meant: Array) -> dict[str, Array]:
        names = np.array(self.dataset.classes)
        columns = {"prediction": names[meant.argmax(axis=-1)], "probability": meant.max(axis=-1)}
        return columns | {f"p({name})": meant[:, i] for i, name in enumerate(names)} if len(names) <= 20 else columns


def two_scores(scores: Any) -> Any:
    """Return a single score, whose sign decides between two classes, as a score for each: (0, z); others as they are."""
    return ops.concatenate([scores * 0.0, scores], axis=-1) if scores.shape[-1] == 1 else scores
