"""A GPU report as tables, as a page in Markdown with its picture, and as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnatomy.benchmark.gpu.measure import CLOSE, COMPARED, Report
from nnatomy.benchmark.gpu.sides import KINDS
from nnatomy.benchmark.page import COLOURS, wrapped
from nnatomy.benchmark.report import Row, in_markdown, interval, number
from nnatomy.benchmark.sides import OURS
from nnatomy.runs.folder import write_atomically


def write(report: Report, page: Path | None, as_json: Path | None) -> None:
    """The page and its picture, and the JSON file."""
    if as_json is not None:
        write_atomically(as_json, json.dumps(report, indent=2) + "\n")
    if page is not None:
        picture = page.with_suffix(".png")
        write_atomically(page, markdown(report, picture.name))
        if peers(report):
            write_atomically(picture, drawn(report))


# Tables


def timed(report: Report) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(result, figures by side) of the workloads that were timed."""
    for result in report["results"]:
        if OURS in result["timed"]:
            yield result, result["timed"]


def peers(report: Report) -> list[str]:
    """The sides beside ours that were timed."""
    found = {side for _, sides in timed(report) for side in sides}
    return [side for side in KINDS if side in found and side != OURS]


def peak(report: Report) -> float:
    """Operations a second that a share is a share of: the published ones of the card, or what a product reached here."""
    return float(report["peak"]["published"] or report["peak"]["measured"])


def speeds(report: Report) -> tuple[Row, list[Row]]:
    """(header, rows): how much each library trains in a second, and how many times that of each other ours is."""
    others = peers(report)
    sides = (OURS, *others)
    header = ("workload", "unit", *(KINDS[s].label for s in sides), *(f"ours / {KINDS[s].label}" for s in others))
    rows = []
    for result, figures in timed(report):
        rates = [interval_of_rate(figures[s]["rate"]) if s in figures else "-" for s in sides]
        ratios = [interval(figures[s]["ratio"]) if s in figures else "-" for s in others]
        rows.append((result["name"], f"{result['unit']}/s", *rates, *ratios))
    return header, rows


def interval_of_rate(s: dict[str, float]) -> str:
    return f"{s['median']:,.0f} ({s['low']:,.0f}–{s['high']:,.0f})"


def uses(report: Report) -> tuple[Row, list[Row]]:
    """(header, rows): the share of the device's operations that a step's are, and the peak of its memory."""
    sides = (OURS, *peers(report))
    header = (
        "workload", "TFLOP a step", *(f"{KINDS[s].label}, MFU" for s in sides), *(f"{KINDS[s].label}, MiB" for s in sides)
    )  # fmt: skip
    rows = []
    for result, figures in timed(report):
        shares = [share(report, figures[s]) if s in figures else "-" for s in sides]
        memory = [f"{figures[s]['peak_mib']:,.0f}" if s in figures else "-" for s in sides]
        rows.append((result["name"], f"{result['operations'] / 1e12:.3g}", *shares, *memory))
    return header, rows


def share(report: Report, figures: dict[str, Any]) -> str:
    return f"{100 * figures['operations_a_second'] / peak(report):.1f} %"


# In words


def behind(report: Report) -> list[str]:
    """One line for each workload on which another library's median is above ours."""
    lines = []
    for result, figures in timed(report):
        slower = {s: figures[s]["ratio"]["median"] for s in figures if s != OURS and figures[s]["ratio"]["median"] < 1}
        if slower:
            said = ", ".join(f"{KINDS[s].label} is {number(1 / r)} times as fast" for s, r in slower.items())
            lines.append(f"{result['name']}: {said}.")
    return lines


def troubles(report: Report) -> list[str]:
    """What was left out, and what must be known about the rest."""
    lines = [f"{KINDS[side].label} is left out: {why}." for side, why in report["absent"].items()]
    for r in report["results"]:
        for side, d in r["differ"].items():
            lines.append(
                f"{r['name']}: {KINDS[side].label} gives other answers in {d['in']} (loss by {d['loss']:.1e}, gradient "
                f"{d['gradient_in']} by {d['gradient']:.1e}) and was not timed."
            )
        lines += [f"{r['name']}: {KINDS[side].label} is left out: {why}." for side, why in r["failed"].items()]
        lines += [f"{r['name']}: {KINDS[side].label} {note}." for side, notes in r["notes"].items() for note in notes]
    return lines


def markdown(report: Report, picture: str) -> str:
    """The page."""
    tiny = report["settings"]["tiny"]
    slow = behind(report)
    m, card = report["machine"], report["peak"]
    published = f"{card['published'] / 1e12:.0f} TFLOP/s" if card["published"] else "not in our table"
    rate_of = "former" if card["published"] else "latter"
    where = " - here the peak of its process" if tiny else ""
    parts = [
        "# Performance on a GPU",
        *(["**A rehearsal at tiny sizes on a CPU: its times say nothing about a GPU.**"] if tiny else []),
        f"""A training step is forward, loss, backward and update in bfloat16 over float32 weights: the same networks, first
        weights and batches in every library, on one {report["device"]}.""",
        in_markdown(speeds(report)),
        *([f"![How many times as fast as each library ours is]({picture})"] if peers(report) else []),
        "Medians and, in brackets, quartiles of blocks in turn; ratios are taken pair by pair, above 1 ours is faster.",
        in_markdown(uses(report)),
        f"""MFU is the share of the operations a second that the device could do: three times the operations of the forward
        products (two a multiply-add) over the time of a step. Attention counts all pairs, masked or not, so that for
        GPT-2 this is 6 N + 12 L d T a token (Chowdhery et al. 2022, appendix B); counting the seen half only would give
        up to 7 % less. The device's dense bfloat16 rate as its maker publishes it: {published}; the product of two large
        matrices reached {card["measured"] / 1e12:.3g} TFLOP/s in this run. Shares are of the {rate_of}. Memory is the
        most that a library's allocator held at once{where}.""",
        "## Where we are behind",
        *(["\n".join(f"- {line}" for line in slow)] if slow else ["On nothing that was timed here."]),
        "## The work",
        "\n".join(f"- **{r['name']}**: {r['what']}; batch {r['size']}" for r in report["results"]),
        "## How it was measured",
        f"""Written on {m["date"]} by `python benchmarks/gpu.py` on {report["device"]} beside {m["processor"]}, {m["cores"]}
        cores, {m["system"]}, Python {m["python"]}, in {report["seconds"] / 60:.0f} minutes.""",
        "\n".join(f"- {text}" for text in dict.fromkeys(report["versions"].values())),
        f"""Each library has processes of its own, of which one runs at a time. First answers are compared in exact float32 on
        smaller batches: the losses of {COMPARED} steps and the optimizer's momentum after the first, which is the
        gradient; {closeness(report)} What differs by more than 0.1 % (5 % where activations meet a ReLU by the million)
        is not timed, nor what differs by more than {100 * CLOSE:.0f} % (there 5 %) in the losses of bfloat16. Then blocks
        of steps alternate, batches lying on the device.""",
        """PyTorch runs with autocast, fused optimizers, its own attention and LSTM, images channels last and TF32 where
        autocast leaves float32; torch.compile compiles model and loss. Ours is the step of the training loop, compiled by
        XLA with donated state.""",
        *(["\n".join(f"- {line}" for line in troubles(report))] if troubles(report) else []),
        "    python benchmarks/gpu.py --out docs/gpu.md --json gpu.json",
    ]
    return "\n\n".join(wrapped(part) for part in parts) + "\n"


def closeness(report: Report) -> str:
    """How far answers were apart at most, among those that count as the same."""
    found = [(kind, a) for r in report["results"] for kind, of in r.get("agreement", {}).items() for a in of.values()]
    exact = [a for kind, a in found if kind == "float32"]
    if not exact:
        return "none was."
    rounded = [a["loss"] for kind, a in found if kind == "bfloat16"]
    return (
        f"losses agreed to {max(a['loss'] for a in exact):.1e}, gradients to {max(a['gradient'] for a in exact):.1e} of the "
        f"largest of their array" + (f", and losses in bfloat16 to {max(rounded):.1e}." if rounded else ".")
    )


def drawn(report: Report) -> bytes:
    """A PNG: how many times as fast as each other library ours is, a bar for each on a logarithmic axis, with quartiles."""
    from matplotlib.figure import Figure

    others = peers(report)
    rows = list(timed(report))[::-1]
    figure = Figure(figsize=(8, 1.6 + len(rows) * (0.2 + 0.3 * len(others))), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(others)
    ratios = [figures[s]["ratio"] for _, figures in rows for s in others if s in figures]
    for i, side in enumerate(others):
        bars = [(y + 0.4 - (i + 0.5) * height, f[side]["ratio"]) for y, (_, f) in enumerate(rows) if side in f]
        at, middle = [y for y, _ in bars], [r["median"] for _, r in bars]
        axes.barh(at, [v - 1 for v in middle], left=1, height=0.88 * height, color=COLOURS[side], label=KINDS[side].label)
        whiskers = [[abs(r[end] - r["median"]) for _, r in bars] for end in ("low", "high")]
        axes.errorbar(middle, at, xerr=whiskers, fmt="none", ecolor="#111827", elinewidth=0.8)
        for y, r in bars:
            right = r["median"] >= 1
            axes.annotate(
                number(r["median"]), (r["high" if right else "low"], y), xytext=(4 if right else -4, 0),
                textcoords="offset points", va="center", ha="left" if right else "right", fontsize=8.5,
            )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.5, *(r["low"] for r in ratios)) / 1.5, max(2, *(r["high"] for r in ratios)) * 1.5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_yticks(range(len(rows)), [result["name"] for result, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.axvline(1, color="#111827", lw=1.2)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_xlabel("nnatomy slower   |   nnatomy faster", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(others), fontsize=10, frameon=False)
    tiny = "a rehearsal at tiny sizes on a CPU" if report["settings"]["tiny"] else report["device"]
    figure.suptitle(f"Training steps in bfloat16: our rate over others'\n{tiny}", x=0.01, ha="left", fontsize=12)
    png = io.BytesIO()
    figure.savefig(png, dpi=110, format="png")
    return png.getvalue()
