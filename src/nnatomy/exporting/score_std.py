"""The spread of an architecture's scores over splits and seeds, for the model card, from a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnatomy.errors import UserError
from nnatomy.printing import listed
from nnatomy.runs.prepare import Prepared
from nnatomy.saved import read_json, typed

GIVE = "Give one that nnatomy compare wrote."


@dataclass(frozen=True)
class _Candidate:
    name: str
    type: str
    mean: float
    std_over_folds: float
    std_of_splits: float
    std_of_seeds: float | None


@dataclass(frozen=True)
class _Scores:
    """result.json of a comparison, as far as it is used."""

    metric: str
    folds: int
    seeds: int
    candidates: tuple[_Candidate, ...]


@dataclass(frozen=True)
class _Data:
    data: str | None
    target: str | None


@dataclass(frozen=True)
class _Asked:
    """comparison.json, as far as it is used."""

    command: str
    protocol: _Data


def score_std(folder: str | Path, prepared: Prepared) -> str:
    """The sentences of a comparison's folder about the architecture of a run.

    Raises UserError where the folder holds no finished comparison, or one of other architectures or other data.
    """
    path, name, request = Path(folder).expanduser(), prepared.architecture.name, prepared.request
    for file in ("result.json", "comparison.json"):
        if not (path / file).is_file():
            rule = "--comparison names the folder of a finished comparison."
            raise UserError(f"{rule} Received {path}, which has no {file}. {GIVE}")
    saved = typed(_Scores, read_json(path / "result.json", GIVE), f"{path / 'result.json'}", GIVE, other_keys=True)
    asked = typed(_Asked, read_json(path / "comparison.json", GIVE), f"{path / 'comparison.json'}", GIVE, other_keys=True)
    candidates = {found.name: found for found in saved.candidates}
    compared = asked.protocol.data, asked.protocol.target
    trained = request.data or prepared.architecture.recipes[0].data, request.target
    if name not in candidates:
        raise UserError(
            f"--comparison must contain the architecture of the run, {name}. Received {path} with {listed(candidates)}. {GIVE}"
        )
    if compared != trained:
        raise UserError(
            f"The standard deviation of scores must be measured on the run's own data, {_named(*trained)}. Received {path}, a "
            f"comparison on {_named(*compared)}. Give one on the run's data."
        )
    found = candidates[name]
    seeds = "" if found.std_of_seeds is None else f", of seeds {found.std_of_seeds:.2g}"
    baseline = next((c for c in saved.candidates if c.type == "baseline"), None)
    beside = "" if baseline is None else f" The best baseline, {baseline.name}, reached {baseline.mean:.4g}."
    return (
        f"Trained again on each of {saved.folds} folds of the same data (seeds: {saved.seeds}), the architecture reached "
        f"{saved.metric} {found.mean:.4g} ± {found.std_over_folds:.2g}: a standard deviation over folds; that of splits alone "
        f"is {found.std_of_splits:.2g}{seeds}.{beside} Measured by `{asked.command}`."
    )


def _named(data: str | None, target: str | None) -> str:
    return str(data) if target is None else f"{data} with the target {target}"
