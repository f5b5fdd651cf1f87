"""Masked language: the meter, the baselines and the filled texts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from nnatomy.data import load
from nnatomy.data.wordpiece import MASK, SPECIAL
from nnatomy.tasks import MaskedLanguage
from nnatomy.tasks.masked_language import neighbors, unigrams
from nnatomy.tensor import Tensor
from nnatomy.training.recipe import Recipe

pytestmark = pytest.mark.any_kernels


@pytest.fixture(scope="module")
def stories() -> Any:
    return load("stories", accepts=("passages",), tasks=("masked language",))


def task(dataset: Any) -> MaskedLanguage:
    recipe: Any = Recipe("passages", (MaskedLanguage,), "stories", lambda d: None, {}, None, 1, 1, "loss")  # type: ignore[arg-type]
    return MaskedLanguage(recipe, dataset)


def test_only_chosen_tokens_are_measured(stories: Any) -> None:
    tokens, lengths, segments, labels, random = stories.test.take(np.arange(20))
    n = stories.outputs
    true = np.where(labels == -100, 0, labels)
    scores = np.where(np.arange(n) == true[..., None], 3.0, 0.0)
    scores[labels == -100] = np.nan  # what was not chosen is never looked at
    relation = np.stack([random == 0, random == 1], axis=1).astype(float)
    relation[0] = relation[0, ::-1]
    meter = task(stories).meter()
    meter.add((scores, relation), (tokens, lengths, segments, labels, random))
    found = meter.result().metrics
    assert found["accuracy"] == 1
    assert found["perplexity"] == pytest.approx((math.exp(3) + n - 1) / math.exp(3))
    assert found["relation"] == pytest.approx(19 / 20)


@pytest.mark.parametrize("pairs", ["random", "none"])
def test_scores_alone_are_measured_without_a_relation(pairs: str) -> None:
    """Of data with pairs and without, and a network that knows nothing of pairs: loss and metrics are of the words."""
    data: Any = load("stories", accepts=("passages",), tasks=("masked language",), pairs=pairs, limit=20)
    batch = data.test.all()
    labels = batch[3 if pairs == "random" else 2]
    scores = np.where(np.arange(data.outputs) == np.where(labels == -100, 0, labels)[..., None], 3.0, 0.0)
    meter = task(data).meter()
    meter.add(scores, batch)
    found = meter.result().metrics
    assert found.keys() == {"accuracy", "perplexity"}
    assert found["accuracy"] == 1
    loss = MaskedLanguage.loss(Tensor(scores), *map(Tensor, batch))
    assert math.exp(float(loss)) == pytest.approx(found["perplexity"], rel=1e-5)
    for made in (unigrams, neighbors):
        measured = task(data).score(made(data, ()).outputs, data.test).metrics
        assert ("relation" in measured) == (pairs == "random")


def test_neighbors_are_better_than_counts(stories: Any) -> None:
    """Each gives probabilities; between its neighbors, a token is known better."""
    measured = {}
    for made in (unigrams, neighbors):
        fitted = made(stories, ())
        x = stories.test.take(np.arange(4))
        scores, relation = fitted.outputs(*x[:3])
        np.testing.assert_allclose(np.exp(scores).sum(axis=-1), 1, atol=1e-9)
        np.testing.assert_allclose(np.exp(relation).sum(axis=-1), 1, atol=1e-9)
        measured[made.__name__] = task(stories).score(fitted.outputs, stories.test).metrics
    assert measured["unigrams"]["accuracy"] < 0.2
    assert 0.5 < measured["neighbors"]["accuracy"] < 0.61
    assert measured["neighbors"]["perplexity"] < measured["unigrams"]["perplexity"]


def test_masks_are_filled_with_words(stories: Any) -> None:
    """Never with a special token, and what is not masked stays."""
    preprocessing = stories.preprocessing
    inputs = preprocessing.transform(["the girl [MASK] in the garden [SEP] she [MASK] two flowers."])
    scores = np.zeros((1, inputs[0].shape[1], stories.outputs))
    scores[..., MASK] = 9.0
    scores[..., preprocessing.vocabulary.index("was")] = 5.0
    (filled,) = task(stories).present(scores, inputs).columns["filled"]
    assert filled == "the girl was in the garden she was two flowers ."
    assert len(SPECIAL) == 5
