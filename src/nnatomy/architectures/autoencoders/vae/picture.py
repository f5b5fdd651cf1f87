"""The VAE's picture: a sheet of what the latent plane decodes to, where test examples lie in it, and walks through it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Circle

from nnatomy.architectures.autoencoders.vae.model import VAE, VQVAE
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import COLORS
from nnatomy.graph import no_grad
from nnatomy.random import Generator
from nnatomy.tasks.forward import own_stream
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]

INK, GRAY, ORANGE = "#1f2937", "#6b7280", "#d1662a"
EXAMINED = 1500  # test examples whose codes are drawn
SIDE = 13  # pictures along each side of the sheet
REACH = 2.5  # standard deviations that the sheet spans in each direction
STEPS = 11  # of a walk
WALKS = 4
SHOWN = 8  # examples with their codes


def draw(model: VAE | VQVAE, dataset: Dataset) -> Figure:
    """The latent plane with decoded examples, the codes of test examples in it, and walks between examples."""
    batch = dataset.test.take(np.arange(min(EXAMINED, len(dataset.test))))
    x = select(dataset.test.fields, batch, "input")[0]
    labels = next(iter(select(dataset.test.fields, batch, "target")), np.zeros(len(x), np.int64))
    figure = Figure(figsize=(13, 10.8), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.45, 1), hspace=0.03)
    with no_grad():
        if isinstance(model, VQVAE):
            said = f"an example becomes {model.positions} of {model.codes} learned vectors"
            figure.suptitle(f"VQ-VAE on {dataset.name}: {said}", fontsize=14)
            _codes(halves[0], model, dataset, x)
            _changes(halves[1], model, dataset, x)
        else:
            said = f"{model.latent} latent numbers" + (" and the label" if model.classes else "")
            figure.suptitle(f"Variational autoencoder on {dataset.name}: an example becomes {said}", fontsize=14)
            _plane(halves[0], model, dataset, x, labels)
            _walks(halves[1], model, dataset, x, labels)
    return figure


# The VAE


def _plane(figure: SubFigure, model: VAE, dataset: Dataset, x: Array, labels: Array) -> None:
    left, right = figure.subplots(1, 2)
    given = Tensor(labels) if model.classes else None
    codes = np.asarray(model.encode(Tensor(x), given)[0].data)
    center, axes = _main_plane(codes)
    names = [f"z{i + 1}" for i in range(2)] if model.latent == 2 else ["main direction 1 of z", "main direction 2 of z"]
    side = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)
    if model.classes:
        z = center + np.stack([side, np.zeros_like(side)], axis=1) @ axes
        rows = [_pictures(model, dataset, z, np.full(SIDE, c)) for c in range(model.classes)]
        extent = (-REACH, REACH, 0, model.classes)
        left.imshow(_mosaic(np.stack(rows), 1), cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
        left.set_yticks(np.arange(model.classes) + 0.5, dataset.classes[::-1])
        left.set(title="One code z with each label:\nthe label says what, z says how", xlabel=names[0], ylabel="label")
    else:
        across, up = np.meshgrid(side, side[::-1])
        z = center + np.stack([across.ravel(), up.ravel()], axis=1) @ axes
        made = _pictures(model, dataset, z.astype(x.dtype))
        edge = REACH * SIDE / (SIDE - 1)  # the outermost pictures are centered at REACH
        sheet = _mosaic(made.reshape(SIDE, SIDE, *made.shape[1:]), 1)
        left.imshow(sheet, cmap="gray", vmin=0, vmax=1, extent=(-edge, edge, -edge, edge))
        left.set(title="What each point of the latent plane decodes to", xlabel=names[0], ylabel=names[1])
    points = (codes - center) @ axes.T
    for c, name in enumerate(dataset.classes or ("test examples",)):
        chosen = points[labels == c]
        right.scatter(*chosen.T, s=11, color=COLORS[c % len(COLORS)], alpha=0.75, linewidths=0, label=name)
    for radius in (1, 2):
        right.add_patch(Circle((0, 0), radius, fill=False, color=INK, lw=0.9, ls="--"))
        right.text(0, radius + 0.03, f"{radius} sd", ha="center", va="bottom", fontsize=8.5, color=INK)
    reach = float(max(REACH * 1.06, np.quantile(np.abs(points), 0.995)))
    right.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel=names[0], ylabel=names[1], aspect="equal")
    right.set_title("Where the encoder puts test examples in it\n(dashed: the prior, N(0, 1))", fontsize=11)
    left.title.set_fontsize(11)
    right.grid(alpha=0.2)
    right.legend(fontsize=9, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.11), frameon=False, markerscale=1.6)


def _main_plane(codes: Array) -> tuple[Array, Array]:
    """The origin and the two orthonormal directions along which codes vary most; the plane itself where z has two numbers."""
    width = codes.shape[1]
    if width <= 2:
        return np.zeros(width, codes.dtype), np.eye(2, width, dtype=codes.dtype)
    directions = np.linalg.svd(codes, full_matrices=False)[2][:2]
    return np.zeros(width, codes.dtype), np.asarray(directions * np.sign(directions.sum(axis=1, keepdims=True)), codes.dtype)


def _walks(figure: SubFigure, model: VAE, dataset: Dataset, x: Array, labels: Array) -> None:
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.6, 1))
    pairs = _pairs(labels)
    rows = []
    places = np.linspace(0, 1, STEPS, dtype=x.dtype)[:, None]
    for first, last in pairs:
        given = Tensor(labels[[first, last]]) if model.classes else None
        start, end = np.asarray(model.encode(Tensor(x[[first, last]]), given)[0].data)
        label = None if not model.classes else np.where(places[:, 0] < 0.5, labels[first], labels[last])
        walk = _pictures(model, dataset, (1 - places) * start + places * end, label)
        rows.append(np.concatenate([_looks(dataset, x[first : first + 1]), walk, _looks(dataset, x[last : last + 1])]))
    with own_stream(Generator(1).state_dict()):
        drawn = _looks(dataset, np.asarray(model.sample(STEPS + 2).data))
    sheet = _mosaic(np.stack([*rows, drawn]), 1)
    axes = parts[0].subplots()
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, extent=(0, STEPS + 2, 0, len(rows) + 1), aspect="auto")
    for place in (1, STEPS + 1):
        axes.plot([place, place], [1, len(rows) + 1], color=ORANGE, lw=2)
    axes.axhline(1, color=ORANGE, lw=2)
    names = ["new samples:\nz from N(0, I)", "walks between\nthe codes of two\ntest examples"]
    axes.set_yticks([0.5, 1 + len(rows) / 2], names, fontsize=9.5)
    axes.set_xticks([0.5, 1 + STEPS / 2, STEPS + 1.5], ["input", "decoded, z in even steps", "input"])
    axes.tick_params(length=0)
    parts[0].suptitle("Between two codes lie codes that decode to something, and new codes can be drawn", fontsize=11)
    _divergences(parts[1].subplots(), model, x, labels)


def _divergences(axes: Axes, model: VAE, x: Array, labels: Array) -> None:
    """Bars: the nats of each latent number."""
    given = Tensor(labels) if model.classes else None
    mean, logvar = (np.asarray(t.data, np.float64) for t in model.encode(Tensor(x), given))
    nats = -0.5 * (1 + logvar - mean**2 - np.exp(logvar)).mean(axis=0)
    order = np.argsort(-nats)
    axes.bar(range(len(nats)), nats[order], color=COLORS[0])
    axes.set_xticks(range(len(nats)), [f"{i + 1}" for i in order], fontsize=8 if len(nats) < 12 else 6)
    axes.set(xlabel="number of z", ylabel="KL divergence, nats", title=f"What each says about x: {nats.sum():.1f} nats")
    axes.title.set_fontsize(11)
    axes.grid(alpha=0.25, axis="y")


def _pairs(labels: Array) -> list[tuple[int, int]]:
    """Rows of examples of different classes, as far as there are some: the first of each."""
    firsts = [int(np.flatnonzero(labels == c)[0]) for c in np.unique(labels)]
    others = [i for i in range(len(labels)) if i not in firsts]
    chosen = (firsts + others)[: 2 * WALKS]
    half = len(chosen) // 2
    return list(zip(chosen[:half], chosen[half:]))


# The VQ-VAE


def _codes(figure: SubFigure, model: VQVAE, dataset: Dataset, x: Array) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    reconstructed, codes = (np.asarray(t.data) for t in model(Tensor(x)))
    count = min(SHOWN, len(x))
    sheet = _mosaic(np.stack([_looks(dataset, x[:count]), _looks(dataset, reconstructed[:count])]), 1)
    left.imshow(sheet, cmap="gray", vmin=0, vmax=1, extent=(0, count, 1.3, 3.3), aspect="equal")
    for i in range(count):
        said = "\n".join(str(code) for code in codes[i][:4]) + ("\n…" if model.positions > 4 else "")
        left.text(i + 0.5, 1.2, said, ha="center", va="top", fontsize=11, color=INK, family="monospace")
    left.set(xlim=(0, count), ylim=(0, 3.3))
    left.set_title("Inputs, what comes back, and the codes between them", fontsize=11)
    left.set_yticks([0.65, 1.8, 2.8], ["codes", "decoded", "input"])
    left.set_xticks([])
    used = np.bincount(codes.ravel(), minlength=model.codes) / codes.size
    order = np.argsort(-used)
    right.bar(range(model.codes), used[order], color=COLORS[0])
    right.axhline(1 / model.codes, color=ORANGE, lw=1, ls="--")
    entropy = float(-(used[used > 0] * np.log(used[used > 0])).sum())
    right.set(xlabel="vector of the codebook, by use", ylabel="fraction of all codes")
    right.set_title(f"Use of the codebook: as even as {np.exp(entropy):.0f} of {model.codes}\n(dashed: all alike)", fontsize=11)
    right.grid(alpha=0.25, axis="y")


def _changes(figure: SubFigure, model: VQVAE, dataset: Dataset, x: Array) -> None:
    """One example, and what becomes of it when the code of one position is each vector in turn."""
    codes = np.asarray(model(Tensor(x[:1]))[1].data)[0]
    shown, columns = min(model.positions, 4), min(model.codes, 16)
    rows = []
    for position in range(shown):
        changed = np.repeat(codes[None], columns, axis=0)
        changed[:, position] = np.arange(columns)
        decoded = model.decoder.mean(model.decode(model.codebook(Tensor(changed)))).reshape(columns, *dataset.input_shape)
        rows.append(_looks(dataset, np.asarray(decoded.data)))
    axes = figure.subplots()
    axes.imshow(_mosaic(np.stack(rows), 1), cmap="gray", vmin=0, vmax=1, extent=(0, columns, shown, 0), aspect="auto")
    for position in range(shown):
        if codes[position] < columns:
            axes.add_patch(_frame(codes[position], position))
    axes.set_xticks(np.arange(columns) + 0.5, [str(i) for i in range(columns)])
    axes.set_yticks(np.arange(shown) + 0.5, [f"position {i + 1}" for i in range(shown)])
    axes.set_xlabel("code at this position, the others as they are")
    axes.set_title("The first example with one code changed (frame: its own code)", fontsize=11)


def _frame(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column, row), 1, 1, fill=False, color=ORANGE, lw=2)


# Pictures


def _pictures(model: VAE, dataset: Dataset, z: Array, labels: Array | None = None) -> Array:
    """What codes decode to, as pictures."""
    outputs = model.decode(Tensor(z.astype(np.float32)), None if labels is None else Tensor(labels.astype(np.int64)))
    return _looks(dataset, np.asarray(model.decoder.mean(outputs).data).reshape(len(z), *dataset.input_shape))


def _looks(dataset: Dataset, x: Array) -> Array:
    """Examples as pictures, (n, height, width) or with colors last."""
    look: Any = kind_of(dataset).look(dataset)
    return np.stack([look.picture(one) for one in x])


def _mosaic(pictures: Array, margin: int) -> Array:
    """Pictures (rows, columns, height, width, ...) as one, with gray lines between them."""
    around = [(0, 0), (0, 0), (0, margin), (0, margin), *[(0, 0)] * (pictures.ndim - 4)]
    padded = np.pad(pictures, around, constant_values=0.35)
    rows, columns, height, width = padded.shape[:4]
    return padded.swapaxes(1, 2).reshape(rows * height, columns * width, *padded.shape[4:])
