"""Verification: a model takes the same steps as its PyTorch and Keras twins, and every number is compared."""

from __future__ import annotations

import math
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.errors import UserError, unknown_name
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import TWINS, Arrays, CannotLearn, Implementation, Ours, own_learner, twins_of

LIMITS = {"float64": 1e-9, "float32": 1e-4}
"""The largest relative difference that passes."""
MEASURES = ("outputs", "loss", "gradients", "weights", "buffers", "own steps")


@dataclass(frozen=True)
class Comparison:
    """The largest relative difference from one twin, in one precision, of each thing that is compared; see `verify`."""

    case: str
    twin: str
    precision: str
    limit: float
    differences: Mapping[str, float]
    """By what is compared, of MEASURES; infinite where it did not come to a comparison, absent where it does not apply."""
    first_bad: str = ""
    """Where the first difference above the limit shows; empty where there is none."""

    @property
    def passed(self) -> bool:
        return not self.first_bad and bool(self.differences) and all(d <= self.limit for d in self.differences.values())

    def to_json(self) -> dict[str, Any]:
        finite = {measure: d if math.isfinite(d) else None for measure, d in self.differences.items()}
        return {**asdict(self), "differences": finite, "passed": self.passed}


@dataclass(frozen=True)
class Timing:
    """Median seconds of a forward and backward pass in float32 on one thread, for ours and each twin."""

    case: str
    examples: int
    seconds: dict[str, float]

    def ratio(self, twin: str = "torch") -> float:
        """How many times as long ours takes."""
        return self.seconds["nnatomy"] / self.seconds[twin]


@dataclass(frozen=True)
class Verification:
    """What came of verifying one architecture."""

    architecture: str
    comparisons: tuple[Comparison, ...]
    timings: tuple[Timing, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether every difference is within its limit; nothing compared is nothing proven."""
        return bool(self.comparisons) and all(comparison.passed for comparison in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """Plain values; a difference that is not finite is null."""
        comparisons = [comparison.to_json() for comparison in self.comparisons]
        return {"passed": self.passed, "comparisons": comparisons, "timings": [asdict(t) for t in self.timings]}

    def table(self) -> list[tuple[str, ...]]:
        """A heading and one row for each comparison, for a terminal."""
        rows: list[tuple[str, ...]] = [("architecture", "case", "twin", "precision", *MEASURES, "verdict")]
        for c in self.comparisons:
            numbers = [_short(c.differences[measure]) if measure in c.differences else "-" for measure in MEASURES]
            rows.append(
                (self.architecture, c.case, c.twin, c.precision, *numbers, "equal" if c.passed else f"DIFFERS: {c.first_bad}")
            )
        return rows

    def times(self) -> list[tuple[str, ...]]:
        """A heading and one row for each case: milliseconds of a forward and backward pass."""
        rows: list[tuple[str, ...]] = [
            ("architecture", "case", "examples", "nnatomy ms", "torch ms", "keras ms", "nnatomy / torch")
        ]
        for t in self.timings:
            times = [f"{t.seconds[side] * 1e3:.2f}" if side in t.seconds else "" for side in ("nnatomy", "torch", "keras")]
            rows.append(
                (self.architecture, t.case, str(t.examples), *times, f"{t.ratio():.1f}" if "torch" in t.seconds else "")
            )
        return rows

    def page_rows(self) -> list[tuple[str, ...]]:
        """A heading and one row for each case and twin, for the architecture's page."""
        shown = ("outputs", "gradients", "weights")
        rows: list[tuple[str, ...]] = [("Case", "Twin", *(f"{measure}, {' / '.join(LIMITS)}" for measure in shown))]
        by = {(c.case, c.twin, c.precision): c for c in self.comparisons}
        for case, twin in dict.fromkeys((c.case, c.twin) for c in self.comparisons):
            found = [by.get((case, twin, precision)) for precision in LIMITS]
            cells = [" / ".join(_short(c.differences[m]) if c and m in c.differences else "-" for c in found) for m in shown]
            rows.append((case, {"torch": "PyTorch", "keras": "Keras"}.get(twin, twin), *cells))
        return rows


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
    """Holds an architecture's cases against its twins, from the same random weights and on the same batch.

    Compared are the outputs in evaluation mode; the loss in training mode; every parameter's gradient; and weights and buffers
    after `steps` steps of SGD with the case's learning rate and momentum 0.9; and against PyTorch in float64, and against a
    reference, all parameters and buffers after `steps` steps of the own learner. A tensor's difference is max|a - b| / scale,
    where the scale is the largest entry of the twin's tensor; for gradients it is no less than 1e-3 of the largest entry of all
    gradients, and that largest entry itself where both sides hold nothing but rounding (less than 100 machine epsilons of
    it): a bias just before batch normalisation has a gradient of 0 in theory. At most 1e-9 passes in float64, 1e-4 in float32.

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


# Comparing


@dataclass(frozen=True)
class Trajectory:
    """What one side computed on the way."""

    outputs: list[np.ndarray[Any, Any]]
    loss: float | None
    gradients: Arrays
    state: Arrays
    own: Arrays | str
    """Parameters and buffers after the steps of the own learner, or why there are none."""


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
    except Exception as problem:  # a broken model may raise anything; where, is told below
        mine = problem
    return [_against(TWINS[twin](architecture, case, precision), ours, mine, start, batch, steps, precision) for twin in twins]


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
    gradients = {n: difference(mine.gradients[n], g, _floor(n, mine, theirs, precision)) for n, g in theirs.gradients.items()}
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

    They are compared with PyTorch in double precision, since Adam turns rounding on gradients near zero into whole steps.
    """
    declared = Contract.OWN_STEPS in ours.case.without
    needed = twin.name == "reference" or (twin.name == "torch" and precision == "float64" and not declared)
    if isinstance(theirs.own, str) or isinstance(mine.own, str):
        return {}, (theirs.own if isinstance(theirs.own, str) else str(mine.own)) if needed else ""
    if not needed and not (twin.name == "keras" and not declared):
        return {}, ""
    return {name: difference(mine.own[name], w) for name, w in theirs.own.items()}, ""


def travel(side: Implementation, case: Case, start: Arrays, batch: tuple[Any, ...], steps: int) -> Trajectory:
    """Leads one side from the starting weights through an answer, a gradient and some steps, then through its own learner's."""
    side.load(start)
    outputs = side.outputs(case.inputs(batch))
    loss, gradients = None, Arrays()
    try:
        loss, gradients = side.gradients(batch)
        for step in range(steps):
            if step:
                side.gradients(batch)
            side.update()
    except CannotLearn:
        pass
    state = side.state()
    own: Arrays | str
    try:
        side.start(start, steps)
        for step in range(steps):
            side.learn(batch, step)
        own = side.state()
    except CannotLearn as why:
        own = str(why)
    return Trajectory(outputs, loss, gradients, state, own)


def draw_weights(ours: Ours, rng: np.random.Generator) -> Arrays:
    """Random parameters around the mean and with the spread of the model's own, and random buffers.

    What the model holds constant at first (zeros, ones) is spread by 0.1; positive constant buffers, as a running variance,
    are scaled by 0.5 to 2; buffers that hold a fixed table stay as they are.
    """
    drawn = {}
    for name, own in ours.state().items():
        spread = float(own.std()) if own.size else 0.0
        if name in ours.parameters:
            new = own.mean() + (spread if spread > 1e-6 else 0.1) * rng.normal(size=own.shape)
        elif own.dtype.kind != "f" or spread > 1e-6:
            new = own
        else:
            new = own * rng.uniform(0.5, 2, own.shape) if (own > 0).all() else own + 0.1 * rng.normal(size=own.shape)
        drawn[name] = np.asarray(new).astype(own.dtype)
    return drawn


def cast(batch: Iterable[Any], precision: str) -> tuple[Any, ...]:
    """A batch whose floating-point arrays have the given precision."""
    return tuple(a.astype(precision) if a.dtype.kind == "f" else a for a in map(np.asarray, batch))


def difference(a: Any, b: Any, floor: float = 0.0) -> float:
    """max|a - b| / max(largest |b|, floor); infinite where shapes differ or a number is not finite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    gap = float(np.abs(a - b).max(initial=0.0))
    scale = max(float(np.abs(b).max(initial=0.0)), floor)
    return 0.0 if gap == 0 else gap / scale if scale > 0 else math.inf


def _floor(name: str, mine: Trajectory, theirs: Trajectory, precision: str) -> float:
    """The floor of a gradient's scale; see `verify`."""
    top = max((float(np.abs(g).max(initial=0.0)) for g in theirs.gradients.values()), default=0.0)
    own = max(float(np.abs(side.gradients[name]).max(initial=0.0)) for side in (mine, theirs))
    return top if own < 100 * float(np.finfo(precision).eps) * top else 1e-3 * top


def _misfit(ours: Arrays, theirs: Arrays) -> str:
    """In words: how names or shapes of the twin's parameters and buffers differ from ours."""
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
    """In words: the first part of the model, in the order of execution, whose answer differs from that of its namesake."""
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
    """Where in the order of execution the part stands that owns a parameter."""
    owner = name
    while "." in owner:
        owner = owner.rpartition(".")[0]
        if owner in order:
            return order.index(owner)
    return len(order)


# Timing


def measure(
    architecture: Architecture, case: Case, twins: Sequence[str], seed: int = 0, examples: int = 64, repeats: int = 7
) -> Timing:
    """Median times of a forward and backward pass, side by side on one thread, on the case's batch repeated to `examples`."""
    ours = Ours(architecture, case, "float32", seed)
    rng = np.random.default_rng(seed)
    start = draw_weights(ours, rng)
    batch = cast(case.batch(rng), "float32")
    if len({len(a) for a in batch}) == 1:
        times = -(-examples // len(batch[0]))
        batch = tuple(np.concatenate([a] * times) for a in batch)
    sides: list[Implementation] = [ours, *(TWINS[twin](architecture, case, "float32") for twin in twins)]
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    with _one_thread("torch" in twins):
        for side in sides:
            side.load(start)
        for turn in range(repeats + 2):  # the first two warm up
            for side in sides:
                begin = time.perf_counter()
                side.gradients(batch)
                if turn >= 2:
                    found[side.name].append(time.perf_counter() - begin)
    return Timing(case.name, len(batch[0]), {name: statistics.median(times) for name, times in found.items()})


@contextmanager
def _one_thread(torch_too: bool) -> Any:
    from threadpoolctl import threadpool_limits

    before = 1
    if torch_too:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        if torch_too:
            torch.set_num_threads(before)


# Showing


def verify_architectures(
    architectures: Sequence[Architecture], *, write: bool = False, tell: bool = True
) -> list[Verification]:
    """Verifies several architectures; with `write` fills their pages' tables, with `tell` says on stderr what is being done."""
    results = []
    for architecture in architectures:
        if tell:
            print(f"Verifying {architecture.name} ...", file=sys.stderr)
        result = verify(architecture, timing=not compiles_by_shape())  # operations one by one are not how JAX is used
        results.append(result)
        if write:
            from nnatomy.runs.folder import write_atomically

            path = architecture.folder / "page.md"
            write_atomically(path, fill_table(path.read_text(encoding="utf-8"), "verify", result.page_rows()))
    return results


def show(results: Sequence[Verification]) -> None:
    """Prints what was found as tables."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 160
    tables: list[tuple[str, Callable[[Verification], list[tuple[str, ...]]]]] = [
        ("Largest relative differences", Verification.table),
        ("A forward and backward pass on one thread, float32", Verification.times),
    ]
    for title, rows_of in tables:
        rows = [rows_of(result) for result in results]
        if not any(len(each) > 1 for each in rows):
            continue
        table = Table(*rows[0][0], title=title, title_justify="left", box=box.SIMPLE_HEAD)
        for row in (row for each in rows for row in each[1:]):
            table.add_row(*row)
        console.print(table)
    limits = ", ".join(f"{limit:.0e} in {name}" for name, limit in LIMITS.items())
    failed = [result.architecture for result in results if not result.passed]
    verdict = (
        f"DIFFERENT: {', '.join(failed)}" if failed else f"{len(results)} of {len(results)} architectures equal their twins"
    )
    console.print(f"{verdict} (limits: {limits}).", highlight=False)


def fill_table(page_text: str, name: str, rows: Sequence[Sequence[str]]) -> str:
    """The page with a Markdown table of `rows`, the heading first, inside its block `<!-- table: name -->`.

    Raises UserError where the page has no such block.
    """
    block = re.compile(rf"(<!-- table: {re.escape(name)} -->).*?(<!-- /table -->)", re.DOTALL)
    if not block.search(page_text):
        raise UserError(
            f"The page must have a place for the table {name!r}, it has none; add <!-- table: {name} --> and <!-- /table -->."
        )
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return block.sub(lambda match: "\n".join([match[1], *lines, match[2]]), page_text)


def _short(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}" if math.isfinite(value) else "infinite"
