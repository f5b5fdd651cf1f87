"""The report of any benchmark: figures by workload, kind of work and implementation, as tables, text and a picture.

A report is what JSON holds: `results`, of which each has the figures of one workload as `team.Team` finds them.
"""

from __future__ import annotations

import io
import json
import statistics
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nnatomy.benchmark.implementation import LABELS, OURS
from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically

MARK = "nnatomy bench"
"""The mark in each file that a benchmark writes; files without it are not overwritten."""
COLORS = {"eager": "#6b7280", "torch": "#d1662a", "compile": "#a8325e", "jax": "#2563a8", "keras": "#3f8f5f"}

Report = dict[str, Any]
Row = tuple[str, ...]
Table = tuple[Row, list[Row]]
"""(header, rows)."""
Quartiles = dict[str, float]


# Where it is written


def places(out: Path | None, figures: Path | None) -> tuple[Path | None, Path | None]:
    """The page's file and the figures' file, looked at before minutes are spent: raises UserError if one cannot be written."""
    page = None if out is None else out if out.suffix == ".md" else out / "performance.md"
    for flag, path in (("--out", page), ("--figures", figures), ("--out", page.with_suffix(".png") if page else None)):
        if path is None:
            continue
        if path.is_dir():
            raise UserError(f"{flag} must name a file. Received {path}, which is a folder. Add a file's name.")
        if path.exists() and path.suffix != ".png" and MARK not in path.read_text(errors="replace"):
            raise UserError(
                f"{flag} must name a new file or one of the benchmark's. Received {path}, which is neither. Choose another "
                "name."
            )
        folder = path.absolute().parent
        while not folder.exists():
            folder = folder.parent
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as problem:
            raise UserError(f"{flag} must be writable. Received {path} ({problem.strerror}). Choose another place.") from None
    if page is not None and page.with_suffix(".png").exists() and not page.exists():
        picture = page.with_suffix(".png")
        raise UserError(f"Nothing is overwritten. Received --out {page}, and {picture} exists. Choose another name.")
    return page, figures


def write(
    report: Report, page: Path | None, figures: Path | None, markdown: Callable[[Report, str], str],
    title: Callable[[Report], str],
) -> None:  # fmt: skip
    """The page that markdown(report, picture) makes, its picture under that title, and the file of all figures."""
    if figures is not None:
        write_atomically(figures, json.dumps(report, indent=2) + "\n")
    if page is not None:
        picture = page.with_suffix(".png")
        write_atomically(page, markdown(report, picture.name))
        if peers(report):
            write_atomically(picture, drawn(report, title(report)))


# What is in it


def agreed(report: Report) -> bool:
    """Return True if all implementations agreed."""
    return not any(r["differ"] for r in report["results"])


def comparisons(report: Report) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(workload, kind of work, figures) of all that was timed; kinds are "train" and "infer <batch>"."""
    for r in report["results"]:
        for kind, timed in r["timed"].items():
            yield r["name"], kind, timed


def kinds(report: Report) -> list[str]:
    """The kinds of work that were timed: training, then inference by the size of its batch."""
    found = {kind for _, kind, _ in comparisons(report)}
    return sorted(found, key=lambda kind: 0 if kind == "train" else int(kind.split()[1]))


def peers(report: Report) -> list[str]:
    """The implementations next to ours that were timed."""
    timed = {name for _, _, t in comparisons(report) for name in t["implementations"]}
    return [name for name in LABELS if name in timed and name != OURS]


def means(report: Report) -> dict[str, dict[str, float]]:
    """Geometric means of the ratios: {kind of work: {implementation: mean}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for _, kind, timed in comparisons(report):
        for name, figures in timed["implementations"].items():
            if name != OURS:
                found.setdefault(kind, {}).setdefault(name, []).append(figures["ratio"]["median"])
    return {kind: {name: statistics.geometric_mean(r) for name, r in of.items()} for kind, of in found.items()}


# As text


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.{1 if value >= 9.995 else 2 if value >= 0.0995 else 3}f}"


def interval(s: Quartiles, said: Callable[[float], str] = number) -> str:
    return f"{said(s['median'])} ({said(s['low'])}–{said(s['high'])})"


def kind_in_words(kind: str) -> str:
    return "training step" if kind == "train" else f"inference, batch {kind.split()[1]}"


def behind(report: Report) -> list[str]:
    """One line for each kind of work on which another implementation is faster than ours by its median."""
    return _where(report, lambda r: r["median"] < 1, lambda r: f"by {number(1 / r['median'])}")


def level(report: Report) -> list[str]:
    """One line for each kind of work on which ours is faster by its median, but slower in a quarter of the blocks."""
    return _where(report, lambda r: r["low"] < 1 <= r["median"], lambda r: interval(r))


def _where(report: Report, holds: Callable[[Quartiles], bool], said: Callable[[Quartiles], str]) -> list[str]:
    lines = []
    for kind in kinds(report):
        found = []
        for name, k, timed in comparisons(report):
            ratios = {p: f["ratio"] for p, f in timed["implementations"].items() if p != OURS and k == kind}
            told = [f"{LABELS[p]} {said(r)}" for p, r in ratios.items() if holds(r)]
            if told:
                found.append(f"{name} ({', '.join(told)})")
        if found:
            lines.append(f"{kind_in_words(kind)}: {'; '.join(found)}")
    return lines


def caveats(report: Report) -> list[str]:
    """Return the omissions, and remarks about the rest."""
    lines = [f"{LABELS[name]} is left out: {why}." for name, why in report["absent"].items()]
    for r in report["results"]:
        for name, d in r["differ"].items():
            lines.append(
                f"{r['name']}: {LABELS[name]} gives other answers ({d['in']}: loss by {d['loss']:.1e}, {d['gradient_in']} "
                f"by {d['gradient']:.1e}) and was not timed."
            )
        lines += [f"{r['name']}: {LABELS[name]} is left out: {why}." for name, why in r["failed"].items()]
        lines += [f"{r['name']}: {LABELS[name]} {note}." for name, notes in r["notes"].items() for note in notes]
    return lines


def closeness(report: Report, *but: str) -> str:
    """Return the largest difference among outcomes that count as the same and are not of the kinds `but`."""
    kept = [of for r in report["results"] for kind, of in r.get("agreement", {}).items() if kind not in but]
    agreements = [a for of in kept for a in of.values()]
    if not agreements:
        return ""
    return (
        f"First losses agreed to {max(a['first_loss'] for a in agreements):.1e}, the later ones to "
        f"{max(a['loss'] for a in agreements):.1e}, gradients and outputs to {max(a['gradient'] for a in agreements):.1e} "
        "of the largest of their array."
    )


# On a page


def in_markdown(table: Table) -> str:
    header, rows = table
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))


def wrapped(parts: list[str]) -> str:
    """A page of these parts: paragraphs are filled; tables, lists, headings and code are unchanged."""
    return "\n\n".join(_filled(part) for part in parts) + "\n"


def _filled(part: str) -> str:
    if part.startswith(("|", "- ", "#", "!", "    ")):
        return part
    return textwrap.fill(" ".join(part.split()), 128, break_long_words=False, break_on_hyphens=False)


def listed(lines: list[str], otherwise: str | None = None) -> list[str]:
    """The lines as one list, or what is said where there are none."""
    return ["\n".join(f"- {line}" for line in lines)] if lines else [otherwise] if otherwise else []


def drawn(report: Report, title: str) -> bytes:
    """A PNG: a panel for each kind of work, a bar for each implementation and workload, logarithmic, with quartiles."""
    from matplotlib.figure import Figure

    shown, others = kinds(report), peers(report)
    names = [r["name"] for r in report["results"]][::-1]
    figure = Figure(figsize=(2.4 + 4.6 * len(shown), 2.0 + len(names) * (0.14 + 0.19 * len(others))), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    timed = {(name, kind): t["implementations"] for name, kind, t in comparisons(report)}
    ratios = [f["ratio"] for figures in timed.values() for name, f in figures.items() if name != OURS]
    for axes, kind in zip(panels, shown, strict=True):
        for i, peer in enumerate(others):
            rows = [(y, timed.get((name, kind), {}).get(peer)) for y, name in enumerate(names)]
            _bars(axes, [(y, figures["ratio"]) for y, figures in rows if figures], i, len(others), peer)
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(0.5, *(r["low"] for r in ratios), 1) / 1.8, max(2, *(r["high"] for r in ratios), 1) * 1.8)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.axvline(1, color="#111827", lw=1.2)
        for y in range(len(names) - 1):
            axes.axhline(y + 0.5, color="#e5e7eb", lw=0.8)
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
        axes.set_title(kind_in_words(kind).capitalize(), fontsize=11)
        axes.set_xlabel("nnatomy slower   |   nnatomy faster", fontsize=9)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(others), fontsize=10, frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    png = io.BytesIO()
    figure.savefig(png, dpi=110, format="png")
    return png.getvalue()


def _bars(axes: Any, bars: list[tuple[int, Quartiles]], i: int, of: int, peer: str) -> None:
    """The bars of one peer, which is the i-th `of` so many next to each other."""
    height = 0.84 / of
    at, middle = [y + 0.42 - (i + 0.5) * height for y, _ in bars], [ratio["median"] for _, ratio in bars]
    whiskers = [[abs(ratio[end] - ratio["median"]) for _, ratio in bars] for end in ("low", "high")]
    axes.barh(at, [v - 1 for v in middle], left=1, height=0.9 * height, color=COLORS[peer], label=LABELS[peer])
    axes.errorbar(middle, at, xerr=whiskers, fmt="none", ecolor="#111827", elinewidth=0.8)
    for y, (_, ratio) in zip(at, bars, strict=True):
        right = ratio["median"] >= 1
        axes.annotate(
            number(ratio["median"]), (ratio["high" if right else "low"], y), xytext=(4 if right else -4, 0),
            textcoords="offset points", va="center", ha="left" if right else "right", fontsize=7.5,
        )  # fmt: skip
