"""Comparing architectures: one protocol for all that fit the data, in parallel, resumable, with a report."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnatomy import backends
from nnatomy.catalog import architecture as find_architecture
from nnatomy.command import began
from nnatomy.errors import UserError
from nnatomy.printing import print_text
from nnatomy.runs.folder import environment, new_folder, owned, starting
from nnatomy.runs.known import KnownData, remember
from nnatomy.runs.options import SOURCE, parse_option, parse_options, to_plain
from nnatomy.runs.own import named_only
from nnatomy.runs.progress import counted
from nnatomy.studies.comparison.planning import AFTER, BASELINES, MARGIN, REPORT, TIMING, StepCost, reduce_to_budget
from nnatomy.studies.comparison.progress import Progress
from nnatomy.studies.comparison.protocol import (
    Plan,
    Protocol,
    Unit,
    architecture_units,
    baseline_units,
    read_unit,
)  # fmt: skip
from nnatomy.studies.comparison.results import Comparison, concluded
from nnatomy.studies.comparison.survey import load_for_baseline, survey
from nnatomy.studies.comparison.work import AGAIN
from nnatomy.studies.comparison.workers import Workers
from nnatomy.studies.files import read_values, write_json
from nnatomy.studies.processes import processes
from nnatomy.studies.time import Spending


def compare(
    *architectures: str | Path,
    data: str | Path | None = None,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: bool = False,
    report: bool = True,
    **asked: Any,
) -> Comparison:
    """Compare architectures on the same folds of the same data, next to baselines that need no network; write a folder.

    >>> found = nn.compare("mlp", "lenet5", data="digits", cv=3, seeds=2)  # doctest: +SKIP
    >>> found.candidates[0].name, found.verdicts()[0], found.report  # doctest: +SKIP

    Architectures are named, or a user's folders. What can be requested is in `Protocol`. `jobs`: worker processes, one a
    processor if not given; each is limited to its part of the threads. Raises UserError where the data cannot be read or
    no architecture fits them.
    """
    started = began()
    if any(isinstance(name, list | tuple) for name in architectures):
        raise UserError('compare() takes architectures one by one. Received a list. Write compare("mlp", "lenet5").')
    keys = tuple(named_only(name, "compare") for name in architectures)
    source = find_architecture(keys[0]).recipes[0].data if data is None and keys else data
    source = None if source is None else parse_option(SOURCE, "data", source, "compare")
    protocol = Protocol(keys, data=source, **parse_options(Protocol, asked, "compare"))
    jobs, threads = processes(jobs)
    backends.use(protocol.backend)
    plan, dataset = survey(protocol, threads)
    folder = new_folder("comparisons", plan.name, out, "comparison")
    with owned(folder):
        with starting(folder):
            write_json(folder / "environment.json", environment())
            remember(folder, dataset)
            write_json(folder / "plan.json", plan.to_json())
            write_json(folder / "comparison.json", {"protocol": to_plain(protocol), "command": protocol.command()})
        return _carry_on(folder, protocol, plan, jobs, Spending(folder, started), protocol.budget, progress, report)


def resume_comparison(
    folder: str | Path,
    *,
    jobs: int | None = None,
    budget: float | str | None = None,
    progress: bool = False,
    report: bool = True,
) -> Comparison:
    """Continue an interrupted comparison: what was finished is kept, and what is left gives what it would have given.

    `budget`: the time of this call; without one, the rest of the comparison's own. The fits are as short as that one made them.
    """
    started = began()
    given = parse_options(Protocol, {"budget": budget}, "resume_comparison")["budget"]
    path = Path(folder)
    if not (path / "comparison.json").is_file():
        raise UserError(
            f"A comparison's folder has a comparison.json. Received {path} without it. Name the folder of a started comparison."
        )
    protocol, plan = Protocol.of(path), Plan.of(path)
    jobs, _ = processes(jobs)
    backends.use(protocol.backend)
    with owned(path):
        known = KnownData.of(path, AGAIN)
        known.check_files(protocol.source, protocol.labels)
        known.check(load_for_baseline(protocol, plan.kind, plan.task, tuple(plan.architectures), 0))
        return _carry_on(path, protocol, plan, jobs, Spending(path, started), given, progress, report)


def _carry_on(
    folder: Path, protocol: Protocol, plan: Plan, jobs: int, spending: Spending, given: float | None, progress: bool,
    report: bool,
) -> Comparison:  # fmt: skip
    """Do what has not been done, in order: baselines, the plan's lengths, fits, costs, conclusions."""
    budget = given or protocol.budget or math.inf
    end = spending.since(protocol.budget, given) + budget
    fits_end = end - min(AFTER[0], AFTER[1] * budget)
    if progress:
        _announce(protocol, plan)
    found: dict[Unit, Any] = {}
    work = _Work(folder, plan, found, progress, spending)
    try:
        with Workers(folder, jobs, plan.threads) as workers:
            baselines = tuple(plan.does.baselines)
            work.do(workers, jobs, baseline_units(protocol, (1.0,), baselines), spending.started + BASELINES * budget)
            if protocol.budget is not None and not plan.lengths_decided:
                told = len(plan.notices)
                now = time.perf_counter()
                step_costs = _step_costs(workers, jobs, protocol, plan, now + TIMING * (fits_end - now))
                left = fits_end - time.perf_counter()
                plan = work.plan = reduce_to_budget(plan, protocol, step_costs, MARGIN * left, jobs)
                write_json(folder / "plan.json", plan.to_json())
                for notice in plan.notices[told:] if progress else ():
                    print_text(f"  note: {notice}", file=sys.stderr)
            units = [*architecture_units(protocol, plan), *baseline_units(protocol, plan.shares, baselines)]
            work.do(workers, jobs, units, fits_end)
        costs = [Unit("cost", name) for name in (*plan.architectures, *baselines) if name not in work.failed]
        with Workers(folder, 1, jobs * plan.threads) as workers:  # alone, with all threads: as in prediction
            work.do(workers, 1, costs, end - min(REPORT[0], REPORT[1] * budget))
    except KeyboardInterrupt:
        print_text(f"\nStopped; what is finished is kept. Continue with: nnatomy compare --resume {folder}", file=sys.stderr)
        raise
    result = concluded(
        folder, protocol, plan, found, spending.save(), read_values(folder / "environment.json", dict), work.stopped
    )
    write_json(folder / "result.json", result.to_json())
    if report:
        from nnatomy.studies.comparison.report import write_report

        write_report(result)
    return result


class _Work:
    """The units of a comparison: those that are in its folder are taken from there, others are dealt to workers."""

    def __init__(self, folder: Path, plan: Plan, found: dict[Unit, Any], progress: bool, spending: Spending) -> None:
        self.folder, self.plan, self.found, self.progress, self.spending = folder, plan, found, progress, spending
        self.failed: set[str] = set()
        self.stopped: list[Unit] = []
        """The units that the end of their time stopped."""

    def do(self, workers: Workers, jobs: int, units: Sequence[Unit], until: float = math.inf) -> None:
        """Compute all units into `found`, except those of a candidate that has failed, and those not done at `until`."""
        left = []
        for unit in units:
            if (self.folder / unit.file).is_file():
                self._take(unit, read_unit(self.folder, unit))
            else:
                left.append(unit)
        bar = Progress((u for u in left if u.candidate not in self.failed), jobs, self.progress and units[0].what != "cost")
        try:
            for unit, answer in workers.run(left, self._wanted, until):
                if answer is None:
                    self.stopped.append(unit)
                    continue
                self._take(unit, answer)
                bar.done(unit, answer, self._text(unit, answer))
                self.spending.save()
        finally:
            bar.close()

    def _wanted(self, unit: Unit) -> bool:
        return unit.candidate not in self.failed

    def _take(self, unit: Unit, answer: dict[str, Any]) -> None:
        self.found[unit] = answer
        if "failed" in answer and unit.share == 1 and unit.what in ("fit", "baseline"):
            self.failed.add(unit.candidate)

    def _text(self, unit: Unit, answer: dict[str, Any]) -> str:
        if "failed" in answer:
            return f"{unit.candidate}: {answer['failed']}"
        value = answer["metrics"].get(self.plan.metric) if "metrics" in answer else None
        score = "" if value is None else f", {self.plan.metric} {value:.4g}"
        share = "" if unit.share == 1 else f", {unit.share:.0%} of the training rows"
        return f"{unit.candidate}, fold {unit.fold + 1}, seed {unit.seed}{share}{score}"


def _step_costs(workers: Workers, jobs: int, protocol: Protocol, plan: Plan, until: float) -> dict[str, StepCost]:
    """Measure the step costs of each architecture with all workers busy, as they will be; the slowest worker counts."""
    step_costs: dict[str, StepCost] = {}
    units = [Unit("timing", name, protocol.cv - 1) for name in plan.architectures]
    for unit, timed in workers.run(units * -(-jobs // len(units)), until=until):
        if timed is not None and "failed" not in timed:
            cost = StepCost.of(timed, protocol, plan.ordered)
            step_costs[unit.candidate] = max(cost, step_costs.get(unit.candidate, cost), key=lambda p: p.fit(1))
    slow = max(step_costs.values(), key=lambda cost: cost.fit(1), default=StepCost(0.0, 0.0, 0.0, 1.0, 0.0))
    return {name: step_costs.get(name, slow) for name in plan.architectures}


def _announce(protocol: Protocol, plan: Plan) -> None:
    print_text(f"{', '.join(plan.architectures)} on {plan.name} ({plan.task}, by {plan.metric}): {plan.description}. "
          f"{protocol.cv} folds, {protocol.seeds} seeds each.", file=sys.stderr)  # fmt: skip
    for name, reason in plan.refused.items():
        print_text(f"  left out: {name}: {reason}", file=sys.stderr)
    for notice in plan.notices:
        print_text(f"  note: {notice}", file=sys.stderr)


def table(result: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The comparison as a header and rows of text, the best first."""
    header = (
        "model", result.plan.metric, "± folds", "sd split", "sd seed", "params", "mult-adds", "training", "latency",
        f"of {result.many}", "p",
    )  # fmt: skip
    return header, [_row(result, candidate) for candidate in result.candidates]


def _row(result: Comparison, c: Any) -> tuple[str, ...]:
    from nnatomy.studies.comparison.results import shown_p

    split, seed = c.deviations
    pair = result.pair(c.name, result.best_baseline.name) if result.best_baseline and c.is_architecture else None
    p = "" if pair is None else "undefined" if pair.p != pair.p else shown_p(pair.p_holm)
    return (
        c.name if c.is_architecture else f"{c.name} *", f"{c.mean:.4f}", _or_dash(c.std), _or_dash(split),
        "-" if seed is None else f"{seed:.4f}", f"{c.parameters:,}",
        "-" if c.is_architecture and c.latency_one is None else f"{c.multiply_adds:,}",
        duration(c.seconds), duration(c.latency_one), duration(c.latency_many), p,
    )  # fmt: skip


def _or_dash(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"


def legend(result: Comparison) -> str:
    """Return the meaning of the table's columns."""
    baseline = f"against {result.best_baseline.name}, " if result.best_baseline else ""
    tests = f" p: {baseline}corrected for {counted(len(result.pairs), 'test')}." if result.pairs else ""
    return (
        f"* needs no network. {result.plan.metric}: mean over folds and seeds. ± folds: standard deviation of the folds. "
        "sd: what the split and the seed cause, separated by analysis of variance. mult-adds: for one example. "
        "training: median of one fit, with other fits at the same time. "
        f"latency: median for one example, and for {result.many}, with nothing else running.{tests}"
    )


def duration(seconds: float | None) -> str:
    """Seconds, or thousandths or millionths of them, with three digits."""
    if seconds is None:
        return "-"
    factor, unit = (1, "s") if seconds >= 1 else (1e3, "ms") if seconds >= 1e-3 else (1e6, "µs")
    return f"{factor * seconds:.3g} {unit}"
