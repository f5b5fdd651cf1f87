"""The spread of an architecture's scores over splits and seeds, for the model card, from a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnatomy.errors import UserError
from nnatomy.runs.prepare import Prepared


def score_std(folder: str | Path, prepared: Prepared) -> str:
    """The sentences of a comparison's folder about the architecture of a run.

    Raises UserError where the folder holds no finished comparison, or one of other architectures or other data.
    """
    path, name, request = Path(folder).expanduser(), prepared.architecture.name, prepared.request
    try:
        saved, asked = (json.loads((path / file).read_text(encoding="utf-8")) for file in ("result.json", "comparison.json"))
        protocol, command, metric = asked["protocol"], asked["command"], saved["metric"]
        candidates = {found["name"]: found for found in saved["candidates"]}
        compared = protocol["data"], protocol["target"]
        trained = request.data or prepared.architecture.recipes[0].data, request.target
        if name not in candidates:
            raise UserError(
                f"--comparison must contain the architecture of the run, {name}. Received {path} with "
                f"{', '.join(candidates)}. Give another comparison."
            )
        if compared != trained:
            raise UserError(
                f"The standard deviation of scores must be measured on the run's own data, {_named(*trained)}. Received "
                f"{path}, a comparison on "
                f"{_named(*compared)}. Give one on the run's data."
            )
        return _sentences(candidates, name, metric, saved, command)
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as problem:
        if isinstance(problem, UserError):
            raise
        raise UserError(
            f"--comparison names the folder of a finished comparison. Received {path}, which is not one. Give one that "
            "nnatomy compare wrote."
        ) from None


def _sentences(candidates: dict[str, Any], name: str, metric: str, saved: dict[str, Any], command: str) -> str:
    found = candidates[name]
    seeds = "" if found["std_of_seeds"] is None else f", of seeds {found['std_of_seeds']:.2g}"
    baseline = next((c for c in candidates.values() if c["type"] == "baseline"), None)
    beside = "" if baseline is None else f" The best baseline, {baseline['name']}, reached {baseline['mean']:.4g}."
    return (
        f"Trained again on each of {saved['folds']} folds of the same data (seeds: {saved['seeds']}), the architecture reached "
        f"{metric} {found['mean']:.4g} ± {found['std_over_folds']:.2g}: a standard deviation over folds; that of splits alone "
        f"is {found['std_of_splits']:.2g}{seeds}.{beside} Measured by `{command}`."
    )


def _named(data: str, target: str | None) -> str:
    return data if target is None else f"{data} with the target {target}"
