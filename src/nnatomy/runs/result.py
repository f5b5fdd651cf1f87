"""The result of a training: the model, its scores and the folder that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.runs.baselines import Beside
from nnatomy.runs.folder import Run, finite
from nnatomy.runs.prepare import Prepared
from nnatomy.showing import Face, Shown, label
from nnatomy.tasks import Evaluation
from nnatomy.training.parallel.hosts import Hosts


@dataclass(repr=False)
class Result(Shown):
    """A finished (or interrupted) run."""

    prepared: Prepared
    run: Run
    epochs: int
    seconds: float
    metrics: dict[str, float]
    """On the test split, which nothing was chosen by."""
    evaluation: Evaluation | None
    stopped: str = ""
    interrupted: bool = False
    baselines: Beside | None = None
    """The scores next to those of predictors without a network; None where there are none."""
    hosts: Hosts = field(default_factory=Hosts)

    @property
    def model(self) -> Module:
        """The trained model, with the weights of the best epoch."""
        return self.prepared.model

    @property
    def dataset(self) -> Dataset:
        """The data that it was trained on."""
        return self.prepared.dataset

    def face(self) -> Face:
        title = f"{self.prepared.architecture.front['title']} on {self.dataset.name}"
        if self.baselines is None:
            return Face.of(title, self.metrics, note=str(self.run.folder))
        others = self.baselines.scores.values()
        rows = [[label(name), value, *(own.get(name, "") for own in others)] for name, value in self.metrics.items()]
        return Face(title, self.baselines.headline, [["", "network", *self.baselines.scores], *rows], str(self.run.folder))

    def to_json(self) -> dict[str, Any]:
        """Return what `nnatomy train --json` prints."""
        found: dict[str, Any] = {
            "architecture": self.prepared.architecture.name,
            "run": str(self.run.folder),
            "backend": self.prepared.request.backend,
            "epochs": self.epochs,
            "seconds": round(self.seconds, 3),
            "parameters": self.model.count_parameters(),
            "metrics": finite(self.metrics),
        }
        if self.baselines is not None:
            found["baselines"] = self.baselines.to_json()
        return found | ({"interrupted": True} if self.interrupted else {})
