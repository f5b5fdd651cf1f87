"""Optimizer: applies a rule to parameters and keeps the rule's state. The rules are in rules.py and lbfgs.py."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np

from nnatomy import foreign
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import enable_grad, no_grad
from nnatomy.tensor import Array, Parameter, Tensor, result

Group = dict[str, Any]
"""Parameters that share settings: "params", "names", and each hyperparameter by name."""

_AT_LEAST_0 = ("lr", "momentum", "weight_decay", "eps", "eps1", "eps2", "lr_decay", "initial_accumulator_value",
               "momentum_decay", "lambd", "t0",
               "tolerance_grad", "tolerance_change")  # fmt: skip
_FRACTIONS = ("alpha", "rho")
_COUNTS = ("max_iter", "max_eval", "history_size")


class Optimizer(ABC):
    """Changes parameters so that a loss falls: p, s = update(p, g, s, group, t) for each one that has a gradient g.

    `params`: Parameters, (name, Parameter) pairs (`model.named_parameters()`), or group dictionaries
    {"params": [...], "lr": ..., ...} whose settings take precedence over the constructor's.
    Raises UserError for hyperparameters out of range, and where there is nothing to learn.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        foreign.check_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[str, dict[str, Array]] = {}  # of each parameter that has been updated, by its name
        self.steps: dict[str, Any] = {}  # how often it has been
        self.factor: Any = 1.0  # what a schedule multiplies every group's lr by
        _check(defaults)
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            remedy = "[p]" if isinstance(params, Tensor) else "model.parameters()"
            raise UserError(f"params must be an iterable of Parameters. Received {type(params).__name__}. Give {remedy}.")
        given = list(params)
        if not given:
            raise UserError("An optimizer needs at least one parameter. Received none. Give those of a model that has some.")
        for group in given if isinstance(given[0], Mapping) else [{"params": given}]:
            self.add_param_group(group)

    # The rule

    @abstractmethod
    def initial(self, p: Array, group: Group) -> dict[str, Array]:
        """The state of a parameter p before its first update."""

    @abstractmethod
    def update(self, p: Array, g: Array, s: dict[str, Array], group: Group, t: Any) -> tuple[Array, dict[str, Array]]:
        """The new p and s, given the gradient g; t = 1, 2, ... counts updates.

        Pure: arrays in, new arrays out; group["lr"] and t may be numbers or traced scalars.
        """

    # Applying it

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; `closure` computes loss and gradients first and its loss is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                lr = _plain(group["lr"]) * _plain(self.factor)
                now, traced = {**group, "lr": lr}, hasattr(lr, "astype")
                maximize, asarray = group.get("maximize"), B.asarray  # scalars, which small arrays may become, are arrays again
                for name, param in zip(group["names"], group["params"]):
                    if param.grad is None:
                        continue
                    if not isinstance(param.grad, Tensor):
                        raise UserError(
                            f"The gradient of {name} must be a Tensor. Received {type(param.grad).__name__}. Use nn.tensor()."
                        )
                    if name not in self.state:
                        self._prepare(name, param, group)
                    t = self.steps[name] + 1
                    g = param.grad.data
                    at = t
                    if traced:
                        now["lr"], at = _single(lr, param.dtype), _single(t, param.dtype)
                    p, s = self.update(param.data, -g if maximize else g, self.state[name], now, at)
                    param.copy_(result(asarray(p)))
                    for key, value in s.items():
                        s[key] = asarray(value)
                    self.state[name] = s
                    self.steps[name] = t
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with `set_to_none=False` those that there are become zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None if set_to_none or param.grad is None else Tensor(B.zeros_like(param.grad.data))

    @property
    def lr(self) -> Any:
        """The learning rate of the first group, before `factor`; setting it sets that of all groups."""
        return self.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        _check({"lr": value})
        for group in self.param_groups:
            group["lr"] = float(value)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add parameters with their own settings; what is not given is as in the constructor."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise UserError(
                f'A parameter group must be a dictionary {{"params": [...], "lr": ...}}. Received {_short(group)}. '
                "Give such a dictionary."
            )
        given = group["params"]
        members = [given] if isinstance(given, Tensor) else list(given)
        taken = [name for other in self.param_groups for name in other["names"]]
        owned = {id(p) for other in self.param_groups for p in other["params"]}
        names: list[str] = []
        params: list[Parameter] = []
        for member in members:
            named = isinstance(member, tuple) and len(member) == 2
            name, param = member if named else (str(len(taken) + len(names)), member)
            if not isinstance(param, Tensor) or not isinstance(name, str):
                raise UserError(
                    f"params must be Parameters or (name, Parameter) pairs. Received {_short(member)}. "
                    "Give model.parameters() or model.named_parameters()."
                )
            if not param.is_leaf or not is_floating(param.dtype):
                raise UserError(
                    f"Only floating-point leaves can be optimized. Received {param!r:.60} for {name!r}. Give its leaf."
                )
            if id(param) in owned or name in taken or name in names:
                raise UserError(f"Each parameter belongs to one group, under one name. Received {name!r} twice. Give it once.")
            owned.add(id(param))
            names.append(name)
            params.append(param)  # type: ignore[arg-type]
        if not params:
            raise UserError("A parameter group needs at least one parameter. Received none. Leave the group out.")
        settings = {key: value for key, value in group.items() if key not in ("params", "names")}
        for key in settings:
            if key not in self.defaults:
                raise unknown_name(f"{type(self).__name__} setting", key, self.defaults)
        _check(settings)
        plain = {key: _plain(value) for key, value in {**self.defaults, **settings}.items()}
        self.param_groups.append({"params": params, "names": names, **plain})

    # State, as a tree for compiled steps and as a flat dictionary for files

    def state_tree(self) -> dict[str, Any]:
        """All that a step changes or a schedule sets, as a tree of arrays and numbers for a pure training step.

        {"state": {parameter: {key: array}}, "steps": {parameter: int}, "lr": [of each group], "factor": float}.
        """
        for group in self.param_groups:
            for name, param in zip(group["names"], group["params"]):
                self._prepare(name, param, group)
        return {
            "state": {name: dict(arrays) for name, arrays in self.state.items()},
            "steps": dict(self.steps),
            "lr": [group["lr"] for group in self.param_groups],
            "factor": self.factor,
        }

    def bind(self, tree: Mapping[str, Any]) -> None:
        """Put a tree as `state_tree()` gives it in place; its scalars may be traced ones."""
        self.state = {name: dict(arrays) for name, arrays in tree["state"].items()}
        self.steps = {name: _number(t, int) for name, t in tree["steps"].items()}
        self.factor = _number(tree["factor"], float)
        for group, lr in zip(self.param_groups, tree["lr"], strict=True):
            group["lr"] = _number(lr, float)

    def state_dict(self) -> dict[str, Any]:
        """A flat dictionary: "state.<parameter>.<key>" -> ndarray (a copy), and plain values that JSON can hold.

        Those are "step.<parameter>", "group.<i>.<setting>" and "factor".
        """
        flat: dict[str, Any] = {"factor": _plain(self.factor)}
        for i, group in enumerate(self.param_groups):
            flat |= {f"group.{i}.{key}": _plain(group[key]) for key in self.defaults}
        for name, arrays in self.state.items():
            flat[f"step.{name}"] = self.steps[name]
            flat |= {f"state.{name}.{key}": np.array(value) for key, value in arrays.items()}
        return flat

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the values of `state_dict()`; raises UserError naming what is missing, unexpected or misshapen."""
        left = dict(state)
        groups = range(len(self.param_groups))
        settings = [{key: left.pop(f"group.{i}.{key}", _MISSING) for key in self.defaults} for i in groups]
        missing = [f"group.{i}.{key}" for i, group in enumerate(settings) for key, value in group.items() if value is _MISSING]
        misshapen = []
        loaded: dict[str, dict[str, Array]] = {}
        steps: dict[str, int] = {}
        factor = left.pop("factor", 1.0)
        if not missing:
            for group, new in zip(self.param_groups, settings):
                _check(new)
                for name, param in zip(group["names"], group["params"]):
                    if f"step.{name}" not in left:
                        continue
                    steps[name], loaded[name] = int(left.pop(f"step.{name}")), {}
                    for key, like in self.initial(param.data, {**group, **new}).items():
                        value = left.pop(f"state.{name}.{key}", _MISSING)
                        if value is _MISSING:
                            missing.append(f"state.{name}.{key}")
                        elif tuple(value.shape) != tuple(like.shape):
                            misshapen.append(f"state.{name}.{key} is {tuple(value.shape)}, expected {tuple(like.shape)}")
                        else:
                            loaded[name][key] = B.array(value, dtype=like.dtype)
        found = {"missing": missing, "unexpected": [] if missing else list(left), "misshapen": misshapen}
        problems = [
            f"{what}: {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" for what, names in found.items() if names
        ]
        if problems:
            raise UserError(
                f"A state fits {type(self).__name__} and its parameters. Received {'; '.join(problems)}. "
                "Load the state of such an optimizer."
            )
        for group, new in zip(self.param_groups, settings):
            group |= {key: _plain(value) for key, value in new.items()}
        self.state, self.steps, self.factor = loaded, steps, factor

    def _prepare(self, name: str, param: Tensor, group: Group) -> None:
        if name not in self.state:
            self.state[name] = self.initial(param.data, group)
            self.steps[name] = 0

    def __repr__(self) -> str:
        count = sum(len(group["params"]) for group in self.param_groups)
        settings = ", ".join(f"{key}={self.param_groups[0][key]}" for key in self.defaults)
        return f"{type(self).__name__}({count} parameters in {len(self.param_groups)} group(s), {settings})"


_MISSING: Any = object()


def _number(value: Any, kind: type) -> Any:
    """A Python number, which is weak and exact on the host; a traced scalar, which cannot be one, stays as it is."""
    try:
        return kind(value)
    except TypeError:
        return value


def _single(value: Any, dtype: Any) -> Any:
    """A traced scalar in float32 next to float32 parameters, where an accelerator would compute in float64 for each element."""
    return value.astype(dtype) if dtype == "float32" else value


def _plain(value: Any) -> Any:
    """NumPy numbers would make float32 parameters float64: Python's own are weak."""
    if isinstance(value, tuple | list):
        return tuple(_plain(v) for v in value)
    return value.item() if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.size == 1) else value


def _short(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) < 60 else text[:57] + '...'}"


def _check(settings: Mapping[str, Any]) -> None:
    """Raise UserError for the first setting that is out of its range; settings without a range are left to their rule."""
    for key, value in settings.items():
        if value is None:
            continue
        if key == "eps" and isinstance(value, tuple | list):  # Adafactor's pair
            _check({f"eps{i + 1}": v for i, v in enumerate(value)})
        elif key in _AT_LEAST_0:
            _require(key, value, "a finite number >= 0", lambda v: v >= 0)
        elif key in _FRACTIONS:
            _require(key, value, "between 0 and 1", lambda v: 0 <= v <= 1)
        elif key == "d":
            _require(key, value, "a finite number >= 1", lambda v: v >= 1)
        elif key in _COUNTS:
            _require(key, value, "a whole number >= 1", lambda v: v >= 1 and v == int(v))
        elif key == "dampening":
            _require(key, value, "a finite number", lambda v: True)
        elif key == "beta2_decay":
            _require(key, value, "a finite number <= 0", lambda v: v <= 0)
        elif key == "betas":
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise UserError(f"betas must be a pair of numbers. Received {value!r}. The usual ones are (0.9, 0.999).")
            for i, beta in enumerate(value):
                _require(f"betas[{i}]", beta, "at least 0 and below 1", lambda v: 0 <= v < 1)


_REMEDIES = {
    "lr": "Try 0.001",
    "betas[0]": "Try 0.9",
    "betas[1]": "Try 0.999",
    "momentum": "Try 0.9",
    "weight_decay": "Use 0 to switch it off",
    "eps": "Try 1e-08",
}


def _require(key: str, value: Any, rule: str, holds: Callable[[float], bool]) -> None:
    plain = _plain(value)
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    if not number or not math.isfinite(plain) or not holds(plain):
        raise UserError(f"{key} must be {rule}. Received {plain!r}. {_REMEDIES.get(key, 'Leave it out for the default')}.")
