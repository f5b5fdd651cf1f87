"""Claims of the page of sequence to sequence."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.recurrent.seq2seq import Seq2Seq, backwards, build, loss, start_uniform
from nnatomy.data.fields import round_lengths
from nnatomy.data.kinds.pairs.pairs import PairSplit
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, PAD, UNK
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Cosine
from nnatomy.runs.prepare import fitting
from nnatomy.tasks import Translation, task_for
from nnatomy.tasks.search import log_softmax, search
from nnatomy.training.learners import GradientDescent

Array = np.ndarray[Any, Any]
LETTERS = 5  # 4 to 8; 9 copies, 10 reverses


def strings(rng: np.random.Generator, count: int, longest: int) -> list[tuple[int, ...]]:
    found: set[tuple[int, ...]] = set()
    while len(found) < count:
        letters = rng.integers(UNK + 1, UNK + 1 + LETTERS, rng.integers(1, longest + 1))
        found.add((int(rng.choice([9, 10])), *map(int, letters)))
    return [row for _, row in sorted((rng.uniform(), row) for row in found)]


def greedy(model: Seq2Seq, source: Array, lengths: Array, longest: int) -> list[list[int]]:
    """The likeliest token at each step for each source by itself, without the end token, as the page says."""
    written: list[list[int]] = []
    model.eval()
    with nn.no_grad():
        for n, row in zip(lengths, source, strict=True):
            state, tokens = model.begin(nn.tensor(row[None, :n]), nn.tensor(np.array([n]))), [BOS]
            while len(tokens) <= longest and tokens[-1] != EOS:
                scores, state = model.step(state, nn.tensor(np.array(tokens[-1:])))
                tokens.append(int(scores.numpy()[0].argmax()))
            written.append([token for token in tokens[1:] if token != EOS])
    return written


def split_of(rows: list[tuple[int, ...]]) -> PairSplit:
    targets = tuple(np.array(row[1:] if row[0] == 9 else row[:0:-1]) for row in rows)
    return PairSplit(tuple(map(np.array, rows)), targets, ("",) * len(rows))


def test_it_copies_and_reverses_held_out_strings_perfectly() -> None:
    """The property: exact on every string that training did not have."""
    rng = np.random.default_rng(0)
    rows = strings(rng, 1400, 4)
    train, test = split_of(rows[:1250]), split_of(rows[1250:])
    nn.seed(0)
    model = build(11, 9, embedding=24, hidden=96)
    learner = GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.05), clip=5.0).begin(model)
    epochs, step, state = 30, 0, learner.state()
    learner.set_total(epochs * 40)
    for _ in range(epochs):
        order = rng.permutation(len(train))
        for start in range(0, len(order), 32):
            learner.prepare(state, step, 1.0)
            state, _ = learner.step(state, train.take(order[start : start + 32]))
            step += 1
    learner.bind(state)
    source, lengths, _, _ = test.take(np.arange(len(test)))
    written = greedy(model, source, lengths, 6)
    assert written == [target.tolist() for target in test.targets]


@pytest.fixture
def model() -> Seq2Seq:
    nn.seed(1)
    made = Seq2Seq(9, 8, embedding=5, hidden=6, layers=2).astype("float64")
    start_uniform(made, 0.8)
    return made.eval()


def batch() -> tuple[Array, ...]:
    sources = [np.array(s) for s in ([4, 5, 6, 7, 8], [5, 4], [8])]
    targets = [np.array(t) for t in ([4, 5], [7, 6, 5, 4], [6])]
    split = PairSplit(tuple(sources), tuple(targets), ("",) * 3)
    return split.take(np.arange(3))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("reverse", [True, False])
def test_padding_changes_nothing(cell: str, reverse: bool) -> None:
    """Not the scores, not the loss, not the gradients, whatever is in the padding."""
    nn.seed(1)
    model = Seq2Seq(9, 8, embedding=5, hidden=6, cell=cell, reverse=reverse).astype("float64")
    arrays = batch()
    fields = PairSplit((), (), ()).fields
    found = []
    for wide in (arrays, round_lengths(fields, arrays, lambda n: n + 7)):
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
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)
    alone = [loss(model, *(nn.tensor(a[i : i + 1]) for a in _cut(i)))[0].item() for i in range(3)]
    assert found[0][0] == pytest.approx(np.mean(alone))


def _cut(row: int) -> tuple[Array, ...]:
    """One pair of the batch without any padding, as rows of a batch."""
    source, lengths, given, following = batch()
    n, t = int(lengths[row]), int((following[row] != -100).sum())
    return source[:, :n], lengths, given[:, :t], following[:, :t]


def test_the_source_is_read_from_its_end(model: Seq2Seq) -> None:
    tokens = nn.tensor(np.array([[4, 5, 6, 0], [7, 8, 0, 0]]))
    turned = backwards(tokens, nn.tensor(np.array([3, 2])))
    assert turned.numpy().tolist() == [[6, 5, 4, 0], [8, 7, 0, 0]]
    model.reverse = False
    v = model.encode(turned, nn.tensor(np.array([3, 2])))
    model.reverse = True
    for a, b in zip(v, model.encode(tokens, nn.tensor(np.array([3, 2]))), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_teacher_forcing_scores_a_token_from_those_before_it(model: Seq2Seq) -> None:
    """Changing the token that is given at step t changes the scores from step t on, and none before."""
    source, lengths, given, _ = map(nn.tensor, batch())
    scores = model(source, lengths, given).numpy()
    for t in range(1, given.shape[1]):
        other = given.numpy().copy()
        other[:, t] = (other[:, t] + 1) % 8
        changed = model(source, lengths, nn.tensor(other)).numpy()
        np.testing.assert_array_equal(changed[:, :t], scores[:, :t])
        assert (np.abs(changed[:, t] - scores[:, t]).max(axis=-1) > 1e-6).all()


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_step_by_step_gives_the_scores_of_teacher_forcing(cell: str) -> None:
    nn.seed(2)
    model = Seq2Seq(9, 8, embedding=5, hidden=6, layers=2, cell=cell).astype("float64").eval()
    source, lengths, given, _ = map(nn.tensor, batch())
    scores = model(source, lengths, given).numpy()
    state = model.begin(source, lengths)
    for t in range(given.shape[1]):
        now, state = model.step(state, given[:, t])
        np.testing.assert_allclose(now.numpy(), scores[:, t], rtol=1e-12, atol=1e-14)


def test_the_probabilities_of_all_sequences_add_up_to_one(model: Seq2Seq) -> None:
    """p(y | x) is a distribution: over all sequences that end within 3 tokens, and the beginnings of those that do not."""
    source, lengths, _, _ = batch()
    tokens = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    given = np.concatenate([np.full((len(tokens), 1), BOS), tokens[:, :2]], axis=1)
    ones = np.zeros(len(tokens), int)
    scores = model(*map(nn.tensor, (source[ones], lengths[ones], given))).numpy()
    log_p = np.take_along_axis(log_softmax(scores), tokens[..., None], 2)[..., 0]
    ended = np.cumsum(tokens == EOS, axis=1)
    before = np.concatenate([np.zeros((len(tokens), 1)), ended[:, :2]], axis=1) == 0
    first = (tokens == np.where(before, tokens, EOS)).all(axis=1)  # what follows an end is written in one way only
    assert np.exp((log_p * before).sum(axis=1))[first].sum() == pytest.approx(1.0)


def test_beam_search_of_the_model_equals_a_search_through_all_sequences(model: Seq2Seq) -> None:
    source, lengths, _, _ = batch()
    never, longest = (PAD, BOS, UNK), 3
    state = model.begin(nn.tensor(source), nn.tensor(lengths))
    found = search(model.step, state, 3, start=BOS, end=EOS, longest=longest, beam=8**longest, length_penalty=1.0, never=never)
    free = [t for t in range(8) if t not in (*never, EOS)]
    for row in range(3):
        best, best_tokens = -np.inf, [0]
        stack: list[tuple[list[int], float]] = [([], 0.0)]
        while stack:
            tokens, log_p = stack.pop()
            if len(tokens) == longest or (tokens and tokens[-1] == EOS):
                if log_p / len(tokens) > best:
                    best, best_tokens = log_p / len(tokens), tokens
                continue
            given = np.array([[BOS, *tokens]])
            scores = model(*map(nn.tensor, (source[row : row + 1], lengths[row : row + 1], given))).numpy()[0, -1]
            p = log_softmax(scores)
            stack += [([*tokens, t], log_p + p[t]) for t in (*free, EOS)]
        assert found.scores[row] == pytest.approx(best)
        assert [t for t in found.tokens[row].tolist() if t != EOS] == [t for t in best_tokens if t != EOS]


def test_greedy_search_is_that_of_the_page(model: Seq2Seq) -> None:
    source, lengths, _, _ = batch()
    found = search(model.step, model.begin(nn.tensor(source), nn.tensor(lengths)), 3, start=BOS, end=EOS, longest=7).tokens
    expected = greedy(model, source, lengths, 7)
    assert [list(row[: [*row, EOS].index(EOS)]) for row in found.tolist()] == expected


def test_the_size_of_the_papers_network() -> None:
    """384 million parameters without biases, 64 million of them recurrent (section 3.4), by the formula of the page."""

    def size(source: int, target: int, d: int, h: int, layers: int) -> tuple[int, int]:
        recurrent = 2 * (4 * h * (d + h) + (layers - 1) * 4 * h * 2 * h)
        return recurrent, recurrent + (source + target) * d + target * h

    assert size(160_000, 80_000, 1000, 1000, 4) == (64_000_000, 384_000_000)
    small = build(9, 8, embedding=5, hidden=6, layers=2)
    biases = 2 * 2 * 2 * 4 * 6 + 8  # two vectors for each layer of encoder and decoder, and the output's
    assert small.count_parameters() == size(9, 8, 5, 6, 2)[1] + biases


def test_all_parameters_start_within_the_papers_bound() -> None:
    for parameter in build(300, 200).parameters():
        assert 0.07 < np.abs(parameter.numpy()).max() <= 0.08


def test_the_gru_reads_the_summary_at_every_step() -> None:
    """Cho's decoder sees v at each step, Sutskever's only in its first state."""
    for cell, expected in (("gru", True), ("lstm", False)):
        nn.seed(0)
        model = Seq2Seq(9, 8, embedding=4, hidden=5, cell=cell).eval()
        given = nn.tensor(np.array([[1, 4]]))
        v, other = (model.encode(nn.tensor(np.array([[token]])), nn.tensor(np.array([1]))) for token in (4, 5))
        changed = not np.array_equal(model.decode(given, v, v)[0].numpy(), model.decode(given, v, other)[0].numpy())
        assert changed is expected


@pytest.mark.parametrize("options", [{"cell": "rnn"}, {"beam": 0}])
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Seq2Seq(9, 8, **options)


def test_a_model_that_cannot_be_searched_is_refused() -> None:
    dataset = nn.data.load("letters", limit=20)
    recipe = next(r for r in nn.architecture("seq2seq").recipes if r.does(dataset))
    task = task_for(recipe, dataset)
    assert isinstance(task, Translation)
    with pytest.raises(UserError, match="begin"):
        task.evaluate(nn.Linear(2, 2), dataset.test)


def test_evaluation_is_by_the_raw_references() -> None:
    """A reference with a word that is unknown cannot be met, though its tokens could."""
    dataset = nn.data.load("letters", limit=30)
    recipe = next(r for r in nn.architecture("seq2seq").recipes if r.does(dataset))
    task = task_for(recipe, dataset)
    nn.seed(0)
    model = recipe.build(dataset, **recipe.options)
    found = task.evaluate(model, dataset.test)
    assert found.arrays["references"].tolist() == [dataset.test.whole.references[i] for i in dataset.test.indices]  # type: ignore[attr-defined]
    assert set(found.metrics) == {"loss", "bleu", "exact", "perplexity"}
    again = task.evaluate(model, dataset.test)
    assert again.metrics == found.metrics
    wide = partial(task.evaluate, batch_size=7)(model, dataset.test)
    assert wide.metrics == pytest.approx(found.metrics, rel=1e-5)


def test_a_data_set_gets_the_recipe_that_names_it() -> None:
    letters = nn.data.load("letters", limit=20)
    captions = next(r for r in nn.architecture("seq2seq").recipes if r.data == "multi30k")
    assert fitting(nn.architecture("seq2seq"), letters).data == "letters"
    assert fitting(nn.architecture("seq2seq"), replace(letters, name="multi30k")) is captions
    assert fitting(nn.architecture("seq2seq"), replace(letters, name="mine")).data == "letters"


def test_training_and_evaluation_on_jax_are_those_on_numpy(tmp_path: Path) -> None:
    """Where shapes are compiled, batches have more rows and steps than the host's: neither may count."""
    pytest.importorskip("jax")
    settings = {"epochs": 1, "limit": 70, "settings": {"hidden": 8, "embedding": 4}, "report": False}
    found = [nn.train("seq2seq", "letters", out=tmp_path / b, backend=b, **settings).metrics for b in ("numpy", "jax")]
    nn.use("numpy")
    assert found[1] == pytest.approx(found[0], rel=1e-4)


@pytest.mark.slow
def test_captions_have_yardsticks() -> None:
    """Multi30k, whose scores stand in docs/results.md: what BLEU is without a network on the whole official test part."""
    captions = next(recipe for recipe in nn.architecture("seq2seq").recipes if recipe.data == "multi30k")
    try:
        dataset = nn.data.load("multi30k", offline=True)
    except UserError as problem:
        pytest.skip(str(problem))
    assert len(dataset.test) == 1000
    task = task_for(captions, dataset)
    predictors = {name: baseline(dataset, (captions,)) for name, baseline in task.baselines.items()}
    bleu = {name: task.score(one.outputs, dataset.test).metrics["bleu"] for name, one in predictors.items()}
    assert max(bleu["copied source"], bleu["most frequent target"]) < 1
    assert bleu["word by word"] > 20
