"""Segmentation: metrics against scikit-learn, masks as files, and baselines that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy import data
from nnatomy.data import Inputs
from nnatomy.data.fields import IGNORE
from nnatomy.data.kinds.segmentation.masks import FIELDS, read_mask, segmentation_dataset
from nnatomy.errors import UserError
from nnatomy.runs import answers
from nnatomy.tasks import Segmentation
from nnatomy.tasks.segmentation import Confusion, best_class, iou, near_borders

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


def truth_and_scores(n: int = 7, classes: int = 4) -> tuple[Array, Array, Array]:
    truth = RNG.integers(0, classes - 1, (n, 6, 8))  # the last class is never true
    truth[:, 2, :3] = IGNORE
    scores = RNG.normal(size=(n, classes, 6, 8)) + 2 * np.stack([truth == k for k in range(classes)], axis=1)
    return RNG.normal(size=(n, 1, 6, 8)), truth, scores


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_miou_is_scikit_learns(batch: int) -> None:
    from sklearn.metrics import accuracy_score, jaccard_score

    images, truth, scores = truth_and_scores()
    meter = Confusion(4, FIELDS)
    for start in range(0, len(truth), batch):
        rows = slice(start, start + batch)
        meter.add(scores[rows], (images[rows], truth[rows]))
    found, kept = meter.result(), truth != IGNORE
    chosen = scores.argmax(axis=1)
    assert found.metrics["miou"] == pytest.approx(jaccard_score(truth[kept], chosen[kept], average="macro"), abs=1e-12)
    assert found.metrics["pixel_accuracy"] == pytest.approx(accuracy_score(truth[kept], chosen[kept]), abs=1e-12)
    near = near_borders(truth)
    expected = jaccard_score(truth[near], chosen[near], average="macro")
    assert found.metrics["boundary_iou"] == pytest.approx(expected, abs=1e-12)
    assert found.arrays["wrong"] == pytest.approx([1 - (c == t)[t != IGNORE].mean() for c, t in zip(chosen, truth)])


def test_a_class_that_is_nowhere_does_not_count() -> None:
    meter = Confusion(3, FIELDS)
    truth = np.array([[[0, 0, 1, 1]]])
    meter.add(truth, (np.zeros((1, 1, 1, 4)), truth))
    assert meter.result().metrics["miou"] == 1
    assert np.isnan(iou(meter.all)[2])


def test_pixels_without_a_class_change_nothing() -> None:
    images, truth, scores = truth_and_scores()
    changed = np.where((truth == IGNORE)[:, None], RNG.normal(size=scores.shape) * 9, scores)
    results = []
    for one in (scores, changed):
        meter = Confusion(4, FIELDS)
        meter.add(one, (images, truth))
        results.append(meter.result().metrics)
    assert results[0] == results[1]


def test_near_borders_is_the_distance_to_another_class() -> None:
    truth = np.zeros((1, 1, 9), int)
    truth[0, 0, 5:] = 1
    assert np.flatnonzero(near_borders(truth)[0, 0]).tolist() == [3, 4, 5, 6]
    truth[0, 0, 5] = IGNORE
    assert not near_borders(truth).any()


@pytest.fixture
def dataset() -> data.Dataset:
    """Bright pixels are of class "bright" (number 7 in files), the left half of the rest is "left"."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 120, (20, 1, 8, 10)).astype(np.uint8)
    masks = np.full((20, 8, 10), 3)
    masks[:, :, :5] = 5
    bright = rng.uniform(size=masks.shape) < 0.2
    images[:, 0][bright], masks[bright] = 250, 7
    masks[:, 0, 0] = IGNORE
    parts = [(images[rows], masks[rows]) for rows in (slice(0, 12), slice(12, 16), slice(16, 20))]
    palette = [(1, 2, 3), (40, 50, 60), (250, 0, 0)]
    return segmentation_dataset("halves", parts, ("right", "left", "bright"), values=(3, 5, 7), palette=palette)


def task_of(dataset: data.Dataset) -> Segmentation:
    from nnatomy.architectures.convolutional.unet.recipe import shapes

    return Segmentation(shapes, dataset)


def test_baselines_know_what_they_may_know(dataset: data.Dataset) -> None:
    task = task_of(dataset)
    found = {name: task.score(make(dataset, ()).outputs, dataset.test).metrics for name, make in task.baselines.items()}
    truth = dataset.test.all()[1]
    bright, labeled = (truth == 2), truth != IGNORE
    most = np.bincount(dataset.train.all()[1].ravel())[:3].argmax()
    assert found["most frequent class"]["pixel_accuracy"] == pytest.approx((truth == most)[labeled].mean())
    assert found["most frequent by position"]["pixel_accuracy"] == pytest.approx(1 - bright[labeled].mean())
    by_color = found["color regression"]["pixel_accuracy"]
    assert by_color > found["most frequent class"]["pixel_accuracy"]
    assert by_color >= bright[labeled].mean() + 0.3  # all bright pixels, and half of the others


def test_masks_are_written_with_the_numbers_and_colors_of_the_training_masks(dataset: data.Dataset, tmp_path: Path) -> None:
    from PIL import Image

    task = task_of(dataset)
    p = np.zeros((2, 3, 8, 10))
    p[:, 0, :4], p[:, 1, 4:], p[1, 2] = 0.9, 0.8, 1.0
    sizes = np.array([[16, 20], [5, 3]])
    arrays = (np.zeros((2, 1, 8, 10), np.float32), sizes)
    answer = answers.named(task.answer_from(lambda inputs: p, arrays), Inputs(arrays, ("a.jpg", "b.png")))
    written = answers.write_answer(answer, tmp_path / "masks")
    assert [path.name for path in written] == ["predictions.csv", "a.png", "b.png"]
    numbers, colors = read_mask(written[1])
    assert numbers.shape == (16, 20)
    assert np.array_equal(numbers, np.repeat([3, 5], 8)[:, None].repeat(20, axis=1))
    assert (colors[3], colors[5], colors[7]) == ((1, 2, 3), (40, 50, 60), (250, 0, 0))
    with Image.open(written[2]) as picture:
        assert (picture.mode, picture.size) == ("P", (3, 5))
    assert answer.columns["largest"].tolist()[1] == "bright"
    assert answer.columns["fraction(right)"].tolist() == [0.5, 0.0]


def test_files_of_inputs_with_one_name_are_refused(dataset: data.Dataset) -> None:
    p = np.full((2, 3, 8, 10), 1 / 3)
    answer = task_of(dataset).answer_from(lambda inputs: p, (np.zeros((2, 1, 8, 10), np.float32),))
    with pytest.raises(UserError, match=r"Received two for a.png"):
        answers.named(answer, Inputs((), ("a.jpg", "a.png")))


def test_probabilities_are_resized_before_the_class_is_chosen() -> None:
    p = np.array([[[0.6, 0.1]], [[0.4, 0.9]]])
    assert best_class(p, (1, 2)).tolist() == [[0, 1]]
    assert best_class(p, (1, 8)).tolist() == [[0, 0, 0, 1, 1, 1, 1, 1]]  # equal at a fifth of the way, not in the middle


def test_the_figure_shows_images_truth_and_prediction(dataset: data.Dataset) -> None:
    task = task_of(dataset)
    found = task.score(task.baselines["most frequent class"](dataset, ()).outputs, dataset.test)
    figure = task.figure(found)
    shown = [axes for part in figure.subfigs for axes in part.axes if axes.images]
    assert len(shown) == 3 * 4
    truth = dataset.test.all()[1]
    assert np.array_equal(np.asarray(shown[6 - 2].images[0].get_array()), task.colored(truth[0]))


def test_many_examples_keep_few_for_the_figure() -> None:
    meter = Confusion(2, FIELDS)
    for n in range(100):
        meter.add(np.zeros((1, 2, 2), int), (np.full((1, 1, 2, 2), n), np.zeros((1, 2, 2), int)))
    kept = meter.result().arrays["images"][:, 0, 0, 0]
    assert len(kept) == 6
    assert kept.min() == 0
    assert kept.max() > 60


def test_mistakes_saliency_and_coloring(dataset: data.Dataset) -> None:
    task = task_of(dataset)
    images, truth = dataset.test.all()
    chosen = truth.copy()
    chosen[2] = (chosen[2] + 1) % 3
    meter = task.meter()
    meter.add(np.where(chosen == IGNORE, 0, chosen), (images, truth))
    mistakes = task.mistakes(meter.result())
    assert mistakes.order[0] == 2
    assert mistakes.says[2] == "100.0% wrong"
    scores = np.zeros((1, 3, 8, 10))
    scores[0, 1] = 2.0
    score = task.saliency_score(scores, (images[:1], truth[:1]))
    assert score.says == "left: 100% of the pixels"
    assert score.of(scores, images[:1])[0] == pytest.approx(2.0)
    assert task.coloring(None, (images, truth)).values.shape == (4,)  # type: ignore[arg-type]
