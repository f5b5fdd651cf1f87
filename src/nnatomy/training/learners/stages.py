"""Learners one after the other: layer by layer, pre-training then fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.training.learners.learner import Batch, Learner, LearnerSpec, Loss, Setup, Tree


@dataclass(frozen=True, init=False)
class Stages(LearnerSpec):
    """Stages((learner, epochs), ...): each learner for so many epochs, the last one for all that are left."""

    stages: tuple[tuple[LearnerSpec, int], ...]

    def __init__(self, *stages: tuple[LearnerSpec, int]) -> None:
        if not stages or min(epochs for _, epochs in stages) < 1:
            raise UserError(
                f"Stages need (learner, epochs) pairs with at least 1 epoch. Received {len(stages)}. Add a pair such as "
                "(GradientDescent(...), 5)."
            )
        object.__setattr__(self, "stages", tuple(stages))

    @property
    def gradients_in_evaluation(self) -> bool:  # type: ignore[override]
        return self.stages[-1][0].gradients_in_evaluation

    @property
    def losses(self) -> Mapping[str, Loss]:
        return self.stages[-1][0].losses

    def settings(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for i, (spec, epochs) in enumerate(self.stages, 1):
            found |= {f"stage{i}.{name}": value for name, value in spec.settings().items()} | {f"stage{i}.epochs": epochs}
        return found

    def changed(self, name: str, value: Any) -> Stages:
        if name not in self.settings():
            raise KeyError(name)
        stage, _, setting = name.partition(".")
        number = int(stage.removeprefix("stage")) - 1
        spec, epochs = self.stages[number]
        new = (spec, int(value)) if setting == "epochs" else (spec.changed(setting, value), epochs)
        return Stages(*self.stages[:number], new, *self.stages[number + 1 :])

    def plain(self) -> dict[str, Any]:
        parts = {f"stage{i}": {**spec.plain(), "epochs": epochs} for i, (spec, epochs) in enumerate(self.stages, 1)}
        return {"learner": type(self).__name__, **parts}

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> StagesLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return StagesLearner(self, model, dataset, setup)


class StagesLearner(Learner):
    """The learner whose turn it is; all keep their state from the first step on, so that every checkpoint has one form."""

    def __init__(self, spec: Stages, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        setup = replace(setup, accumulate=1)
        self.learners: Sequence[Learner] = [stage.begin(model, dataset, setup) for stage, _ in spec.stages]
        self.ends = [sum(epochs for _, epochs in spec.stages[: i + 1]) for i in range(len(spec.stages))]
        self.now = 0
        self.optimizers = {
            f"stage{i}.{name}": o for i, learner in enumerate(self.learners, 1) for name, o in learner.optimizers.items()
        }

    @property
    def current(self) -> Learner:
        return self.learners[self.now]

    @property
    def collects(self) -> bool:
        return self.current.collects

    def collect(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.current.collect(batch)

    def external_state(self) -> Tree:
        return {f"stage{i}": learner.external_state() for i, learner in enumerate(self.learners, 1)}

    def restore_external_state(self, saved: Tree) -> None:
        for i, learner in enumerate(self.learners, 1):
            learner.restore_external_state(saved.get(f"stage{i}", {}))

    def begin_epoch(self, epoch: int) -> None:
        before = self.now
        self.now = next((i for i, end in enumerate(self.ends) if epoch < end), len(self.ends) - 1)
        self.version += self.now != before
        self.current.begin_epoch(epoch)

    def end_epoch(self) -> None:
        self.current.end_epoch()

    def own_state(self) -> Tree:
        return {f"stage{i}": learner.own_state() for i, learner in enumerate(self.learners, 1)}

    def bind_own(self, tree: Tree) -> None:
        for i, learner in enumerate(self.learners, 1):
            learner.bind_own(tree[f"stage{i}"])

    def set_total(self, total: int) -> None:
        for learner in self.learners:
            learner.set_total(total)

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        for i, learner in enumerate(self.learners, 1):
            prefix = f"stage{i}."
            own = {k.removeprefix(prefix): v for k, v in state["optimizers"].items() if k.startswith(prefix)}
            learner.prepare({"optimizers": own, "own": state["own"][f"stage{i}"]}, step, scale)

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        return self.current.update(batch, mask)

    def lr(self, state: Tree) -> float | None:
        own = [v for k, v in state["optimizers"].items() if k.startswith(f"stage{self.now + 1}.")]
        return float(own[0]["lr"][0] * own[0]["factor"]) if own else None
