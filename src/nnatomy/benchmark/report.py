"""What a report says: its tables, its sentences, and where it is written."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from nnatomy.benchmark.measure import QUIET, Report, comparisons
from nnatomy.benchmark.sides import KINDS, OURS
from nnatomy.errors import UserError

MARK = "nnatomy bench"
"""Stands in every file that the benchmark writes, so that it overwrites no other."""

Row = tuple[str, ...]
Spread = dict[str, float]


# Where it is written


def places(out: Path | None, as_json: Path | None) -> tuple[Path | None, Path | None]:
    """The page's file and the JSON file, looked at before minutes are spent: raises UserError if one cannot be written."""
    page = None if out is None else out if out.suffix == ".md" else out / "performance.md"
    for flag, path in (("--out", page), ("--json", as_json), ("--out", page.with_suffix(".png") if page else None)):
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{flag} must name a file, {path} is a folder; add a file's name.")
        if path.exists() and path.suffix != ".png" and MARK not in path.read_text(errors="replace"):
            raise UserError(f"{flag} must name a new file or one of the benchmark's, {path} is neither; choose another name.")
        folder = path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as problem:
            raise UserError(f"{flag} cannot be written to {path} ({problem.strerror}); choose another place.") from None
    if page is not None and page.with_suffix(".png").exists() and not page.exists():
        raise UserError(f"--out would overwrite {page.with_suffix('.png')}, which is not the benchmark's; choose another name.")
    return page, as_json


def write(report: Report, page: Path | None, as_json: Path | None) -> None:
    """The page and its picture, and the JSON file."""
    for path in (page, as_json):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if as_json is not None:
        as_json.write_text(json.dumps(report, indent=2) + "\n")
    if page is not None:
        from nnatomy.benchmark.page import draw, markdown

        picture = page.with_suffix(".png")
        page.write_text(markdown(report, picture.name))
        if any(len(timed["sides"]) > 1 for _, _, timed in comparisons(report)):
            draw(report, picture)


# Tables


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.{1 if value >= 9.995 else 2 if value >= 0.0995 else 3}f}"


def interval(s: dict[str, float]) -> str:
    return f"{number(s['median'])} ({number(s['low'])}–{number(s['high'])})"


def kind_in_words(kind: str) -> str:
    return "training step" if kind == "train" else f"inference, batch {kind.split()[1]}"


def kinds(report: Report) -> list[str]:
    found = {kind for _, kind, _ in comparisons(report)}
    return sorted(found, key=lambda kind: 0 if kind == "train" else int(kind.split()[1]))


def peers(report: Report) -> list[str]:
    """The sides beside ours that were timed."""
    timed = {side for _, _, t in comparisons(report) for side in t["sides"]}
    return [side for side in KINDS if side in timed and side != OURS]


def table(report: Report, kind: str) -> tuple[Row, list[Row]]:
    """(header, rows) of one kind of work: our time, how many times longer the others take, roofline, memory."""
    others = peers(report)
    header = ("workload", "nnatomy, ms", *(f"{KINDS[s].label} / ours" for s in others), "share of the roofline")
    memory = kind == "train"
    rows = []
    for r in report["results"]:
        if kind not in r["timed"]:
            continue
        sides = r["timed"][kind]["sides"]
        mine = sides[OURS]
        cells = [r["name"], interval(mine["ms"])]
        for s in others:
            cells.append(interval(sides[s]["ratio"]) if s in sides else "differs" if s in r["differ"] else "-")
        cells.append(f"{100 * mine['roofline']:.0f} %" if "roofline" in mine else "-")
        if memory:
            cells.append(" / ".join(f"{sides[s]['peak_mib']:.0f}" if s in sides else "-" for s in (OURS, *others)))
        rows.append(tuple(cells))
    mean = report["means"].get(kind)
    if mean and len(rows) > 1:
        ratios = (number(mean[s]) if s in mean else "-" for s in others)
        rows.append(("geometric mean", "", *ratios, "", *(("",) if memory else ())))
    return (*header, *(("peak memory, MiB",) if memory else ())), rows


def libraries(report: Report) -> tuple[Row, list[Row]]:
    """(header, rows): import time and installed size."""
    header = ("library", "import, s", "installed, MiB")
    return header, [
        (KINDS[s].label, number(w["import_seconds"]), f"{w['mib']:.0f}" if "mib" in w else "not known")
        for s, w in report["libraries"].items()
    ]


def in_markdown(table: tuple[Row, list[Row]]) -> str:
    header, rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))


# In words


def behind(report: Report) -> list[str]:
    """One line for each kind of work on which another side is faster than ours by its median."""
    return _where(report, lambda r: r["median"] < 1, lambda r: f"by {number(1 / r['median'])}")


def level(report: Report) -> list[str]:
    """One line for each kind of work on which ours is faster by its median, but slower in a quarter of the blocks."""
    return _where(report, lambda r: r["low"] < 1 <= r["median"], lambda r: interval(r))


def _where(report: Report, holds: Callable[[Spread], bool], said: Callable[[Spread], str]) -> list[str]:
    lines = []
    for kind in kinds(report):
        found = []
        for name, k, timed in comparisons(report):
            ratios = {s: f["ratio"] for s, f in timed["sides"].items() if s != OURS and k == kind and holds(f["ratio"])}
            if ratios:
                found.append(f"{name} ({', '.join(f'{KINDS[s].label} {said(r)}' for s, r in ratios.items())})")
        if found:
            lines.append(f"{kind_in_words(kind)}: {'; '.join(found)}")
    return lines


def busy(report: Report) -> str:
    """How quiet the machine was."""
    known = [(f"{name}, {kind_in_words(k)}", t["others_busy"]) for name, k, t in comparisons(report)]
    taken = {name: cores for name, cores in known if cores is not None}
    if not taken:
        return "How much other processes did meanwhile is not known."
    worst = max(taken, key=lambda name: taken[name])
    cores = report["machine"]["cores"]
    if taken[worst] <= QUIET:
        return f"Other processes took at most {taken[worst]:.2f} of {cores} cores: the machine was quiet."
    return (
        f"**The machine was not quiet**: other processes took up to {taken[worst]:.2f} of {cores} cores ({worst}).\n"
        "Threads that wait for one another suffer most from that: these ratios are provisional, not to be cited."
    )


def troubles(report: Report) -> list[str]:
    """What was left out, and what must be known about the rest."""
    lines = [f"{KINDS[side].label} is left out: {why}." for side, why in report["absent"].items()]
    for r in report["results"]:
        for side, d in r["differ"].items():
            lines.append(
                f"{r['name']}: {KINDS[side].label} gives other answers ({d['in']}: loss by {d['loss']:.1e}, {d['gradient_in']} "
                f"by {d['gradient']:.1e}) and was not timed."
            )
        lines += [f"{r['name']}: {KINDS[side].label} is left out: {why}." for side, why in r["failed"].items()]
        lines += [f"{r['name']}: {KINDS[side].label} {note}." for side, notes in r["notes"].items() for note in notes]
    return lines


def closeness(report: Report) -> str:
    """How far answers were apart at most, among those that count as the same."""
    agreements = [a for r in report["results"] for kind in r.get("agreement", {}).values() for a in kind.values()]
    if not agreements:
        return ""
    return (
        f"First losses agreed to {max(a['first_loss'] for a in agreements):.1e}, the later ones to "
        f"{max(a['loss'] for a in agreements):.1e}, gradients and outputs to {max(a['gradient'] for a in agreements):.1e} "
        "of the largest of their array."
    )


# On a terminal


def sections(report: Report) -> Sequence[tuple[str, tuple[Row, list[Row]]]]:
    """(title, table) of all that a terminal shows."""
    timed = [(kind_in_words(kind).capitalize(), table(report, kind)) for kind in kinds(report)]
    return [*timed, ("Libraries", libraries(report))]


def closing(report: Report) -> list[str]:
    """What a terminal says below its tables."""
    plain = busy(report).replace("**", "").replace("\n", " ")
    slower = [f"Behind in {line}." for line in behind(report)] or ["Behind on nothing that was measured here."]
    return [*troubles(report), plain, *(slower if peers(report) else [])]
