"""The CPU benchmark on a terminal: its tables, and the load of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from nnatomy.benchmark.implementation import LABELS, OURS
from nnatomy.benchmark.report import (
    Report,
    Table,
    behind,
    caveats,
    comparisons,
    interval,
    kind_in_words,
    kinds,
    number,
    peers,
)

QUIET = 0.1
"""Cores that other processes may take."""


def table(report: Report, kind: str) -> Table:
    """Of one kind of work: our time, how many times longer the others take, roofline, memory."""
    others = peers(report)
    header = ("workload", "nnatomy, ms", *(f"{LABELS[p]} / ours" for p in others), "fraction of the roofline")
    memory = kind == "train"
    rows = []
    for r in report["results"]:
        if kind not in r["timed"]:
            continue
        figures = r["timed"][kind]["implementations"]
        mine = figures[OURS]
        cells = [r["name"], interval(mine["ms"])]
        for p in others:
            cells.append(interval(figures[p]["ratio"]) if p in figures else "differs" if p in r["differ"] else "-")
        cells.append(f"{100 * mine['roofline']:.0f} %" if "roofline" in mine else "-")
        if memory:
            cells.append(" / ".join(f"{figures[p]['peak_mib']:.0f}" if p in figures else "-" for p in (OURS, *others)))
        rows.append(tuple(cells))
    mean = report["means"].get(kind)
    if mean and len(rows) > 1:
        ratios = (number(mean[p]) if p in mean else "-" for p in others)
        rows.append(("geometric mean", "", *ratios, "", *(("",) if memory else ())))
    return (*header, *(("peak memory, MiB",) if memory else ())), rows


def libraries(report: Report) -> Table:
    """Import time and installed size."""
    header = ("library", "import, s", "installed, MiB")
    return header, [
        (LABELS[p], number(w["import_seconds"]), f"{w['mib']:.0f}" if "mib" in w else "not known")
        for p, w in report["libraries"].items()
    ]


def busy(report: Report) -> str:
    """Return the load of the machine, as text."""
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
        "Threads that wait for each other suffer most from that: these ratios are provisional, not to be cited."
    )


def sections(report: Report) -> Sequence[tuple[str, Table]]:
    """(title, table) of all that a terminal shows."""
    timed = [(kind_in_words(kind).capitalize(), table(report, kind)) for kind in kinds(report)]
    return [*timed, ("Libraries", libraries(report))]


def closing(report: Report) -> list[str]:
    """Return the lines below the tables on a terminal."""
    plain = busy(report).replace("**", "").replace("\n", " ")
    slower = [f"Behind in {line}." for line in behind(report)] or ["Behind on nothing that was measured here."]
    return [*caveats(report), plain, *(slower if peers(report) else [])]
