"""Recurrent attention: its weights, its queries, both papers' decoders, and what a long source costs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.recurrent import seq2seq
from nnatomy.architectures.recurrent.attention_rnn import AttentionRNN, additive, build, general, loss
from nnatomy.architectures.recurrent.attention_rnn.picture import draw
from nnatomy.architectures.recurrent.attention_rnn.recipe import letters
from nnatomy.data.fields import round_lengths
from nnatomy.data.kinds.pairs.pairs import PairSplit
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks.search import search
from nnatomy.training.learners import GradientDescent

Array = np.ndarray[Any, Any]
SCORES = ("additive", "dot", "general", "concat")
SIZES = {"source": 9, "target": 8, "embedding": 5, "encoder_hidden": 3, "hidden": 6}


def made(**options: Any) -> AttentionRNN:
    """A model with large weights, so that its attention is far from uniform."""
    nn.seed(1)
    model = build(**(SIZES | options)).astype("float64").eval()
    model.load_state_dict({name: 3 * a for name, a in model.state_dict().items()})
    return model


def batch() -> tuple[Array, ...]:
    sources = [np.array(s) for s in ([4, 5, 6, 7, 8], [5, 4], [8])]
    targets = [np.array(t) for t in ([4, 5], [7, 6, 5, 4], [6])]
    return PairSplit(tuple(sources), tuple(targets), ("",) * 3).take(np.arange(3))


# Weights


@pytest.mark.parametrize("score", SCORES)
def test_weights_sum_to_one_and_are_zero_where_a_source_is_padded(score: str) -> None:
    source, lengths, given, _ = batch()
    alpha = made(score=score).align(*map(nn.tensor, (source, lengths, given))).numpy()
    np.testing.assert_allclose(alpha.sum(axis=-1), 1, rtol=1e-12)
    padded = np.arange(source.shape[1]) >= lengths[:, None]
    assert padded.any()
    assert (alpha[np.broadcast_to(padded[:, None], alpha.shape)] == 0).all()
    assert (alpha[np.broadcast_to(~padded[:, None], alpha.shape)] > 0).all()
    assert np.ptp(alpha[0], axis=-1).max() > 0.1


@pytest.mark.parametrize("score", SCORES)
def test_padding_changes_nothing(score: str) -> None:
    """Not the scores, not the loss, not the gradients, whatever is in the padding."""
    model, arrays, found = made(score=score), batch(), []
    for wide in (arrays, round_lengths(PairSplit((), (), ()).fields, arrays, lambda n: n + 7)):
        source, lengths, given, following = wide
        if wide is not arrays:
            source = np.where(np.arange(source.shape[1]) < lengths[:, None], source, 3)
            given = np.where(following == -100, 5, given)
        model.zero_grad()
        value, scores = loss(model, *map(nn.tensor, (source, lengths, given, following)))
        value.backward()
        kept = scores.numpy()[following != -100]
        found.append([value.numpy(), kept, *(p.grad.numpy() for p in model.parameters() if p.grad is not None)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def test_scores_are_those_of_the_papers() -> None:
    """v^T tanh(W_a q + U_a h_j), by hand; concat with W = [W_a, U_a] is the same number; general and dot."""
    rng = np.random.default_rng(0)
    q, h, W, U, v = (rng.normal(size=s) for s in ((2, 4), (2, 3, 5), (4, 4), (4, 5), (1, 4)))
    energy = nn.Linear(4, 1, bias=False).astype("float64")
    energy.load_state_dict({"weight": v})
    e = additive(nn.tensor(q @ W.T), nn.tensor(h @ U.T), energy).numpy()
    for b in range(2):
        for j in range(3):
            assert e[b, j] == pytest.approx(v[0] @ np.tanh(W @ q[b] + U @ h[b, j]))
            assert e[b, j] == pytest.approx(v[0] @ np.tanh(np.concatenate([W, U], 1) @ np.concatenate([q[b], h[b, j]])))
    np.testing.assert_allclose(general(nn.tensor(q), nn.tensor(h @ U.T)).numpy(), np.einsum("bi,ik,bjk->bj", q, U, h))


# Two decoders


def test_bahdanau_asks_with_the_old_state_and_luong_with_the_new_one() -> None:
    """The token that is given at step t changes the weights of step t in Luong's decoder, those of t + 1 in Bahdanau's."""
    source, lengths, given, _ = batch()
    other = given.copy()
    other[:, 1] = (other[:, 1] + 1) % 8
    for score in SCORES:
        model = made(score=score)
        a, b = (model.align(*map(nn.tensor, (source, lengths, tokens))).numpy()[0] for tokens in (given, other))
        changed = np.abs(a - b).max(axis=-1) > 1e-9
        assert changed[:3].tolist() == [False, score != "additive", True]


def test_input_feeding_tells_the_cell_where_it_has_looked() -> None:
    """With it the source changes the second state; without it, only the first state comes from the source."""
    source, lengths, given, _ = map(nn.tensor, batch())
    for feeding in (True, False):
        model: Any = made(score="general", input_feeding=feeding)
        (s, a), *_ = model.begin(source, lengths)
        state = s, nn.tensor(np.ones_like(a.numpy()))
        y = model.target_embedding(given[:, 0])
        assert (not np.allclose(model.query(y, state).numpy(), model.query(y, (s, a)).numpy())) is feeding


def test_the_readout_is_a_maxout_of_the_old_state() -> None:
    """Appendix A.2.2: t = R [s_(i-1), E y, c] + b, then the larger of each two neighbors."""
    model: Any = made()
    source, lengths, given, _ = map(nn.tensor, batch())
    (s,), h, keys, n = model.begin(source, lengths)
    y = model.target_embedding(given[:, 0])
    read, _ = model.advance(y, (s,), h, keys, n)
    alpha = model.attention.weights(s, keys, n).numpy()
    c = np.einsum("bs,bsk->bk", alpha, h.numpy())
    t = np.concatenate([s.numpy(), y.numpy(), c], 1) @ model.readout.weight.numpy().T + model.readout.bias.numpy()
    np.testing.assert_allclose(read.numpy(), np.maximum(t[:, 0::2], t[:, 1::2]), rtol=1e-10)


@pytest.mark.parametrize("score", SCORES)
def test_step_by_step_gives_the_scores_of_teacher_forcing(score: str) -> None:
    model = made(score=score)
    source, lengths, given, _ = map(nn.tensor, batch())
    scores = model(source, lengths, given).numpy()
    state = model.begin(source, lengths)
    for t in range(given.shape[1]):
        now, state = model.step(state, given[:, t])
        np.testing.assert_allclose(now.numpy(), scores[:, t], rtol=1e-10, atol=1e-12)


def test_beam_search_carries_the_annotations_of_each_row() -> None:
    """Each row with a beam of three is searched as it is alone."""
    model = made(score="general")
    source, lengths, _, _ = batch()
    together = search(model.step, model.begin(nn.tensor(source), nn.tensor(lengths)), 3, start=BOS, end=EOS, longest=5, beam=3)
    for row, n in enumerate(lengths):
        state = model.begin(nn.tensor(source[row : row + 1, :n]), nn.tensor(lengths[row : row + 1]))
        alone = search(model.step, state, 1, start=BOS, end=EOS, longest=5, beam=3)
        assert together.scores[row] == pytest.approx(alone.scores[0])


def test_parameters_are_those_of_the_formula() -> None:
    V, W, E, M, H = 9, 8, 5, 3, 6
    common = (V + W) * E + 6 * M * (E + M + 2) + H * (M + 1) + W * (H + 1)

    def cell(d: int) -> int:
        return 3 * H * (d + H + 2)

    bahdanau = common + cell(E + 2 * M) + H * (H + 2 * M + 1) + 2 * H * (H + E + 2 * M + 1)
    assert build(**SIZES).count_parameters() == bahdanau
    luong = common + cell(E + H) + H * (2 * M + H)
    scores = {"dot": 0, "general": 2 * H * M, "concat": H * (H + 2 * M + 1)}
    for score, more in scores.items():
        assert build(**SIZES, score=score).count_parameters() == luong + more
    assert build(**SIZES, score="dot", input_feeding=False).count_parameters() == luong - 3 * H * H


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "cosine"}, "score"),
        ({"score": "dot", "hidden": 8}, r"Use hidden=6"),
        ({"input_feeding": False}, "always reads its context"),
        ({"beam": 0}, "Received beam=0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**(SIZES | options))


# What it is for


def reversals(rng: np.random.Generator, count: int, shortest: int, longest: int) -> PairSplit:
    """Strings of six letters, 4 to 9, each to be written from its end."""
    rows = [rng.integers(4, 10, rng.integers(shortest, longest + 1)) for _ in range(count)]
    return PairSplit(tuple(rows), tuple(row[::-1] for row in rows), ("",) * count)


def trained(model: Any, loss: Any, steps: int) -> Any:
    rng = np.random.default_rng(0)
    learner = GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.05), clip=5.0).begin(model)
    state = learner.state()
    learner.set_total(steps)
    for step in range(steps):
        learner.prepare(state, step, 1.0)
        state, _ = learner.step(state, reversals(rng, 32, 1, 8).take(np.arange(32)))
    learner.bind(state)
    return model.eval()


def correct(model: Any, loss: Any, length: int) -> float:
    """The fraction of letters of new strings that are likeliest, given the true letters before them."""
    test = reversals(np.random.default_rng(1), 100, length, length).take(np.arange(100))
    with nn.no_grad():
        _, scores = loss(model, *map(nn.tensor, test))
    return float((scores.numpy().argmax(-1) == test[-1]).mean())


def test_a_long_source_costs_attention_little_and_one_vector_much() -> None:
    """The same training on reversals of 1 to 8 letters. At 8, attention is right and one vector of the same width is not."""
    nn.seed(0)
    ours = trained(build(10, 10, embedding=16, encoder_hidden=16, hidden=32), loss, 300)
    fixed = trained(seq2seq.build(10, 10, embedding=16, hidden=32, cell="gru", reverse=False), seq2seq.loss, 300)
    long = correct(ours, loss, 8), correct(fixed, seq2seq.loss, 8)
    assert long[0] > 0.95
    assert long[0] - long[1] > 0.2
    assert correct(ours, loss, 3) - long[0] < 0.05
    rows = reversals(np.random.default_rng(2), 20, 7, 7).take(np.arange(20))
    alpha = ours.align(*map(nn.tensor, rows[:3])).numpy()[:, :7]
    on = np.take_along_axis(alpha, np.arange(7)[::-1][None, :, None].repeat(20, 0), 2).mean()
    assert on > 0.4  # the weight on the letter that is written next: the anti-diagonal


def test_picture_shows_where_the_decoder_looks() -> None:
    dataset = data.load("letters", limit=60)
    model = letters.build(dataset, **(letters.options | {"hidden": 8, "encoder_hidden": 4}))
    figure = draw(model, dataset)
    maps = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(maps) == 2
    for weights in maps:
        np.testing.assert_allclose(np.asarray(weights).sum(axis=-1), 1, rtol=1e-5)
