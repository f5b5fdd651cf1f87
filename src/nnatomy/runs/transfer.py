"""Transfer: runs that start from other weights, with a new head, with parameters frozen or learning more slowly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnatomy import random
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.interchange.weights import Loaded, fill, load
from nnatomy.layers.module import Module
from nnatomy.optim import Optimizer
from nnatomy.runs.folder import Run
from nnatomy.runs.known import FILE as KNOWN_DATA
from nnatomy.runs.known import KnownData
from nnatomy.runs.progress import counted
from nnatomy.tensor import Parameter, Tensor
from nnatomy.training.learners import Setup
from nnatomy.training.learners.learner import Named
from nnatomy.training.loop import Callback, Loop
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from nnatomy.runs.prepare import Prepared


LARGEST = 1e6
"""The largest factor of a learning rate: no weights stay finite with more."""


def begin_from(model: Module, source: str | Path, keep: Iterable[str] = ()) -> Loaded:
    """Give a model the weights of a run's best epoch, or of a file; `keep`: names whose values stay as they are.

    Raises UserError where anything is missing, unexpected or misshapen, with --new-head as the remedy where that helps.
    """
    path = Path(source).expanduser()
    if (path / "run.json").is_file():
        found = fill(model, path, [(name, name, a) for name, a in Run.open(path).weights().items()], keep=keep, strict=False)
    else:
        found = load(model, path, keep=keep, strict=False)
    wrong = {"missing": found.missing, "unexpected": found.unexpected, "misshapen": found.misshapen}
    problems = [f"{what}: {', '.join(names[:6])}" for what, names in wrong.items() if names]
    if problems:
        raise UserError(
            f"A run starts from weights that fit its model. Received those of {source}, which do not ({'. '.join(problems)}). "
            "Start from "
            "the same architecture with the same options, or give --new-head where only the number of outputs differs."
        )
    return found


def begin(prepared: Prepared) -> list[str]:
    """Load the weights that a request names; return notices of what starts from where and what is frozen.

    Raises UserError for weights, patterns and factors that do not fit.
    """
    request, model, notices = prepared.request, prepared.model, []
    if request.new_head and request.from_ is None:
        raise UserError("--new-head renews a layer of other weights. Received it without --from. Leave it out or name a run.")
    if request.from_ is not None:
        renewed = head(prepared.recipe, prepared.dataset, model) if request.new_head else ()
        found = begin_from(model, request.from_, renewed)
        new = f"; new are {', '.join(renewed)}" if renewed else ""
        notices.append(f"starts from {request.from_}: {', '.join(found.loaded)}{new}")
        notices += _seen_rows(Path(request.from_).expanduser(), prepared.dataset)
    freezing = Freezing(model, request.freeze) if request.freeze else None
    kept = random.default.state_dict()
    prepared.recipe.learn.begin(model, prepared.dataset, setup(prepared, freezing))  # refuses before a folder is made
    random.default.load_state_dict(kept)
    if freezing is not None:
        for epochs in sorted({freezing.epochs[name] for name, _ in model.named_parameters()} - {0}):
            names = [name for name, _ in model.named_parameters() if freezing.epochs[name] == epochs]
            how_long = "for the whole run" if epochs == math.inf else f"for {counted(int(epochs), 'epoch')}"
            notices.append(f"frozen {how_long}: {', '.join(names)}")
    return notices


def _seen_rows(source: Path, dataset: Dataset) -> list[str]:
    """Return a notice where weights come from a run on the same data with other splits."""
    if not (source / KNOWN_DATA).is_file() or not KnownData.of(source, "").tests_on_known(dataset):
        return []
    return [
        f"{source} was trained on the same data, split otherwise: it may have learned rows that this run tests on. "
        "Give its --seed as --split-seed."
    ]


def head(recipe: Recipe, dataset: Dataset, model: Module) -> tuple[str, ...]:
    """The parameters and buffers whose shape follows from the number of outputs. Raises UserError where none does."""
    kept = random.default.state_dict()
    wider = replace(dataset, outputs=dataset.outputs + 1, classes=(*dataset.classes, "") if dataset.classes else ())
    other = recipe.build(wider, **recipe.options).state_dict()
    random.default.load_state_dict(kept)
    found = tuple(name for name, a in model.state_dict().items() if name not in other or other[name].shape != a.shape)
    if not found:
        raise UserError(
            f"--new-head renews what depends on the outputs. Received {type(model).__name__}, which has no such layer. Omit it."
        )
    return found


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a pattern fits, alone or as the start of a path: c1* and c1 both fit c1.weight.

    Raises UserError where it fits none.
    """
    names = list(names)
    found = [name for name in names if fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")]
    if not found:
        raise unknown_name("parameter", pattern, names)
    return found


class Freezing(Callback):
    """Freezes parameters, for the whole run or for the first epochs (gradual unfreezing).

    `patterns`: "c1*" for the whole run, "c3*=2" for two epochs. What is frozen has no gradient, no optimizer step and no weight
    decay. A normalization layer all of whose arrays are frozen normalizes by the statistics it came with, and keeps them.
    """

    def __init__(self, model: Module, patterns: Iterable[str]) -> None:
        self.model = model
        self.epochs: dict[str, float] = {}  # for how many each parameter or buffer is held
        names = list(model.state_dict())
        for text in patterns:
            pattern, _, epochs = text.partition("=")
            if epochs and not (epochs.isdecimal() and int(epochs) > 0):
                raise UserError(f"--freeze takes PATTERN or PATTERN=EPOCHS. Received {text!r}. Use, for example, 'c1*=2'.")
            for name in matching(pattern, names):
                self.epochs[name] = max(self.epochs.get(name, 0), int(epochs) if epochs else math.inf)
        longest = {id(tensor): 0.0 for _, tensor in model._tensors()}
        for name, tensor in model._tensors():
            longest[id(tensor)] = max(longest[id(tensor)], self.epochs.get(name, 0))
        self.epochs = {name: longest[id(tensor)] for name, tensor in model._tensors()}  # a shared array has several names
        parameters = [name for name, _ in model.named_parameters()]
        if all(self.epochs[name] > 0 for name in parameters):
            raise UserError(f"A parameter must learn from the first epoch on. Received --freeze for all {len(parameters)}. "
                            "Leave some out.")  # fmt: skip

    def held(self, name: str, epoch: float) -> bool:
        """Return True if a parameter or buffer is frozen in an epoch, counted from 0; infinity: in every epoch."""
        return self.epochs[name] > epoch or self.epochs[name] == math.inf

    def before_epoch(self, loop: Loop) -> None:
        epoch, changed = loop.position.epoch, False
        for name, parameter in self.model.named_parameters():
            changed |= parameter.requires_grad == self.held(name, epoch)
            parameter.requires_grad = not self.held(name, epoch)
        for path, module in self.model.named_modules():
            own = {f"{path}.{name}": value for name, value in module._walk() if isinstance(value, Tensor)}
            normalizes = any(not isinstance(value, Parameter) for value in own.values())
            if path and normalizes and all(self.held(name, epoch) for name in own):
                module.training = False
        if changed:
            loop.learner.version += 1


def setup(prepared: Prepared, freezing: Freezing | None, devices: Devices | None = None) -> Setup:
    """Return how a request computes: precision, devices, and optimizers with its rates and without what is frozen."""
    request = prepared.request
    changed = freezing is not None or bool(request.rates)
    make = partial(optimizer_for, rates=request.rates, freezing=freezing)
    plain = Setup(prepared.task.precision, request.accumulate, devices or Devices())
    return replace(plain, optimizer=make, freezes=True) if changed else plain


def optimizer_for(
    rule: partial[Any], parameters: Named, rates: Mapping[str, float], freezing: Freezing | None
) -> Optimizer:  # fmt: skip
    """Return the optimizer of all parameters that are ever to learn, in groups of one learning rate each.

    `rates`: factors of the learning rate by pattern; of several that fit a parameter the last one counts.
    """
    factors = {name: 1.0 for name, _ in parameters if freezing is None or not freezing.held(name, math.inf)}
    names = [name for name, _ in parameters]
    for pattern, factor in rates.items():
        if not 0 < factor <= LARGEST:
            raise UserError(
                f"--rates takes a factor above 0 and at most {LARGEST:g}. Received {pattern}={factor:g}. Use --freeze to stop "
                "learning."
            )
        factors |= {name: factor for name in matching(pattern, names) if name in factors}
    if not rates:
        return rule([(name, p) for name, p in parameters if name in factors])  # type: ignore[no-any-return]
    ordered = sorted(set(factors.values()), key=lambda factor: (factor != 1, factor))  # the log shows the first group's rate
    optimizer: Optimizer = rule([{"params": [(n, p) for n, p in parameters if factors.get(n) == factor]} for factor in ordered])
    for group, factor in zip(optimizer.param_groups, ordered, strict=True):
        if not isinstance(group.get("lr"), float):
            raise UserError(
                f"--rates changes a learning rate. Received {type(optimizer).__name__}, which chooses its own. Leave it out."
            )
        group["lr"] *= factor
    return optimizer
