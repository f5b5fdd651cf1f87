"""Verification: a model takes the same steps as its PyTorch and Keras twins, and every number is compared."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.errors import unknown_name
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import TWINS, Arrays, Implementation, Ours, own_learner, twins_of
from nnatomy.verification.report import LIMITS, MEASURES, Comparison, Verification, fill_table
from nnatomy.verification.timing import measure
from nnatomy.verification.trajectory import Trajectory, cast, difference, draw_weights, floor_of, travel


def verify(
    architecture: Architecture | str,
    *,
    precision: Sequence[str] = ("float64", "float32"),
    twins: Sequence[str] | None = None,
    cases: Sequence[str] | None = None,
    seed: int = 0,
    steps: int = 3,
    timing: bool = True,
) -> Verification:
    """Hold an architecture's cases against its twins, from the same random weights and on the same batch.

    Compared are the outputs in evaluation mode; the loss in training mode; every parameter's gradient; and weights and buffers
    after `steps` steps of SGD with the case's learning rate and momentum 0.9; and against PyTorch in float64, and against a
    reference, all parameters and buffers after `steps` steps of the own learner. A tensor's difference is max|a - b| / scale,
    where the scale is the largest entry of the twin's tensor; for gradients it is at least 1e-3 of the largest entry of all
    gradients, and that largest entry itself where both sides hold nothing but rounding (less than 100 machine epsilons of
    it): a bias just before batch normalization has a gradient of 0 in theory. At most 1e-9 passes in float64, 1e-4 in float32.

    Raises UserError where a twin's framework is not installed, and for unknown names.
    """
    found = find_architecture(architecture) if isinstance(architecture, str) else architecture
    for name, kind, known in [(p, "precision", LIMITS) for p in precision] + [(t, "twin", TWINS) for t in twins or ()]:
        if name not in known:
            raise unknown_name(kind, name, known)
    by_name = {case.name: case for case in found.cases}
    for name in cases or ():
        if name not in by_name:
            raise unknown_name(f"case of {found.name}", name, by_name)
    chosen = [by_name[name] for name in cases] if cases is not None else list(by_name.values())
    twins = twins_of(found) if twins is None else twins
    if not twins or not chosen:
        return Verification(found.name, (_nothing(found, bool(twins)),))
    comparisons = [c for case in chosen for p in precision for c in compare(found, case, p, twins, seed, steps)]
    timing = timing and all(case.loss is not None for case in chosen) and "reference" not in twins
    return Verification(found.name, tuple(comparisons), tuple(measure(found, c, twins, seed) for c in chosen) if timing else ())


def _nothing(architecture: Architecture, cases: bool) -> Comparison:
    """The comparison of an architecture that has nothing to be compared: it fails."""
    lacks = "recipe.py lists no cases" if cases else "the folder has neither torch_twin.py, keras_twin.py nor reference.py"
    return Comparison("-", "-", "-", 0.0, {}, f"nothing was compared: {lacks}")


def compare(
    architecture: Architecture, case: Case, precision: str, twins: Sequence[str], seed: int = 0, steps: int = 3
) -> list[Comparison]:
    """One case in one precision against each of `twins`."""
    ours = Ours(architecture, case, precision, seed)
    rng = np.random.default_rng(seed)
    start = draw_weights(ours, rng)
    batch = cast(case.batch(rng), precision)
    mine: Trajectory | Exception
    try:
        mine = travel(ours, case, start, batch, steps)
    except Exception as problem:  # a broken model may raise anything; where, is reported below
        mine = problem
    there = [twin for twin in twins if twin in twins_of(architecture, case) or twin != "library"]
    return [_against(TWINS[twin](architecture, case, precision), ours, mine, start, batch, steps, precision) for twin in there]


def _against(
    twin: Implementation,
    ours: Ours,
    mine: Trajectory | Exception,
    start: Arrays,
    batch: tuple[Any, ...],
    steps: int,
    precision: str,
) -> Comparison:
    limit = LIMITS[precision]

    def failed(where: str) -> Comparison:
        return Comparison(ours.case.name, twin.name, precision, limit, dict.fromkeys(MEASURES[:-1], math.inf), where)

    misfit = _misfit(start, twin.state())
    if misfit:
        return failed(misfit)
    theirs = travel(twin, ours.case, start, batch, steps)
    if isinstance(mine, Exception):
        stage = _first_bad_stage(ours, twin, start, ours.case.inputs(batch), False, limit)
        return failed(stage or f"after the forward pass: nnatomy raised {type(mine).__name__}: {mine}")
    if len(mine.outputs) != len(theirs.outputs):
        return failed(f"the model gives {len(mine.outputs)} outputs, its twin {len(theirs.outputs)}")
    gradients = {n: difference(mine.gradients[n], g, floor_of(n, mine, theirs, precision)) for n, g in theirs.gradients.items()}
    after = {name: difference(mine.state[name], w) for name, w in theirs.state.items()}
    weights = {name: d for name, d in after.items() if name in gradients}
    buffers = {name: d for name, d in after.items() if name not in gradients}
    found = {"outputs": max(map(difference, mine.outputs, theirs.outputs))}
    if mine.loss is not None and theirs.loss is not None:
        found |= {
            "loss": difference(np.array(mine.loss), np.array(theirs.loss)),
            "gradients": max(gradients.values(), default=0.0),
            "weights": max(weights.values(), default=0.0),
            "buffers": max(buffers.values(), default=0.0),
        }
    own, why = _own_steps(ours, twin, mine, theirs, precision)
    if why:
        return failed(why)
    apart = {name: d for name, d in own.items() if not d <= limit}
    found |= {"own steps": max(own.values())} if own else {}
    bad = next((m for m in MEASURES if m in found and not found[m] <= limit), None)
    stage = _first_bad_stage(ours, twin, start, ours.case.inputs(batch), bad != "outputs", limit) if bad else ""
    if bad is None or stage:
        place = stage
    elif bad in ("outputs", "loss"):
        place = f"{'the loss function' if bad == 'loss' else 'the model itself'}, as every stage agrees"
    elif bad == "gradients":
        wrong = [name for name, d in gradients.items() if not d <= limit]
        order = [path.split("#")[0] for path in ours.stages(ours.case.inputs(batch), True)[0]]
        nearest = max(wrong, key=lambda name: _position(name, order))  # the walk back meets it first
        place = f"gradient of {nearest}, off by {gradients[nearest]:.1e} (first on the way back; wrong: {', '.join(wrong)})"
    elif bad == "own steps":
        learner = type(own_learner(ours.architecture, ours.case)).__name__
        place = f"after {steps} steps of {learner}: {', '.join(apart)}, though outputs agree"
    else:
        wrong = [name for name, d in (weights | buffers).items() if not d <= limit]
        place = f"{bad} after {steps} steps: {', '.join(wrong)}, though outputs, loss and first gradients agree"
    return Comparison(ours.case.name, twin.name, precision, limit, found, place)


def _own_steps(
    ours: Ours, twin: Implementation, mine: Trajectory, theirs: Trajectory, precision: str
) -> tuple[dict[str, float], str]:
    """The differences after the steps of the own learner by parameter and buffer, and why they are missing where they must not.

    They are compared with PyTorch in double precision, since Adam makes whole steps of rounding errors in gradients near zero.
    """
    declared = Contract.OWN_STEPS in ours.case.without
    needed = twin.name == "reference" or (twin.name == "torch" and precision == "float64" and not declared)
    if isinstance(theirs.own, str) or isinstance(mine.own, str):
        return {}, (theirs.own if isinstance(theirs.own, str) else str(mine.own)) if needed else ""
    if not needed and not (twin.name == "keras" and not declared):
        return {}, ""
    return {name: difference(mine.own[name], w) for name, w in theirs.own.items()}, ""


def _misfit(ours: Arrays, theirs: Arrays) -> str:
    """Return the differences in names or shapes between the twin's parameters and buffers and ours, as text."""
    problems = [f"only nnatomy has {name}" for name in ours if name not in theirs]
    problems += [f"only the twin has {name}" for name in theirs if name not in ours]
    problems += [
        f"{name} has shape {a.shape}, the twin's {theirs[name].shape}"
        for name, a in ours.items()
        if name in theirs and a.shape != theirs[name].shape
    ]
    return f"parameters: {'; '.join(problems)}" if problems else ""


def _first_bad_stage(
    ours: Ours, twin: Implementation, start: Arrays, inputs: tuple[Any, ...], training: bool, limit: float
) -> str:
    """Return the name of the first part of the model, in the order of execution, whose output differs from the twin's."""
    ours.load(start)
    twin.load(start)
    mine, problem = ours.stages(inputs, training)
    theirs, _ = twin.stages(inputs, training)
    done = ""
    for path, a in mine.items():
        b = theirs.get(path, theirs.get(path.replace(".", "_")))
        if b is None:
            continue
        if b.shape != a.shape and b.ndim > 2 and np.moveaxis(b, -1, 1).shape == a.shape:
            b = np.moveaxis(b, -1, 1)  # channels last
        if a.shape != b.shape:
            return f"stage {path or 'model'}: shape {a.shape}, the twin's {b.shape}"
        if not difference(a, b) <= limit:
            return f"stage {path or 'model'}: off by {difference(a, b):.1e}" + (f"; {done} agrees" if done else "")
        done = path
    if problem is not None:
        return f"after stage {done or 'none'}: nnatomy raised {type(problem).__name__}: {problem}"
    return ""


def _position(name: str, order: list[str]) -> int:
    """The place in the order of execution of the part that owns a parameter."""
    owner = name
    while "." in owner:
        owner = owner.rpartition(".")[0]
        if owner in order:
            return order.index(owner)
    return len(order)


def verify_architectures(
    architectures: Sequence[Architecture], *, write: bool = False, log: bool = True
) -> list[Verification]:
    """Verify several architectures; with `write` fills their pages' tables, with `log` reports progress on stderr."""
    results = []
    for architecture in architectures:
        if log:
            print(f"Verifying {architecture.name} ...", file=sys.stderr)
        result = verify(architecture, timing=not compiles_by_shape())  # operations one by one are not how JAX is used
        results.append(result)
        if write:
            from nnatomy.runs.folder import write_atomically

            path = architecture.folder / "page.md"
            write_atomically(path, fill_table(path.read_text(encoding="utf-8"), "verify", result.page_rows()))
    return results
