"""Trains an architecture by its recipes from several seeds, its PyTorch twin too, and fits what needs no network."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from nnatomy.catalog import Architecture
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.prepare import choose
from nnatomy.tasks import task_for
from nnatomy.training.evaluation import Metric
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe
from nnatomy.verification.fingerprint import fingerprint
from results.table import Row, Score, measured
from results.twin import train_twin

Log = Callable[[str], None]


def rows_of(
    architecture: Architecture, seeds: Sequence[int], limit: int | None = None, epochs: int | None = None,
    log: Log = lambda line: None,
) -> list[Row]:  # fmt: skip
    """All rows of an architecture. Raises UserError where its data are not on this machine."""
    by_recipe: dict[str, tuple[Recipe, list[Metric]]] = {}
    for (_, name, _), (recipe, metric) in measured(architecture).items():
        by_recipe.setdefault(name, (recipe, []))[1].append(metric)
    found = []
    for name, (recipe, metrics) in by_recipe.items():
        log(f"{architecture.name} {name}, {len(seeds)} seed(s) ...")
        found += _rows(architecture, name, recipe if epochs is None else replace(recipe, epochs=epochs), metrics, seeds, limit)
    return found


def _rows(
    architecture: Architecture, name: str, recipe: Recipe, metrics: Sequence[Metric], seeds: Sequence[int], limit: int | None
) -> list[Row]:
    ours: list[dict[str, float]] = []
    twins: list[dict[str, float]] = []
    baselines: list[dict[str, dict[str, float]]] = []
    seconds = 0.0
    for seed in seeds:
        _, dataset = choose(architecture, recipe.data, [recipe], seed=seed, limit=limit, offline=True)
        fitted = fit_recipe(recipe, dataset, seed)
        ours.append(fitted.test().metrics)
        seconds += fitted.position.seconds / len(seeds)
        if isinstance(recipe.learn, GradientDescent) and (architecture.folder / "torch_twin.py").exists():
            twins.append(train_twin(architecture, recipe, recipe.learn, dataset, seed))
        baselines.append(baselines_of(recipe, dataset))
    code = fingerprint(architecture.folder)
    return [
        Row(
            architecture.name, name, metric.name, _score(ours, metric), _score(twins, metric) if twins else None,
            recipe.score.get(metric.name), _best(baselines, metric), seconds, len(seeds), code,
        )
        for metric in metrics
    ]  # fmt: skip


def _score(found: Sequence[dict[str, float]], metric: Metric) -> Score:
    values = [metrics[metric.name] for metrics in found]
    return Score(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


def baselines_of(recipe: Recipe, dataset: Dataset) -> dict[str, dict[str, float]]:
    """{baseline: its metrics on the test split}, of those that the data allow."""
    task, found = task_for(recipe, dataset), {}
    for name, baseline in task.baselines.items():
        try:
            found[name] = task.score(baseline(dataset, [recipe]).outputs, dataset.test).metrics
        except UserError:  # such as a season that the series does not have
            continue
    return found


def _best(found: Sequence[dict[str, dict[str, float]]], metric: Metric) -> tuple[float, str] | None:
    """The best mean over seeds of a baseline that every split allowed."""
    best: tuple[float, str] | None = None
    for name in found[0]:
        values = [metrics[name][metric.name] for metrics in found if metric.name in metrics.get(name, {})]
        if len(values) == len(found) and metric.improves(mean := statistics.mean(values), best and best[0]):
            best = mean, name
    return best
