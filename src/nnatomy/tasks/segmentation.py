"""Segmentation: which of several classes each pixel belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import IGNORE
from nnatomy.data.pictures import placement, resize_images
from nnatomy.errors import UserError
from nnatomy.functional import cross_entropy, softmax
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.figures import short
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Meter, Mistakes, Score
from nnatomy.tasks.task import Predictor, Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 2  # pixels from a border that count for boundary_iou
SHOWN = 6  # examples that the report shows
PIXELS = 20_000
"""Training pixels on which the logistic regression is fitted."""
NAMED = 30
"""Classes up to which predictions have a column for each."""


def counted(chosen: Array, truth: Array, classes: int) -> Array:
    """Return the confusion matrix int64 (classes, classes): pixels by true (row) and predicted class, ignored ones left out."""
    labeled = truth != IGNORE
    pairs = truth[labeled].astype(np.int64) * classes + chosen[labeled]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou(confusion: Array) -> Array:
    """Return TP / (TP + FP + FN) of each class; NaN for a class that is neither true nor predicted anywhere."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    return np.where(union > 0, hit / np.maximum(union, 1), np.nan)


def near_borders(truth: Array, reach: int = REACH) -> Array:
    """Return booleans (n, height, width): labeled pixels at most `reach` steps from a pixel of another class."""
    border = np.zeros(truth.shape, bool)
    for axis in (1, 2):
        first, second = (np.take(truth, np.arange(start, truth.shape[axis] - 1 + start), axis) for start in (0, 1))
        differ = (first != second) & (first != IGNORE) & (second != IGNORE)
        for start in (0, 1):
            place = [slice(None)] * 3
            place[axis] = slice(start, truth.shape[axis] - 1 + start)
            border[tuple(place)] |= differ
    for _ in range(reach - 1):
        wider = border.copy()
        wider[:, 1:] |= border[:, :-1]
        wider[:, :-1] |= border[:, 1:]
        wider[:, :, 1:] |= border[:, :, :-1]
        wider[:, :, :-1] |= border[:, :, 1:]
        border = wider
    return np.asarray(border & (truth != IGNORE))


class Confusion:
    """A meter that counts pixels in a confusion matrix; it keeps a few evenly spaced examples for the figure."""

    def __init__(self, classes: int, named: tuple[fields.Field, ...]) -> None:
        self.classes, self.named = classes, named
        self.all, self.near = (np.zeros((classes, classes), np.int64) for _ in range(2))
        self.wrong: list[Array] = []
        self.kept: list[tuple[Array, Array, Array]] = []
        self.seen, self.step = 0, 1

    def add(self, outputs: Array, batch: Batch) -> None:
        """Take scores (n, classes, height, width), or the chosen classes (n, height, width)."""
        (images, *_), (truth, *_) = (fields.select(self.named, batch, role) for role in ("input", "target"))
        chosen = outputs.argmax(axis=1) if outputs.ndim == 4 else outputs
        self.all += counted(chosen, truth, self.classes)
        self.near += counted(chosen, np.where(near_borders(truth), truth, IGNORE), self.classes)
        labeled = truth != IGNORE
        misses = ((chosen != truth) & labeled).sum(axis=(1, 2))
        self.wrong.append(misses / np.maximum(labeled.sum(axis=(1, 2)), 1))
        for example in zip(images, truth.astype(np.uint8), chosen.astype(np.uint8), strict=True):
            if self.seen % self.step == 0:
                self.kept.append(example)
            self.seen += 1
            if len(self.kept) == 2 * SHOWN:
                self.kept, self.step = self.kept[::2], 2 * self.step

    def result(self) -> Evaluation:
        each, total = iou(self.all), max(int(self.all.sum()), 1)
        near = iou(self.near)
        metrics = {
            "miou": float(np.nanmean(each)) if np.isfinite(each).any() else 0.0,
            "pixel_accuracy": float(np.trace(self.all) / total),
        }
        if np.isfinite(near).any():
            metrics["boundary_iou"] = float(np.nanmean(near))
        kept = [self.kept[i] for i in np.unique(np.linspace(0, len(self.kept) - 1, SHOWN).round().astype(int))]
        images, truth, chosen = (np.stack(part) for part in zip(*kept, strict=True))
        arrays = {"confusion": self.all, "iou": each, "wrong": np.concatenate(self.wrong)}
        return Evaluation(metrics, arrays | {"images": images, "targets": truth, "predictions": chosen})


def prior(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The most frequent class at every pixel."""
    (masks,) = arrays_of(dataset.train, "target")
    most = int(np.bincount(masks[masks != IGNORE], minlength=dataset.outputs).argmax())
    return FittedBaseline(lambda x: np.full((len(x), *x.shape[2:]), most), 1, 0, dataset.classes[most])


def by_position(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The class that is most frequent at each position of the training masks."""
    (masks,) = arrays_of(dataset.train, "target")
    counts = np.stack([(masks == k).sum(axis=0) for k in range(dataset.outputs)])
    most = counts.argmax(axis=0)
    return FittedBaseline(lambda x: np.broadcast_to(most, (len(x), *most.shape)), most.size, 0)


def by_color(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Logistic regression of a pixel's class on its color and the products of its channels, without its neighbors."""
    from sklearn.linear_model import LogisticRegression

    x, masks = arrays_of(dataset.train, "input", "target")[:2]
    pixels, labels = _colors(x), masks.reshape(-1)
    labeled = np.flatnonzero(labels != IGNORE)
    rows = labeled[np.unique(np.linspace(0, len(labeled) - 1, min(PIXELS, len(labeled))).astype(int))]
    if len(np.unique(labels[rows])) < 2:
        raise UserError("Logistic regression needs two classes. Received one in the training masks. Add pictures of another.")
    model = LogisticRegression(tol=1e-3, max_iter=200).fit(pixels[rows], labels[rows])
    weights = model.coef_.size + model.intercept_.size

    def outputs(x: Array) -> Array:
        return np.asarray(model.predict(_colors(x)).reshape(len(x), *x.shape[2:]))

    return FittedBaseline(outputs, weights, int(model.coef_.size * np.prod(x.shape[2:])))


def _colors(x: Array) -> Array:
    """Return a row of channels and their products for each pixel of images (n, channels, height, width)."""
    flat = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64)
    first, second = np.triu_indices(x.shape[1])
    return np.concatenate([flat, flat[:, first] * flat[:, second]], axis=1)


class Segmentation(Task):
    """Intersection over union of the classes; outputs are scores (batch, classes, height, width).

    Pixels of the mask's number for "no class" count nowhere. Predictions are masks as indexed PNG files, of the picture's own
    size and with the numbers of the training masks, and the fraction of each class.
    """

    name = "segmentation"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("miou", "higher", says="intersection over union of true and predicted pixels, averaged over classes"),
        Metric("pixel_accuracy", "higher", says="fraction of pixels whose class is predicted"),
        Metric("boundary_iou", "higher", says=f"miou of the pixels at most {REACH} from a border between classes"),
    )
    gives = (
        ("probabilities", "of the classes at each pixel, (batch, class, height, width)"),
        ("scores", "what the network itself gives, before the softmax"),
    )
    explains = "the mean score of the class with the most pixels, over these pixels"
    by_row = False
    batch_size = 16
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "most frequent class": prior, "most frequent by position": by_position, "color regression": by_color,
    }  # fmt: skip

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean cross-entropy of the pixels that have a class."""
        return cross_entropy(outputs, batch[-1], ignore_index=IGNORE)

    def meter(self) -> Meter:
        return Confusion(self.dataset.outputs, self.dataset.fields)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the softmax of each pixel's scores."""
        return softmax(outputs, axis=1)

    def answer_from(self, predictor: Predictor, inputs: Batch) -> Answer:
        """Return a mask and the fractions of the classes; few pictures at a time are in memory as probabilities."""
        model, sizes = inputs[: len(self.dataset.input_fields)], inputs[len(self.dataset.input_fields) :]
        masks: list[Array] = []
        for start in range(0, len(model[0]), self.batch_size):
            p = predictor(tuple(a[start : start + self.batch_size] for a in model))
            wanted = sizes[0][start : start + len(p)] if sizes else [p.shape[2:]] * len(p)
            masks += [best_class(one, (int(h), int(w))) for one, (h, w) in zip(p, wanted, strict=True)]
        files = {f"{n + 1}.png": self._writer(mask) for n, mask in enumerate(masks)}
        return Answer(self.columns(masks), files=files, file_rows={name: n for n, name in enumerate(files)})

    def columns(self, meant: Sequence[Array]) -> dict[str, Array]:
        """Return the class with the most pixels, and the fraction of each class, of masks (height, width) of class ids."""
        classes = self.dataset.classes
        parts = np.stack([np.bincount(mask.ravel(), minlength=len(classes)) / mask.size for mask in meant])
        largest = {"largest": np.array(classes)[parts.argmax(axis=1)]}
        named = {f"fraction({name})": parts[:, k] for k, name in enumerate(classes)} if len(classes) <= NAMED else {}
        return largest | named

    def _writer(self, mask: Array) -> Callable[[Path], None]:
        values, palette = self._numbers_and_colors()

        def write(path: Path) -> None:
            from PIL import Image

            table = np.zeros((256, 3), np.uint8)
            table[values] = palette
            picture = Image.fromarray(values[mask].astype(np.uint8))
            picture.putpalette(table.tobytes())  # makes it an indexed one
            picture.save(path, format="PNG")

        return write

    def _numbers_and_colors(self) -> tuple[Array, Array]:
        """Return the number of each class in mask files (classes,) and its color (classes, 3)."""
        saved = self.dataset.preprocessing.to_json()
        values = np.array(saved.get("values") or range(self.dataset.outputs))
        palette = saved.get("palette") or [[(37 * k) % 256, (97 * k) % 256, (173 * k) % 256] for k in range(len(values))]
        return values, np.array(palette, np.uint8)

    def colored(self, mask: Array) -> Array:
        """Return a mask (..., height, width) of class ids as colors (..., height, width, 3); white where there is no class."""
        _, palette = self._numbers_and_colors()
        table = np.full((256, 3), 255, np.uint8)
        table[: len(palette)] = palette
        return np.asarray(table[mask])

    def figure(self, evaluation: Evaluation) -> Figure:
        return shown(self, evaluation)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the pictures by the fraction of their pixels that are wrong."""
        wrong = evaluation.arrays["wrong"]
        order = np.argsort(-wrong, kind="stable")
        title = f"The pictures with the most wrong pixels, of {len(wrong):,} (mean {wrong.mean():.1%})"
        return Mistakes(order, {int(i): f"{wrong[i]:.1%} wrong" for i in order[:24]}, title, "the fraction of wrong pixels")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        chosen = outputs[0].argmax(axis=0)
        most = int(np.bincount(chosen.ravel(), minlength=outputs.shape[1]).argmax())
        area = (chosen == most).astype(outputs.dtype)
        name = short(self.dataset.classes[most])

        def score(out: Any, x: Any) -> Any:
            return (out[:, most] * area.astype(out.dtype)).sum(axis=(1, 2)) / float(area.sum())

        return Score(score, f"{name}: {area.mean():.0%} of the pixels")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the class that has more pixels than in the other masks: a background would be the largest in all."""
        (masks,) = self.targets(batch)
        parts = np.stack([(masks == k).mean(axis=(1, 2)) for k in range(self.dataset.outputs)])
        above = parts - parts.mean(axis=1, keepdims=True)
        return Coloring("the class whose part is most above its mean", above.argmax(axis=0), self.dataset.classes)


def best_class(p: Array, size: tuple[int, int]) -> Array:
    """Return the likeliest class uint8 (height, width) at `size` of probabilities (classes, h, w), which are resized first.

    The picture of that size was fitted into (h, w): what was added to it is cut off.
    """
    height, width = p.shape[1:]
    rows, columns = placement(size, (height, width))
    best, most = np.zeros(size, np.uint8), np.full(size, -np.inf, np.float32)
    for k, one in enumerate(p):  # class by class: a photograph of many classes would not fit into memory
        large = resize_images(one[rows, columns].astype(np.float32), size)
        better = large > most
        best[better], most[better] = k, large[better]
    return best


def shown(task: Segmentation, evaluation: Evaluation) -> Figure:
    """Return examples of a split in rows, image, truth and prediction, above the IoU of each class."""
    from matplotlib.figure import Figure

    from nnatomy.data.kinds import kind_of

    arrays, dataset = evaluation.arrays, task.dataset
    count, (height, width) = len(arrays["images"]), arrays["targets"].shape[1:]
    tall = min(max(height / width, 0.4), 1.6) * 12.5 / SHOWN
    figure = Figure(figsize=(13, 3 * tall + 3.2), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(3 * tall + 0.4, 2.8))
    upper, lower = parts
    grid: Any = upper.subplots(3, SHOWN, squeeze=False)
    kind = kind_of(dataset)
    for row, name in zip(grid, ("image", "truth", "prediction"), strict=True):
        for axes in row:
            axes.set_axis_off()
        row[0].text(-0.04, 0.5, name, rotation=90, ha="right", va="center", transform=row[0].transAxes, fontsize=11)
    for n, (top, middle, bottom) in enumerate(grid.T[:count]):
        kind.show(top, (arrays["images"][n : n + 1],), dataset)
        middle.imshow(task.colored(arrays["targets"][n]), interpolation="nearest")
        bottom.imshow(task.colored(arrays["predictions"][n]), interpolation="nearest")
    bars = lower.subplots()
    each, colors = arrays["iou"], task.colored(np.arange(dataset.outputs)[None])[0] / 255
    bars.bar(range(len(each)), np.nan_to_num(each), color=colors, edgecolor="#1f2937", lw=0.5)
    bars.axhline(evaluation.metrics["miou"], color="#6b7280", ls="--", lw=1)
    bars.set_xticks(range(len(each)), [short(name, 14) for name in dataset.classes], rotation=0 if len(each) < 8 else 30)
    bars.set(ylim=(0, 1.08), ylabel="IoU", title="Each class, in its color of the masks; the line is the mean; white: no class")
    for k, value in enumerate(each):
        bars.text(k, np.nan_to_num(value) + 0.02, "-" if np.isnan(value) else f"{value:.2f}", ha="center", fontsize=9)
    bars.spines[["top", "right"]].set_visible(False)
    return figure
