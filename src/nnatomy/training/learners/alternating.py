"""Players that learn in turn: adversaries, actor and critic, weights and architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.functional import masked_examples
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.optim import clip_grad_norm
from nnatomy.tensor import Tensor
from nnatomy.training.learners.gradient_descent import call, in_range, keywords, optimizer_named, schedule_named
from nnatomy.training.learners.learner import ADAMW, Batch, Learner, LearnerSpec, Loss, Setup, Tree, parameters_of


@dataclass(frozen=True)
class Player:
    """One of several that learn in turn: which parts of the model, by which loss, how often in a step."""

    name: str
    loss: Loss
    """loss(model, *batch) -> (loss, outputs)."""
    optimizer: partial[Any] = ADAMW
    parts: tuple[str, ...] = ()
    """Attribute paths of the model that the player's optimizer changes; the part of the player's own name if empty."""
    times: int = 1
    """Updates in each step, each on its own slice of the batch."""
    clip: float | None = None
    constrain: Callable[[Any], None] | None = None
    """constrain(model), after each update and without recording: weight clipping, normalization."""

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UserError(f"A player takes at least 1 update a step. Received times={self.times} for {self.name!r}. Use 1.")


@dataclass(frozen=True)
class Alternating(LearnerSpec):
    """Players in turn, in their order; a player's gradient changes its own parameters only.

    A player that updates k times a step takes the rows i, i + k, i + 2k, ... of the batch in its i-th update.
    """

    can: ClassVar[frozenset[str]] = frozenset({"several devices"})
    players: Sequence[Player] = field(default_factory=tuple)
    schedule: partial[Any] | None = None
    average: float | None = None
    gradients_in_evaluation: bool = True

    def __post_init__(self) -> None:
        names = [player.name for player in self.players]
        if len(names) < 1 or len(set(names)) < len(names):
            raise UserError(f"Alternating needs players of different names. Received {names}. Name each once.")

    @property
    def losses(self) -> Mapping[str, Loss]:
        return {f"{player.name}_loss": player.loss for player in self.players}

    def settings(self) -> dict[str, Any]:
        schedule = "none" if self.schedule is None else self.schedule.func.__name__
        found: dict[str, Any] = {"schedule": schedule, "average": self.average}
        shared = [keywords(p.optimizer.func) | p.optimizer.keywords for p in self.players]
        found |= {name: value for name, value in shared[0].items() if all(name in other for other in shared)}
        for player, rates in zip(self.players, shared):
            found |= {f"{player.name}.{name}": value for name, value in rates.items()}
            found |= {f"{player.name}.times": player.times, f"{player.name}.clip": player.clip}
            found[f"{player.name}.optimizer"] = player.optimizer.func.__name__
        return found

    def changed(self, name: str, value: Any) -> Alternating:
        """Return the learner with another setting: "lr" of all players, "critic.lr" of one."""
        if name not in self.settings():
            raise KeyError(name)
        if name == "schedule":
            return replace(self, schedule=schedule_named(str(value)))
        if name == "average":
            return replace(self, average=in_range(name, value))
        whose, _, setting = name.rpartition(".")
        return replace(self, players=tuple(_changed(p, setting, value) if whose in ("", p.name) else p for p in self.players))

    def plain(self) -> dict[str, Any]:
        players = {
            p.name: {
                "loss": getattr(p.loss, "__name__", type(p.loss).__name__), "optimizer": call(p.optimizer), "times": p.times,
                "clip": p.clip, "constrain": getattr(p.constrain, "__name__", None),
            }
            for p in self.players
        }  # fmt: skip
        return {"learner": type(self).__name__, "schedule": call(self.schedule), "average": self.average, **players}

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> AlternatingLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return AlternatingLearner(self, model, dataset, setup)


def _changed(player: Player, name: str, value: Any) -> Player:
    if name == "times":
        return replace(player, times=int(value))
    if name == "clip":
        return replace(player, clip=in_range(name, value))
    if name == "optimizer":
        return replace(player, optimizer=optimizer_named(str(value), player.optimizer))
    return replace(player, optimizer=partial(player.optimizer, **{name: value}))


class AlternatingLearner(Learner):
    """Each player's updates in turn."""

    def __init__(self, spec: Alternating, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        self.spec, self.average = spec, spec.average
        own = {p.name: parameters_of(model, p.parts or (p.name,)) for p in spec.players}
        self._own = {name: [t for _, t in named] for name, named in own.items()}
        self._names = {name: frozenset(n for n, _ in named) for name, named in own.items()}
        self._everyone = list(model.parameters())
        self.optimizers = {p.name: setup.optimizer(p.optimizer, own[p.name]) for p in spec.players}
        self.schedule: Callable[[int], float] | None = None

    def set_total(self, total: int) -> None:
        self.schedule = None if self.spec.schedule is None else self.spec.schedule(total)

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        factor = scale * (1.0 if self.schedule is None else float(self.schedule(step)))
        for tree in state["optimizers"].values():
            tree["factor"] = factor

    def objectives(self) -> list[tuple[Loss, frozenset[str]]]:
        return [(player.loss, self._names[player.name]) for player in self.spec.players]

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        metrics: dict[str, Tensor] = {}
        wanted = [t.requires_grad for t in self._everyone]
        try:
            for player in self.spec.players:
                metrics[f"{player.name}_loss"] = self._turn(player, batch, mask)
        finally:
            for t, before in zip(self._everyone, wanted):
                t.requires_grad, t.grad = before, None
        return {"loss": metrics[f"{self.spec.players[0].name}_loss"], **metrics}

    def _turn(self, player: Player, batch: Batch, mask: Any) -> Tensor:
        """All updates of one player in this step; the loss of the last one."""
        own, optimizer = self._own[player.name], self.optimizers[player.name]
        for k, part in enumerate(fields.parts(self.named(batch), batch, player.times)):
            for t in self._everyone:  # the others are constants: their gradients would cost time and mean nothing
                t.requires_grad, t.grad = any(t is mine for mine in own), None
            kept = None if mask is None else mask[k :: player.times]
            with self.devices.whole(self._tensors), masked_examples(kept):
                loss, _ = player.loss(self.model, *self.precision.inputs(self.named(part), part))
                loss.backward()
            if player.clip is not None:
                clip_grad_norm(own, player.clip)
            optimizer.step()
            if player.constrain is not None:
                with no_grad():
                    player.constrain(self.model)
        return loss.detach()
