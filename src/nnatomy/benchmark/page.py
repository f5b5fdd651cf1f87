"""A report as a page in Markdown with its picture: docs/performance.md."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

from nnatomy.benchmark.measure import COMPARED, QUIET, Report, comparisons
from nnatomy.benchmark.report import (
    behind,
    busy,
    closeness,
    in_markdown,
    kind_in_words,
    kinds,
    level,
    libraries,
    number,
    peers,
    table,
    troubles,
)
from nnatomy.benchmark.sides import KINDS, OURS

COLOURS = {"eager": "#6b7280", "torch": "#d1662a", "compile": "#a8325e", "jax": "#2563a8", "keras": "#3f8f5f"}


def markdown(report: Report, picture: str) -> str:
    """The page."""
    threads = report["settings"]["threads"]
    order = " / ".join(KINDS[side].label for side in (OURS, *peers(report)))
    parts = [
        "# Performance on a CPU",
        f"""A training step is forward, loss, backward and Adam, in float32, as the training loop takes it; inference is one
        call on a batch. The same networks, weights and batches in every library, on {threads} thread(s). A ratio is another
        library's time over ours: above 1 ours is faster.""",
        busy(report),
    ]
    for kind in kinds(report):
        parts += [f"### {kind_in_words(kind).capitalize()}", in_markdown(table(report, kind))]
    if peers(report):
        parts.append(f"![How many times as fast as each library ours is]({picture})")
    parts += [
        f"""Medians and, in brackets, quartiles of blocks in turn. Memory, {order}: the peak of a process that imports one
        library, compares and trains; where a library compiles, its compiler is part of it.""",
        "## Where we are behind",
        *_behind(report),
        "## Before the first step",
        in_markdown(libraries(report)),
        """Import is what a script that trains a network begins with, in a fresh process. Size is the library with all that
        it needs, each package once, NumPy included.""",
        *_roofline(report),
        "## The work",
        "\n".join(f"- **{r['name']}**: {r['what']}; batch {r['size']}" for r in report["results"]),
        "## How it was measured",
        *_measured(report),
    ]
    return "\n\n".join(wrapped(part) for part in parts) + "\n"


def wrapped(part: str) -> str:
    """Paragraphs are filled; tables, lists, headings and code stand as they are."""
    if part.startswith(("|", "- ", "#", "!", "    ")):
        return part
    return textwrap.fill(" ".join(part.split()), 128, break_long_words=False, break_on_hyphens=False)


def _behind(report: Report) -> list[str]:
    lines, even = behind(report), level(report)
    parts = ["On nothing that was measured here: no other library's median was below ours."]
    if lines:
        parts = ["Another library is faster, by the factor given, on", "\n".join(f"- {line}" for line in lines)]
    if even:
        parts += ["Ahead by less than the spread of the measurement, so that it may as well be level, on"]
        parts += ["\n".join(f"- {line}" for line in even)]
    return parts


def _roofline(report: Report) -> list[str]:
    if not report["peak"]:
        return []
    rates = ", ".join(f"{rate / 1e9:.0f} GB/s in {size / 2**20:.1f} MiB" for size, rate in report["peak"]["bandwidths"])
    return [
        "## The roofline",
        f"""The share is the least time that this machine could take over the time that we take. The least time is the larger
        of the operations over {report["peak"]["flops"] / 1e9:.0f} GFLOP/s and of the bytes over the memory's rate ({rates});
        both were measured in the same run on as many threads.""",
        """Operations are the products of forward and backward, two for each multiply-add, without the gradient of the
        network's inputs. Convolutions count as their definition says; Winograd's way needs fewer, so that a share may exceed
        100 %. Of causal attention the half counts that is not masked. Bytes are a lower bound: every parameter and its two
        moments read and written once, the batch read once, what each product gives written and read once; in inference,
        parameters and inputs read once and outputs written once. All else counts as nothing: small networks, whose time is
        overhead, have small shares.""",
    ]


def _measured(report: Report) -> list[str]:
    m, s = report["machine"], report["settings"]
    left_out = [f"- {line}" for line in troubles(report)]
    return [
        f"""Written on {m["date"]} by `nnatomy bench` on {m["processor"]} ({", ".join(m["instruction_sets"])}), {m["cores"]}
        cores, {m["system"]}, Python {m["python"]}, in {report["seconds"] / 60:.0f} minutes.""",
        "\n".join(f"- {text}" for text in dict.fromkeys(report["versions"].values())),
        f"""Each library has a process of its own, which waits at a pipe while another runs; none may use more than
        {s["threads"]} processor(s). Before anything is timed, answers are compared: the losses of {COMPARED} steps (of one
        where Keras's LSTM has one bias for PyTorch's two), Adam's first moments after the first step, which are the
        gradients, and the outputs of inference. {closeness(report)} What differs by more than 0.1 % is not timed. Where
        millions of normalised activations meet a ReLU, one or two round to its other side: there 5 % are allowed for single
        gradients and for the losses that follow the first.""",
        """Then blocks alternate, each from the first weights, after a rest in which the others' threads fall asleep; its
        first steps are not timed. Ratios are taken pair by pair.""",
        f"""PyTorch is used as it comes (Adam {"fused" if s["fused_adam"] else "not fused"}; its own LSTM, GRU and attention);
        torch.compile compiles the model; JAX the whole step with donated state, written as pure functions with `lax.scan` and
        `lax.conv`; Keras a `tf.function` without XLA, its default on a CPU.""",
        *(["\n".join(left_out)] if left_out else []),
        "Machines differ and are shared: measure on yours.",
        '    pip install "nnatomy[verify,jax]"\n    nnatomy bench --out performance\n'
        "    python benchmarks/eager_profile.py lenet      # where our time goes",
    ]


def draw(report: Report, path: Path) -> None:
    """A panel for each kind of work, a bar for each library and workload: ratios on a logarithmic axis, with quartiles."""
    from matplotlib.figure import Figure

    shown, others = kinds(report), peers(report)
    names = [r["name"] for r in report["results"]][::-1]
    figure = Figure(figsize=(2.4 + 4.6 * len(shown), 2.0 + len(names) * (0.14 + 0.19 * len(others))), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    timed = {(name, kind): t["sides"] for name, kind, t in comparisons(report)}
    ratios = [f["ratio"]["median"] for sides in timed.values() for s, f in sides.items() if s != OURS]
    height = 0.84 / len(others)
    for axes, kind in zip(panels, shown, strict=True):
        for i, side in enumerate(others):
            rows = [(y, timed.get((name, kind), {}).get(side)) for y, name in enumerate(names)]
            bars = [(y + 0.42 - (i + 0.5) * height, figures["ratio"]) for y, figures in rows if figures]
            at, middle = [y for y, _ in bars], [ratio["median"] for _, ratio in bars]
            whiskers = [[abs(ratio[end] - ratio["median"]) for _, ratio in bars] for end in ("low", "high")]
            axes.barh(at, [v - 1 for v in middle], left=1, height=0.9 * height, color=COLOURS[side], label=KINDS[side].label)
            axes.errorbar(middle, at, xerr=whiskers, fmt="none", ecolor="#111827", elinewidth=0.8)
            for y, ratio in bars:
                right = ratio["median"] >= 1
                axes.annotate(
                    number(ratio["median"]), (ratio["high" if right else "low"], y), xytext=(4 if right else -4, 0),
                    textcoords="offset points", va="center", ha="left" if right else "right", fontsize=7.5,
                )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(0.5, *ratios) / 1.8, max(2, *ratios) * 1.8)
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
    noisy = any((t["others_busy"] or 0) > QUIET for _, _, t in comparisons(report))
    title = f"Others' time over ours on {report['settings']['threads']} thread(s)"
    figure.suptitle(title + ("\nprovisional: the machine was not quiet" if noisy else ""), x=0.01, ha="left", fontsize=12)
    temporary = path.with_suffix(f".{os.getpid()}.png")
    figure.savefig(temporary, dpi=110)
    os.replace(temporary, path)
