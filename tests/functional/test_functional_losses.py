"""Losses equal PyTorch's: values, gradients, reductions and hard points."""

import itertools

import numpy as np
import pytest
from function_parity import same, torch

import nnatomy as nn

F, T = nn.functional, torch.nn.functional
RNG = np.random.default_rng(2)
A, B = RNG.normal(size=(5, 4)), RNG.normal(size=(5, 4))
PROBABILITIES = RNG.uniform(0.01, 0.99, (5, 4))
LABELS = RNG.integers(0, 2, (5, 4)).astype("float64")
SIGNS = 2 * LABELS - 1
REDUCTIONS = ["mean", "sum", "none"]
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def distribution(*shape, axis=1):
    x = RNG.uniform(0.1, 1, shape)
    return x / x.sum(axis=axis, keepdims=True)


ELEMENTWISE = {
    "mse_loss": ({}, A, B),
    "l1_loss": ({}, A, B),
    "l1_loss at 0": ({}, A, A.copy()),
    "huber_loss": ({}, 2 * A, B),
    "huber_loss small": ({"delta": 0.3}, A, B),
    "huber_loss at the corner": ({"delta": 1.0}, np.array([1.0, -1.0, 0.0, 2.0]), np.zeros(4)),
    "smooth_l1_loss": ({}, 2 * A, B),
    "smooth_l1_loss small": ({"beta": 0.3}, A, B),
    "smooth_l1_loss at the corner": ({"beta": 1.0}, np.array([1.0, -1.0, 0.0, 2.0]), np.zeros(4)),
    "smooth_l1_loss 0": ({"beta": 0.0}, A, B),
    "binary_cross_entropy": ({}, PROBABILITIES, LABELS),
    "binary_cross_entropy soft": ({}, PROBABILITIES, distribution(5, 4)),
    "binary_cross_entropy at the ends": ({}, np.array([0.0, 1.0, 0.0, 1.0, 1e-50, 1e-13]), np.array([0.0, 1, 1, 0, 1, 1])),
    "binary_cross_entropy_with_logits": ({}, A, LABELS),
    "binary_cross_entropy_with_logits soft": ({}, A, distribution(5, 4)),
    "binary_cross_entropy_with_logits far": ({}, np.array([-800.0, 800, -800, 800]), np.array([0.0, 0, 1, 1])),
    "soft_margin_loss": ({}, A, SIGNS),
    "kl_div": ({}, np.log(distribution(5, 4)), distribution(5, 4)),
    "kl_div with zeros": ({}, np.log(distribution(2, 2)), np.array([[0.0, 1.0], [0.5, 0.5]])),
    "kl_div log": ({"log_target": True}, np.log(distribution(5, 4)), np.log(distribution(5, 4))),
}


@each_reduction
@pytest.mark.parametrize("case", ELEMENTWISE)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss")
def test_elementwise(case, reduction):
    name, (options, x, y) = case.split()[0], ELEMENTWISE[case]
    options = options | {"reduction": reduction}
    ours, theirs = getattr(F, name), getattr(T, name)
    if name in ("kl_div", "soft_margin_loss") or "at the ends" in case:  # no gradient of the target, or an infinite one
        tolerance = 1e-8 if "at the ends" in case else 1e-10  # PyTorch keeps its bound 1e-12 in float32
        same(lambda a: ours(a, y, **options), lambda a: theirs(a, torch.tensor(y), **options), x, tolerance=tolerance)
    else:
        same(lambda a, b: ours(a, b, **options), lambda a, b: theirs(a, b, **options), x, y)


def test_kl_div_gradient_of_the_target():
    x, y = np.log(distribution(5, 4)), distribution(5, 4)
    same(lambda a, b: F.kl_div(a, b, "batchmean"), lambda a, b: T.kl_div(a, b, reduction="batchmean"), x, y)


@each_reduction
def test_binary_weights(reduction):
    w, v = RNG.uniform(size=4), RNG.uniform(0.5, 3, size=4)
    same(
        lambda a, b: F.binary_cross_entropy_with_logits(a, b, w, reduction, v),
        lambda a, b: T.binary_cross_entropy_with_logits(
            a, b, torch.tensor(w), reduction=reduction, pos_weight=torch.tensor(v)
        ),
        A, LABELS,
    )  # fmt: skip
    same(
        lambda a, b: F.binary_cross_entropy(a, b, w, reduction),
        lambda a, b: T.binary_cross_entropy(a, b, torch.tensor(w), reduction=reduction),
        PROBABILITIES, LABELS,
    )  # fmt: skip


# Cross-entropy

SHAPES = [(4,), (6, 4), (3, 4, 5), (2, 4, 3, 2)]


def class_numbers(shape, classes=4):
    return RNG.integers(0, classes, shape[:0] if len(shape) == 1 else (shape[0], *shape[2:]))


@each_reduction
@pytest.mark.parametrize(
    "shape, weighted, ignored, smoothing", list(itertools.product(SHAPES, [False, True], [False, True], [0.0, 0.2]))
)
def test_cross_entropy(shape, weighted, ignored, smoothing, reduction):
    x, y = RNG.normal(size=shape), class_numbers(shape)
    w = RNG.uniform(0.2, 2, 4) if weighted else None
    options = {"ignore_index": int(y.flat[-1]) if ignored and y.ndim else -100}
    options |= {"label_smoothing": smoothing, "reduction": reduction}
    if y.ndim and ignored:
        y.flat[0] = (options["ignore_index"] + 1) % 4  # at least one target counts
    t_weight = None if w is None else torch.tensor(w)
    same(
        lambda a: F.cross_entropy(a, y, w, **options),
        lambda a: T.cross_entropy(a, torch.tensor(y), t_weight, **options),
        x,
    )
    if not smoothing:
        options.pop("label_smoothing")
        same(lambda a: F.nll_loss(a, y, w, **options), lambda a: T.nll_loss(a, torch.tensor(y), t_weight, **options), x)


@each_reduction
@pytest.mark.parametrize("shape, weighted, smoothing", list(itertools.product(SHAPES, [False, True], [0.0, 0.2])))
def test_cross_entropy_of_probabilities(shape, weighted, smoothing, reduction):
    x, y = RNG.normal(size=shape), distribution(*shape, axis=0 if len(shape) == 1 else 1)
    w = RNG.uniform(0.2, 2, 4) if weighted else None
    same(
        lambda a, b: F.cross_entropy(a, b, w, reduction=reduction, label_smoothing=smoothing),
        lambda a, b: T.cross_entropy(
            a, b, None if w is None else torch.tensor(w), reduction=reduction, label_smoothing=smoothing
        ),
        x, y,
    )  # fmt: skip


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_with_every_target_ignored(smoothing, weighted, reduction):
    y, w = np.full(6, -100), np.ones(4) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    x = nn.tensor(RNG.normal(size=(6, 4)), requires_grad=True)
    loss = F.cross_entropy(x, y, w, **options)
    expected = T.cross_entropy(
        torch.tensor(x.numpy()), torch.tensor(y), None if w is None else torch.tensor(w), **options
    )
    np.testing.assert_equal(loss.item(), expected.item())
    loss.backward()
    np.testing.assert_array_equal(x.grad.data, np.zeros((6, 4)))


def test_cross_entropy_of_far_scores():
    x = np.array([[1000.0, 0, -1000], [-1000, -1000, 1000]])
    same(lambda a: F.cross_entropy(a, np.array([0, 1])), lambda a: T.cross_entropy(a, torch.tensor([0, 1])), x)


def test_cross_entropy_second_derivative():
    y = np.array([0, 2, 3])
    nn.check_gradients(
        lambda x: F.cross_entropy(x, y, np.array([1.0, 2, 3, 0.5]), label_smoothing=0.1), [RNG.normal(size=(3, 4))], order=2
    )


def test_tensor_targets_and_weights():
    x, y, w = RNG.normal(size=(6, 4)), RNG.integers(0, 4, 6), RNG.uniform(size=4)
    a = F.cross_entropy(nn.tensor(x), nn.tensor(y), nn.tensor(w))
    assert a.item() == F.cross_entropy(x, y, w)


# Margins, distances, and losses that PyTorch does not have under one name


@each_reduction
@pytest.mark.parametrize("p, margin, weighted", list(itertools.product([1, 2], [1.0, 0.4], [False, True])))
def test_multi_margin_loss(p, margin, weighted, reduction):
    y, w = RNG.integers(0, 4, 5), RNG.uniform(size=4) if weighted else None
    t_weight = None if w is None else torch.tensor(w)
    same(
        lambda a: F.multi_margin_loss(a, y, p, margin, w, reduction),
        lambda a: T.multi_margin_loss(a, torch.tensor(y), p, margin, t_weight, reduction=reduction),
        A,
    )


def reduced(loss, reduction):
    return {"mean": loss.mean, "sum": loss.sum, "none": loss.clone}[reduction]()


@each_reduction
def test_hinge_loss(reduction):
    same(
        lambda a, b: F.hinge_loss(a, b, 0.7, reduction),
        lambda a, b: reduced(torch.clamp(0.7 - a * b, min=0), reduction),
        A, SIGNS,
    )  # fmt: skip


@each_reduction
@pytest.mark.parametrize("alpha, gamma", [(0.25, 2.0), (-1, 2.0), (0.6, 0.0)])
def test_sigmoid_focal_loss(alpha, gamma, reduction):
    def theirs(x, y):
        p = torch.sigmoid(x)
        right = p * y + (1 - p) * (1 - y)
        loss = T.binary_cross_entropy_with_logits(x, y, reduction="none") * (1 - right) ** gamma
        return reduced(loss if alpha < 0 else loss * (alpha * y + (1 - alpha) * (1 - y)), reduction)

    same(lambda a: F.sigmoid_focal_loss(a, LABELS, alpha, gamma, reduction), lambda a: theirs(a, torch.tensor(LABELS)), A)


@each_reduction
def test_dice_loss(reduction):
    x, y = RNG.uniform(size=(2, 3, 4, 5)), RNG.integers(0, 2, (2, 3, 4, 5)).astype("float64")

    def theirs(p, t):
        both = (p * t).flatten(2).sum(2)
        return reduced(1 - (2 * both + 1) / (p.flatten(2).sum(2) + t.flatten(2).sum(2) + 1), reduction)

    same(lambda a, b: F.dice_loss(a, b, reduction=reduction), theirs, x, y)
    assert F.dice_loss(y, y).item() == pytest.approx(0)


@each_reduction
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_cosine_embedding_loss(margin, reduction):
    y = np.array([1, -1, 1, -1, -1])
    same(
        lambda a, b: F.cosine_embedding_loss(a, b, y, margin, reduction),
        lambda a, b: T.cosine_embedding_loss(a, b, torch.tensor(y), margin, reduction=reduction),
        A, B,
    )  # fmt: skip


@each_reduction
@pytest.mark.parametrize("p, swap", list(itertools.product([1.0, 2.0, 3.0], [False, True])))
def test_triplet_margin_loss(p, swap, reduction):
    same(
        lambda a, b, c: F.triplet_margin_loss(a, b, c, 0.5, p, swap=swap, reduction=reduction),
        lambda a, b, c: T.triplet_margin_loss(a, b, c, 0.5, p, swap=swap, reduction=reduction),
        A, B, RNG.normal(size=(5, 4)),
    )  # fmt: skip


@each_reduction
def test_info_nce_loss(reduction):
    def theirs(q, k):
        scores = T.cosine_similarity(q[:, None], k[None], dim=2) / 0.2
        return T.cross_entropy(scores, torch.arange(5), reduction=reduction)

    same(lambda a, b: F.info_nce_loss(a, b, 0.2, reduction), theirs, A, B)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cosine_similarity(axis):
    same(lambda a, b: F.cosine_similarity(a, b, axis), lambda a, b: T.cosine_similarity(a, b, axis), A, B)


def test_cosine_similarity_of_zero():
    z = np.zeros((2, 3))
    same(F.cosine_similarity, T.cosine_similarity, z, A[:2, :3])


@pytest.mark.parametrize("p", [1.0, 2.0, 3.5])
def test_pairwise_distance(p):
    same(lambda a, b: F.pairwise_distance(a, b, p), lambda a, b: T.pairwise_distance(a, b, p), A, B)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "binary_cross_entropy_with_logits", "hinge_loss"])
def test_integer_targets_are_numbers(name):
    whole = LABELS.astype("int64")
    got = getattr(F, name)(nn.tensor(A.astype("float32")), whole)
    assert got.dtype == np.float32
    assert got.item() == pytest.approx(float(getattr(F, name)(A, LABELS)), rel=1e-6)


WRONG = [
    (lambda: F.mse_loss(A, A[:, :1]), "one shape"),
    (lambda: F.mse_loss(A, B, "average"), "'average'"),
    (lambda: F.huber_loss(A, B, delta=0), "delta > 0"),
    (lambda: F.smooth_l1_loss(A, B, beta=-1), "beta >= 0"),
    (lambda: F.binary_cross_entropy(A, LABELS), "between 0 and 1"),
    (lambda: F.cross_entropy(A, np.array([0, 1, 2, 3, 4])), "between 0 and 3. Received 0 to 4"),
    (lambda: F.cross_entropy(A, np.array([0, 1, -1, 3, 2])), "Received -1 to 3"),
    (lambda: F.cross_entropy(A, np.array([0, 1])), r"class numbers of shape \(5,\)"),
    (lambda: F.cross_entropy(A, LABELS[:, 0]), "must be integers"),
    (lambda: F.cross_entropy(A, np.zeros(5, int), np.ones(3)), "each of the 4 classes"),
    (lambda: F.cross_entropy(A, np.zeros(5, int), label_smoothing=2), "label_smoothing"),
    (lambda: F.cross_entropy(np.float64(1), np.array(0)), "axis of classes"),
    (lambda: F.multi_margin_loss(A, np.zeros(5, int), p=3), "p = 1 or 2"),
    (lambda: F.dice_loss(A, B), "space"),
    (lambda: F.info_nce_loss(A, B[:, :2]), "one shape"),
    (lambda: F.cosine_embedding_loss(A, B, np.ones((5, 1))), r"targets \(batch\)"),
]


@pytest.mark.parametrize("call, words", WRONG)
def test_wrong_arguments(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
