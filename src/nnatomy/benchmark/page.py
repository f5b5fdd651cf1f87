"""A report of the CPU benchmark as a page in Markdown with its picture: docs/performance.md."""

from __future__ import annotations

from pathlib import Path

from nnatomy.benchmark import report as reports
from nnatomy.benchmark.implementation import LABELS, OURS
from nnatomy.benchmark.measure import COMPARED
from nnatomy.benchmark.report import (
    Report,
    behind,
    caveats,
    closeness,
    comparisons,
    in_markdown,
    kind_in_words,
    kinds,
    level,
    listed,
    peers,
    wrapped,
)
from nnatomy.benchmark.tables import QUIET, busy, libraries, table


def write(report: Report, page: Path | None, figures: Path | None) -> None:
    """The page and its picture, and the file of all figures."""
    reports.write(report, page, figures, markdown, title)


def title(report: Report) -> str:
    """Of the picture."""
    noisy = any((t["others_busy"] or 0) > QUIET for _, _, t in comparisons(report))
    threads = report["settings"]["threads"]
    return f"Others' time over ours on {threads} thread(s)" + ("\nprovisional: the machine was not quiet" if noisy else "")


def markdown(report: Report, picture: str) -> str:
    """The page."""
    threads = report["settings"]["threads"]
    order = " / ".join(LABELS[name] for name in (OURS, *peers(report)))
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
        """Import is what a script that trains a network starts with, in a fresh process. Size is the library with all that
        it needs, each package once, NumPy included.""",
        *_roofline(report),
        "## The work",
        *listed([f"**{r['name']}**: {r['what']}; batch {r['size']}" for r in report["results"]]),
        "## How it was measured",
        *_measured(report),
    ]
    return wrapped(parts)


def _behind(report: Report) -> list[str]:
    lines, even = behind(report), level(report)
    parts = ["On nothing that was measured here: no other library's median was below ours."]
    if lines:
        parts = ["Another library is faster, by the factor given, on", *listed(lines)]
    if even:
        parts += ["Ahead by less than the spread of the measurement, so that it may as well be level, on", *listed(even)]
    return parts


def _roofline(report: Report) -> list[str]:
    if not report["peak"]:
        return []
    rates = ", ".join(f"{rate / 1e9:.0f} GB/s in {size / 2**20:.1f} MiB" for size, rate in report["peak"]["bandwidths"])
    return [
        "## The roofline",
        f"""The fraction is the least time that this machine could take over the time that we take. The least time is the larger
        of the operations over {report["peak"]["flops"] / 1e9:.0f} GFLOP/s and of the bytes over the memory's rate ({rates});
        both were measured in the same run on as many threads.""",
        """Operations are the products of forward and backward, two for each multiply-add, without the gradient of the
        network's inputs. Convolutions count as their definition says; Winograd's way needs fewer, so that a fraction may exceed
        100 %. Of causal attention the half counts that is not masked. Bytes are a lower bound: every parameter and its two
        moments read and written once, the batch read once, what each product gives written and read once; in inference,
        parameters and inputs read once and outputs written once. All else counts as nothing: small networks, whose time is
        overhead, have small fractions.""",
    ]


def _measured(report: Report) -> list[str]:
    m, s = report["machine"], report["settings"]
    return [
        f"""Written on {m["date"]} by `nnatomy bench` on {m["processor"]} ({", ".join(m["instruction_sets"])}), {m["cores"]}
        cores, {m["system"]}, Python {m["python"]}, in {report["seconds"] / 60:.0f} minutes.""",
        *listed(list(dict.fromkeys(report["versions"].values()))),
        f"""Each library has its own process, which waits at a pipe while another runs; none may use more than
        {s["threads"]} processor(s). Before anything is timed, answers are compared: the losses of {COMPARED} steps (of one
        where Keras's LSTM has one bias for PyTorch's two), Adam's first moments after the first step, which are the
        gradients, and the outputs of inference. {closeness(report)} What differs by more than 0.1 % is not timed. Where
        millions of normalized activations meet a ReLU, one or two round to its other side: there 5 % are allowed for single
        gradients and for the losses that follow the first.""",
        """Then blocks alternate, each from the first weights, after a rest in which the others' threads fall asleep; its
        first steps are not timed. Ratios are taken pair by pair.""",
        f"""PyTorch is used as it comes (Adam {"fused" if s["fused_adam"] else "not fused"}; its own LSTM, GRU and attention);
        torch.compile compiles the model; JAX the whole step with donated state, written as pure functions with `lax.scan` and
        `lax.conv`; Keras a `tf.function` without XLA, its default on a CPU.""",
        *listed(caveats(report)),
        "Machines differ and are shared: measure on yours.",
        '    pip install "nnatomy[verify,jax]"\n    nnatomy bench --out performance\n'
        "    python benchmarks/eager_profile.py lenet      # where our time goes",
    ]
