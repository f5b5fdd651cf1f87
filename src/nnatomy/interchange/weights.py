"""Published weights into a model: names are translated, layouts transposed, and the result is reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.interchange.files import contents
from nnatomy.interchange.names import KERAS, LEFT_OUT, Names, Reordered, Variable
from nnatomy.layers.module import Module
from nnatomy.printing import listed
from nnatomy.tensor import Tensor, sealed

Array = np.ndarray[Any, Any]


Translated = tuple[str, str | None, Array]
"""A foreign name, ours (None: left out) and the array as ours is laid out."""


class Buildable(Protocol):
    """An architecture, as `nn.architecture(name)` gives it."""

    def module(self, part: str) -> ModuleType: ...

    def has(self, part: str) -> bool: ...


@dataclass(frozen=True)
class Loaded:
    """The result of `load`; print it for a report. Names are ours, but foreign in `unexpected` and `left_out`."""

    model: Module
    path: Path
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Our parameters and buffers of which the file has nothing."""
    unexpected: tuple[str, ...]
    """Names that the file has and the model does not."""
    misshapen: tuple[str, ...]
    """Each with both shapes."""
    left_out: tuple[str, ...] = ()
    """Not wanted: by the table of names, or counters that our modules do not keep."""

    def __str__(self) -> str:
        lines = [f"{len(self.loaded)} arrays of {self.path} were loaded into {type(self.model).__name__}."]
        for what in ("missing", "unexpected", "misshapen", "left_out"):
            if found := getattr(self, what):
                lines.append(f"  {what.replace('_', ' ')} ({len(found)}): {_few(found)}")
        return "\n".join(lines)


def load(
    model: Module | Buildable, path: str | Path, *, names: Names | None = None, keep: Iterable[str] = (), strict: bool = True,
    **options: Any,
) -> Loaded:  # fmt: skip
    """Give a model, or one that is built of an architecture with `options`, the weights of a file; see `read` for the formats.

    >>> found = nn.interchange.load(nn.architecture("lenet5"), "lenet.keras", names={"last": "output"})  # doctest: +SKIP
    >>> print(found); found.model.eval()  # doctest: +SKIP

    `names`: foreign names, or beginnings of them that end at a "." or "/", and ours in their place; the longest that fits
    counts, and what is not named keeps its name. For Keras files it names layers and our modules, whose classes decide how
    arrays are transposed: {"layers/conv2d": "c1", "layers/dense": Flattened("c5", (16, 5, 5)), "layers/lstm": "lstm.*_l0"}, the
    star being the parameter. An architecture's names.py has tables of the libraries that ship it; without `names`, the table
    whose names the file has is used. `strict`: UserError, and an unchanged model, where anything is missing, unexpected or
    misshapen; else what fits is taken. `keep`: our names whose values stay as they are. Values are converted to the model's
    dtype.
    """
    if not isinstance(model, Module) and not hasattr(model, "module"):
        raise UserError(
            f"Weights are loaded into a model or an architecture. Received {model!r}. "
            f"Give a Module, or nn.architecture({str(model)[:40]!r})."
        )
    arrays, keras = contents(path)
    if not isinstance(model, Module):
        names = _own_table(model, arrays, options) if names is None else names
        model = model.module("model").build(**options)
        assert isinstance(model, Module)
    elif options:
        raise UserError(
            f"Options build an architecture. Received {_few(tuple(options))} with a model that is built. Leave them out."
        )
    used: set[str] = set()
    translated = _from_keras(model, arrays, names or {}, used) if keras else _renamed(arrays, names or {}, used)
    unused = [name for name in names or {} if name not in used]
    if unused:
        raise UserError(
            f"Every foreign name must be in the file. Received {unused[0]!r}, with which no name in {path} starts. "
            f"Use one of {_few(tuple(arrays))}."
        )
    return fill(model, Path(path), translated, keep=keep, strict=strict)


def fill(
    model: Module, path: Path, given: Iterable[Translated], *, keep: Iterable[str] = (), strict: bool = True
) -> Loaded:  # fmt: skip
    """Put arrays in their places, or raise before the first one where `strict` and something does not fit.

    `given`: (foreign name, ours or None to leave it out, array). `keep`: our names whose values stay as they are.
    """
    kept = set(keep)
    own: dict[str, Tensor] = {name: tensor for name, tensor in model._tensors() if name not in kept}
    taken: dict[str, Array] = {}
    unexpected, left_out = [], []
    for foreign, name, array in given:
        if name is None or name in kept or (name not in own and name.rpartition(".")[2] in LEFT_OUT):
            left_out.append(foreign)
        elif name not in own:
            unexpected.append(foreign)
        elif name in taken:
            raise UserError(
                f"Each parameter is loaded once. Received {path}, which has two for {name!r}. Correct the table of names."
            )
        else:
            taken[name] = array
    shared = {id(own[name]) for name in taken}  # one of its names is enough for a parameter that has several
    missing = [name for name, tensor in own.items() if id(tensor) not in shared]
    fitting = {name: taken[name] for name, tensor in own.items() if name in taken and taken[name].shape == tensor.shape}
    misshapen = [f"{n} is {taken[n].shape}, expected {t.shape}" for n, t in own.items() if n in taken and n not in fitting]
    found = Loaded(model, path, tuple(fitting), tuple(missing), tuple(unexpected), tuple(misshapen), tuple(left_out))
    lists = {"missing": found.missing, "unexpected": found.unexpected, "misshapen": found.misshapen}
    problems = [f"{what}: {_few(names)}" for what, names in lists.items() if names]
    if strict and problems:
        raise UserError(
            f"Weights have the names and shapes of {type(model).__name__}. Received others in {path} ({'; '.join(problems)}). "
            "Give a table of names, or strict=False to take what fits."
        )
    for name, array in fitting.items():
        own[name].data = sealed(B.array(np.ascontiguousarray(array).reshape(array.shape), dtype=own[name].dtype))
    return found


def _own_table(architecture: Buildable, arrays: Iterable[str], options: dict[str, Any]) -> Names:
    """The first table of names.py whose every name begins one of the file's; an empty one where there is none."""
    tables: dict[str, Names] = architecture.module("names").tables(**options) if architecture.has("names") else {}
    fitting = (table for table in tables.values() if all(any(_begins(key, name) for name in arrays) for key in table))
    return next(fitting, {})


def _begins(key: str, foreign: str) -> bool:
    """True where the key is the name, or its start up to a "." or "/"."""
    return foreign.startswith(key) and (key == "" or key[-1] in "./" or foreign[len(key) :][:1] in ("", ".", "/"))


def _longest(foreign: str, names: Names) -> str | None:
    """The longest entry of the table that begins the name."""
    return max((key for key in names if _begins(key, foreign)), key=len, default=None)


def _renamed(arrays: dict[str, Array], names: Names, used: set[str]) -> list[Translated]:
    translated: list[Translated] = []
    for foreign, array in arrays.items():
        key = _longest(foreign, names)
        if key is None:
            translated.append((foreign, foreign, array))
            continue
        used.add(key)
        ours = names[key]
        if isinstance(ours, Reordered):
            kind = type(ours).__name__
            raise UserError(f"{kind} is for the files of Keras. Received it for {key!r}. Give the name alone.")
        translated.append((foreign, None if ours is None else (ours + foreign[len(key) :]).lstrip("."), array))
    return translated


def _from_keras(model: Module, arrays: dict[str, Array], names: Names, used: set[str]) -> list[Translated]:
    """Variables by layer; the class of the module that takes a layer says what they become."""
    layers: dict[str, dict[str, str]] = {}
    targets: dict[str, str | Reordered | None] = {}
    for foreign in arrays:
        layer, _, variable = foreign.rpartition("/vars/" if "/vars/" in foreign else "/")
        key = _longest(layer, names)
        if key is None:
            targets[layer] = _own_name(layer)
        else:
            used.add(key)
            layer, targets[key] = key, names[key]
        variables = layers.setdefault(layer, {})
        if variable in variables:
            raise UserError(
                f"A table of names takes Keras's layers one by one. Received {layer!r}, which names several. Name each."
            )
        variables[variable] = foreign
    modules = dict(model.named_modules())
    translated: list[Translated] = []
    for layer, variables in layers.items():
        target = targets[layer]
        path, _, suffix = (target.path if isinstance(target, Reordered) else target or "").partition(".*")
        module = modules.get(path)
        for variable, foreign in variables.items():
            row = None if target is None or module is None else _row(module, suffix, variable, len(variables))
            if row is None:
                translated.append((foreign, None if target is None else foreign, arrays[foreign]))
                continue
            for name, layout in row.ours:
                try:
                    array = layout(arrays[foreign])
                    if isinstance(target, Reordered) and name == "weight":
                        array = target.reordered(array)
                except ValueError:  # it has too few axes, or a size that does not divide: its shape will be reported
                    array = arrays[foreign]
                translated.append((foreign, f"{path}.{name}{suffix}".lstrip("."), array))
    return translated


def _own_name(layer: str) -> str:
    """Return the module's name for a layer that no table names."""
    if layer.startswith("model_weights/"):  # model.save("x.h5"): the layer's name comes first, then the model's, then again
        return layer.split("/")[1]
    return layer.removeprefix("layers/").replace("/", ".")


def _row(module: Module, suffix: str, variable: str, count: int) -> Variable | None:
    """Return the module's name for one of a layer's `count` variables, which are named, or numbered in Keras's order."""
    table = next((KERAS[c.__name__] for c in type(module).__mro__ if c.__name__ in KERAS), ())
    if not variable.isdecimal():
        return next((row for row in table if row.keras == variable.removesuffix(":0")), None)
    present = tuple(row for row in table if getattr(module, row.ours[0][0] + suffix, None) is not None)
    if count != len(present):  # the numbers of one that lacks a scale, say, mean other things
        bare = count == len(table) - 1 and table[-1].keras == "bias"
        present = table if bare or count == len(table) else ()
    return present[int(variable)] if int(variable) < len(present) else None


def _few(names: tuple[str, ...]) -> str:
    return listed(names, 400)
