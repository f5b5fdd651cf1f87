"""A GPU report as tables, and as a page in Markdown with its picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.measure import CLOSE, COMPARED
from nnatomy.benchmark import report as reports
from nnatomy.benchmark.implementation import LABELS, OURS
from nnatomy.benchmark.report import (
    MARK,
    Report,
    Table,
    behind,
    caveats,
    closeness,
    in_markdown,
    interval,
    listed,
    peers,
    wrapped,
)


def write(report: Report, page: Path | None, figures: Path | None) -> None:
    """The page and its picture, and the file of all figures."""
    reports.write(report, page, figures, markdown, title)


def title(report: Report) -> str:
    """Of the picture."""
    where = "a rehearsal at tiny sizes on a CPU" if report["settings"]["tiny"] else report["device"]
    return f"Training steps in bfloat16: others' time over ours\n{where}"


# Tables


def timed(report: Report) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(result, figures by implementation) of the workloads that were timed."""
    for result in report["results"]:
        if "train" in result["timed"]:
            yield result, result["timed"]["train"]["implementations"]


def peak(report: Report) -> float:
    """Operations a second that make 100%: the published ones of the card, or those that a product reached here."""
    return float(report["peak"]["published"] or report["peak"]["measured"])


def speeds(report: Report) -> Table:
    """The examples that each library trains on in a second, and the ratio of ours to each other library."""
    others = peers(report)
    names = (OURS, *others)
    header = ("workload", "unit", *(LABELS[name] for name in names), *(f"ours / {LABELS[name]}" for name in others))
    rows = []
    for result, figures in timed(report):
        rates = [interval(figures[name]["rate"], "{:,.0f}".format) if name in figures else "-" for name in names]
        ratios = [interval(figures[name]["ratio"]) if name in figures else "-" for name in others]
        rows.append((result["name"], f"{result['unit']}/s", *rates, *ratios))
    return header, rows


def uses(report: Report) -> Table:
    """The fraction of the device's operations that a step's are, and the peak of its memory."""
    names = (OURS, *peers(report))
    header = (
        "workload", "TFLOP a step", *(f"{LABELS[name]}, MFU" for name in names), *(f"{LABELS[name]}, MiB" for name in names)
    )  # fmt: skip
    rows = []
    for result, figures in timed(report):
        shares = [share(report, figures[name]) if name in figures else "-" for name in names]
        memory = [f"{figures[name]['peak_mib']:,.0f}" if name in figures else "-" for name in names]
        rows.append((result["name"], f"{result['operations'] / 1e12:.3g}", *shares, *memory))
    return header, rows


def share(report: Report, figures: dict[str, Any]) -> str:
    return f"{100 * figures['operations_a_second'] / peak(report):.1f} %"


# The page


def markdown(report: Report, picture: str) -> str:
    """The page."""
    tiny = report["settings"]["tiny"]
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
        f"""MFU is the fraction of the operations a second that the device could do: three times the operations of the forward
        products (two a multiply-add) over the time of a step. Attention counts all pairs, masked or not, so that for
        GPT-2 this is 6 N + 12 L d T a token (Chowdhery et al. 2022, appendix B); counting the seen half only would give
        up to 7 % less. The device's dense bfloat16 rate as its maker publishes it: {published}; the product of two large
        matrices reached {card["measured"] / 1e12:.3g} TFLOP/s in this run. Shares are of the {rate_of}. Memory is the
        most that a library's allocator held{where}.""",
        "## Where we are behind",
        *listed([f"{line}." for line in behind(report)], "On nothing that was timed here."),
        "## The work",
        *listed([f"**{r['name']}**: {r['what']}; batch {r['size']}" for r in report["results"]]),
        "## How it was measured",
        f"""Written on {m["date"]} by `python benchmarks/gpu.py` ({MARK}) on {report["device"]} next to {m["processor"]},
        {m["cores"]} cores, {m["system"]}, Python {m["python"]}, in {report["seconds"] / 60:.0f} minutes.""",
        *listed(list(dict.fromkeys(report["versions"].values()))),
        f"""Each library has its own processes, of which one runs at a time. First answers are compared in exact float32 on
        smaller batches: the losses of {COMPARED} steps and the optimizer's momentum after the first, which is the
        gradient. {closeness(report, "bfloat16")}{_rounded(report)} What differs by more than 0.1 % (5 % where activations
        meet a ReLU by the million) is not timed, nor what differs by more than {100 * CLOSE:.0f} % (there 5 %) in the
        losses of bfloat16. Then blocks of steps alternate, batches lying on the device.""",
        """PyTorch runs with autocast, fused optimizers, its own attention and LSTM, images channels last and TF32 where
        autocast leaves float32; torch.compile compiles model and loss. Ours is the step of the training loop, compiled by
        XLA with donated state.""",
        *listed(caveats(report)),
        "    python benchmarks/gpu.py --out docs/gpu.md --figures gpu.json",
    ]
    return wrapped(parts)


def _rounded(report: Report) -> str:
    """Return the largest difference of losses in bfloat16 among the timed libraries."""
    found = [a["loss"] for r in report["results"] for a in r.get("agreement", {}).get("bfloat16", {}).values()]
    return f" In bfloat16 losses agreed to {max(found):.1e}." if found else ""
