"""docs/results.md: rows that are read, written, and compared with what the architectures are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnatomy.benchmark.report import in_markdown, number, wrapped
from nnatomy.catalog import Architecture, architectures
from nnatomy.training.evaluation import Metric, metric_named
from nnatomy.training.recipe import Recipe
from nnatomy.verification.fingerprint import fingerprint

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results.md"
HEADER = (
    "architecture", "recipe", "metric", "ours", "PyTorch twin", "goal", "best baseline", "seconds", "seeds", "fingerprint",
)  # fmt: skip
NONE = "—"
SEEDS = 3
"""With which a row counts."""


@dataclass(frozen=True)
class Score:
    """Mean and standard deviation over seeds of a metric on the test split."""

    mean: float
    deviation: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.deviation:.4f}"

    @classmethod
    def read(cls, text: str) -> Score | None:
        """The score in a cell; None for a cell without a score."""
        return None if text == NONE else cls(*map(float, text.split(" ± ")))


@dataclass(frozen=True)
class Row:
    """The result of a recipe in one metric."""

    architecture: str
    recipe: str
    """The kind of its data and their name, "table/breast_cancer"; of another recipe for the same data its own name as well."""
    metric: str
    ours: Score
    twin: Score | None
    """None without a twin to train, as for a rule without gradients."""
    goal: float | None
    baseline: tuple[float, str] | None
    """The best predictor without a network: its score, and its name."""
    seconds: float
    """Of our training from one seed, on the machine that wrote the row."""
    seeds: int
    fingerprint: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.architecture, self.recipe, self.metric

    def cells(self) -> tuple[str, ...]:
        """As HEADER names them."""
        return (
            self.architecture, self.recipe, self.metric, str(self.ours), NONE if self.twin is None else str(self.twin),
            NONE if self.goal is None else f"{self.goal:g}",
            NONE if self.baseline is None else f"{self.baseline[0]:.4f} {self.baseline[1]}",
            number(self.seconds), str(self.seeds), self.fingerprint,
        )  # fmt: skip

    @classmethod
    def read(cls, cells: Sequence[str]) -> Row:
        """The row of these cells."""
        architecture, recipe, metric, ours, twin, goal, baseline, seconds, seeds, code = cells
        score = Score.read(ours)
        assert score is not None
        value, _, name = baseline.partition(" ")
        return cls(
            architecture, recipe, metric, score, Score.read(twin), None if goal == NONE else float(goal),
            None if baseline == NONE else (float(value), name), float(seconds), int(seeds), code,
        )  # fmt: skip

    @property
    def noise(self) -> float:
        """Three standard errors of the difference from the twin, and 1 % of the score for what few seeds do not show."""
        assert self.twin is not None
        spread = (self.ours.deviation**2 + self.twin.deviation**2) / self.seeds
        return float(3 * spread**0.5 + 0.01 * max(abs(self.twin.mean), 0.1))


# What there should be


def measured(architecture: Architecture) -> dict[tuple[str, str, str], tuple[Recipe, Metric]]:
    """{key of a row: (recipe, metric)}: of the default recipe, and of each that has a score to reach."""
    found: dict[tuple[str, str, str], tuple[Recipe, Metric]] = {}
    for recipe in architecture.recipes:
        if recipe.score or recipe is architecture.recipes[0]:
            data = f"{recipe.kind}/{recipe.data}"
            label = f"{data} {recipe.name}" if any(key[1] == data for key in found) else data
            for name in recipe.score or (recipe.metric,):
                metric = metric_named(name, recipe.tasks[0].metrics, recipe.learn.losses, recipe.tasks[0].name)
                found[architecture.name, label, name] = recipe, metric
    return found


def problems(architecture: Architecture, rows: Sequence[Row]) -> list[str]:
    """Return the faults of an architecture's rows: missing, left over, stale, below a goal, or different from the twin's."""
    own = {row.key: row for row in rows if row.architecture == architecture.name}
    wanted, code, said = measured(architecture), fingerprint(architecture.folder), []
    for key in sorted(own.keys() - wanted.keys()):
        said.append(f"{' '.join(key)}: there is no such recipe")
    for key, (recipe, metric) in wanted.items():
        row, what = own.get(key), " ".join(key)
        if row is None:
            said.append(f"{what}: the row is missing")
            continue
        if row.fingerprint != code:
            said.append(f"{what}: measured with other code ({row.fingerprint}, now {code})")
        if row.seeds < SEEDS:
            said.append(f"{what}: measured from {row.seeds} seeds, not {SEEDS}")
        goal = recipe.score.get(metric.name)
        if goal is not None and not metric.reaches(row.ours.mean, goal):
            said.append(f"{what}: {row.ours} does not reach {goal:g}")
        if row.twin is not None and abs(row.ours.mean - row.twin.mean) > row.noise:
            said.append(f"{what}: {row.ours} and the twin's {row.twin} differ by more than {row.noise:.4f}")
    return said


# Reading and writing


def read(page: Path = PAGE) -> list[Row]:
    """The rows of a page; an empty list if the page does not exist yet."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines if line.startswith("| ")]
    return [Row.read(row) for row in cells if len(row) == len(HEADER) and row[0] != HEADER[0] and set(row[0]) != {"-"}]


def replaced(rows: Sequence[Row], new: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows with those of some architectures replaced, in the order of the catalog, without what has left it."""
    kept = [row for row in rows if row.architecture not in names] + list(new)
    order = list(architectures())
    return sorted((row for row in kept if row.architecture in order), key=lambda row: order.index(row.architecture))


def markdown(rows: Sequence[Row]) -> str:
    """The page."""
    return wrapped([
        "# What the architectures reach",
        """Written by `python benchmarks/results.py`: every architecture's default recipe, and each that has a goal, trained
        from several seeds, which also decide the splits. Scores are means ± standard deviations on test data that took no part
        in training or in choosing the epoch. The PyTorch twin begins with the same weights, sees the same batches and chooses
        its epoch in the same way; forward, backward and update are PyTorch's. Only what plain gradient
        descent trains has such a twin.
        Baselines are predictors without a network, on the same splits. Seconds are those of our training from one seed.""",
        """The fingerprint is that of the architecture's code: where it has changed since, or a row is missing or below its
        goal, a test fails until the row has been measured again.""",
        in_markdown((HEADER, [row.cells() for row in rows])),
        "    python benchmarks/results.py            # all architectures\n"
        "    python benchmarks/results.py lstm mlp   # their rows alone",
    ])  # fmt: skip
