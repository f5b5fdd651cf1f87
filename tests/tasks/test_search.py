"""Beam search: with one hypothesis it is greedy, with enough of them exhaustive; and BLEU."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from nnatomy.errors import UserError
from nnatomy.tasks.bleu import bleu
from nnatomy.tasks.search import log_softmax, search
from nnatomy.tensor import Tensor

pytestmark = pytest.mark.any_kernels

START, END, TOKENS, LONGEST = 0, 1, 4, 4


class Chain:
    """Scores of the next token from a table for each row, the last two tokens and the step."""

    def __init__(self, rows: int, seed: int) -> None:
        self.table = np.random.default_rng(seed).normal(scale=2, size=(rows, LONGEST, TOKENS, TOKENS, TOKENS))

    def begin(self) -> tuple[Tensor, ...]:
        rows = len(self.table)
        return Tensor(np.arange(rows)), Tensor(np.zeros(rows, np.int64)), Tensor(np.zeros(rows, np.int64))

    def step(self, state: Any, tokens: Tensor) -> tuple[Tensor, Any]:
        row, time, before = (part.data for part in state)
        return Tensor(self.table[row, time, before, tokens.data]), (state[0], Tensor(time + 1), tokens)

    def log_p(self, row: int, tokens: tuple[int, ...]) -> float:
        total, before, last = 0.0, 0, START
        for time, token in enumerate(tokens):
            total += log_softmax(self.table[row, time, before, last])[token]
            before, last = last, token
        return total


def everything(penalty: float, chain: Chain, row: int) -> tuple[list[int], float]:
    """The best of all sequences that end, and of those that are cut off."""
    inner = [t for t in range(TOKENS) if t != END]
    ended = [(*s, END) for n in range(LONGEST) for s in itertools.product(inner, repeat=n)]
    cut = list(itertools.product(inner, repeat=LONGEST))
    best = max([*ended, *cut], key=lambda s: chain.log_p(row, s) / len(s) ** penalty)
    padded = [*best, *[END] * (LONGEST - len(best))]
    return padded, chain.log_p(row, best) / len(best) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_of_all_sequences(seed: int, penalty: float) -> None:
    chain = Chain(5, seed)
    found = search(
        chain.step, chain.begin(), 5, start=START, end=END, longest=LONGEST, beam=TOKENS**LONGEST, length_penalty=penalty
    )
    for row in range(5):
        tokens, score = everything(penalty, chain, row)
        assert [*found.tokens[row].tolist(), *[END] * (LONGEST - found.tokens.shape[1])] == tokens
        assert found.scores[row] == pytest.approx(score)


@pytest.mark.parametrize("seed", range(6))
def test_one_hypothesis_is_greedy_search(seed: int) -> None:
    chain = Chain(8, seed)
    found = search(chain.step, chain.begin(), 8, start=START, end=END, longest=LONGEST)
    for row in range(8):
        tokens: list[int] = []
        before, last = 0, START
        while len(tokens) < LONGEST and last != END:
            before, last = last, int(chain.table[row, len(tokens), before, last].argmax())
            tokens.append(last)
        written = found.tokens[row].tolist()
        assert written[: len(tokens)] == tokens
        assert set(written[len(tokens) :]) <= {END}
        assert found.scores[row] == pytest.approx(chain.log_p(row, tuple(tokens)))


def test_a_beam_finds_what_greedy_search_misses() -> None:
    chain = Chain(30, 3)
    scores = [search(chain.step, chain.begin(), 30, start=START, end=END, longest=LONGEST, beam=b).scores for b in (1, 4, 256)]
    assert (scores[2] >= scores[1] - 1e-12).all()
    assert (scores[2] >= scores[0] - 1e-12).all()
    assert scores[1].mean() > scores[0].mean()


def test_a_penalty_of_the_length_writes_longer_sequences() -> None:
    chain = Chain(60, 5)
    lengths = []
    for penalty in (0.0, 1.0):
        found = search(chain.step, chain.begin(), 60, start=START, end=END, longest=LONGEST, beam=256, length_penalty=penalty)
        lengths.append(float((found.tokens != END).sum(1).mean()))
    assert lengths[1] > lengths[0] + 0.3


def test_some_tokens_are_never_written() -> None:
    chain = Chain(20, 1)
    free, bound = (
        search(chain.step, chain.begin(), 20, start=START, end=END, longest=LONGEST, beam=2, never=never).tokens
        for never in ((), (2,))
    )
    assert (free == 2).any()
    assert not (bound == 2).any()


def test_bleu_by_hand() -> None:
    """3 of 4 words, 2 of 3 pairs, 1 of 2 triples, 0 of 1 quadruples, and a reference that is one word longer."""
    pytest.importorskip("sacrebleu")
    found = bleu(["the cat sat down"], ["the cat sat there again"])
    assert found == pytest.approx(100 * np.exp(1 - 5 / 4) * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)


def test_without_sacrebleu_the_remedy_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnatomy.tasks.bleu.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"nnatomy\[text\]"):
        bleu(["a"], ["a"])
