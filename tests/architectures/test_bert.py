"""Claims of the page of BERT."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.bert import build, classification_loss, encoder_of, pretraining_loss, span_loss
from nnatomy.architectures.transformers.bert.recipe import UNDECAYED, passages
from nnatomy.data import load as load_data
from nnatomy.data.masking import mask_tokens
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SIZES = {
    "vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 12, "dropout": 0.0,
}  # fmt: skip
HEADS = ("none", "pretraining", "classification", "tokens", "span")


def scaled(head: str = "none", **sizes: Any) -> Any:
    """A BERT whose matrices are 10 times as large as at the start: attention that chooses, so that errors show."""
    nn.seed(1)
    made = build(**{**SIZES, "head": head, **sizes})
    with nn.no_grad():
        for name, parameter in made.named_parameters():
            if "LayerNorm" not in name and parameter.ndim > 1:
                parameter.copy_(parameter * 10)
    made.eval()
    return made


def outputs(model: Any, *arrays: Array) -> list[Array]:
    with nn.no_grad():
        found = model(*map(Tensor, arrays))
    return [np.asarray(t.numpy()) for t in (found if isinstance(found, tuple) else (found,))]


def texts(rows: int = 3, time: int = 10, seed: int = 0) -> tuple[Array, Array, Array]:
    """Tokens, a mask of their padding, and segments."""
    rng = np.random.default_rng(seed)
    read = np.arange(time) < np.array([[time], [time - 3], [4]])[:rows]
    return rng.integers(1, 13, (rows, time)), read.astype(np.int64), rng.integers(0, 2, (rows, time))


@pytest.mark.parametrize("head", HEADS)
def test_what_is_masked_influences_nothing(head: str) -> None:
    """Other tokens and segments in the padding, or no padding at all: what is read has the same outputs."""
    model, (tokens, read, segments) = scaled(head), texts()
    before = outputs(model, tokens, read, segments)
    others = np.where(read, tokens, (tokens + 5) % 13), read, np.where(read, segments, 1 - segments)
    for a, b in zip(before, outputs(model, *others), strict=True):
        each = a.ndim > 2 or (head == "tokens")
        kept = read > 0 if each and a.shape[:2] == read.shape else slice(None)
        np.testing.assert_array_equal(a[kept], b[kept])
    for row, n in enumerate(read.sum(axis=1)):
        alone = outputs(model, tokens[row : row + 1, :n], np.ones((1, n), np.int64), segments[row : row + 1, :n])
        for a, b in zip(before, alone, strict=True):
            part = a[row, :n] if a.shape[:2] == read.shape else a[row]
            np.testing.assert_allclose(part, b[0], rtol=0, atol=1e-5)
    lengths = outputs(model, tokens, read.sum(axis=1), segments)
    for a, b in zip(before, lengths, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_loss_of_a_span_does_not_count_padding() -> None:
    """As many masked tokens as you like at the end: the loss is the same."""
    model, (tokens, read, segments) = scaled("span"), texts()
    ends = Tensor(np.array([[0, 3], [2, 2], [1, 3]]))
    a = span_loss(model, *map(Tensor, (tokens, read, segments)), ends)[0]
    wide = [np.pad(x, ((0, 0), (0, 2))) for x in (tokens, read, segments)]
    b = span_loss(model, *map(Tensor, wide), ends)[0]
    assert float(a) == pytest.approx(float(b), abs=1e-5)


def test_a_token_looks_to_both_sides() -> None:
    """A change anywhere changes every output: unlike in a GPT, where it changes later ones alone."""
    model, (tokens, read, segments) = scaled(), texts(1)
    before = outputs(model, tokens, read, segments)[0]
    for place in range(tokens.shape[1]):
        changed = tokens.copy()
        changed[:, place] = tokens[:, place] % 12 + 1
        moved = np.abs(outputs(model, changed, read, segments)[0] - before).max(axis=-1)
        assert (moved > 1e-4).all(), place


def test_without_positions_the_order_of_tokens_is_lost() -> None:
    """With equal position embeddings, tokens in another order have the same vectors in that order; with others they do not."""
    model, order = scaled(), np.array([0, 4, 2, 3, 1, 5])
    x = np.array([[1, 5, 3, 7, 9, 2]])
    assert np.abs(outputs(model, x[:, order])[0] - outputs(model, x)[0][:, order]).max() > 1e-2
    with nn.no_grad():
        table = model.embeddings.position_embeddings.weight
        table.copy_(table * 0)
    np.testing.assert_allclose(outputs(model, x[:, order])[0], outputs(model, x)[0][:, order], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "head", "D", "L", "H"),
    [(109_482_240, "none", 768, 12, 12), (110_106_428, "pretraining", 768, 12, 12), (335_141_888, "none", 1024, 24, 16)],
)
def test_published_sizes(count: int, head: str, D: int, L: int, H: int) -> None:
    """The page's formula gives the published counts, and one layer of each size has the parameters that it says."""
    V, P = 30_522, 512

    def formula(V: int, P: int, L: int) -> int:
        found = (V + P + 2) * D + 2 * D + L * (12 * D * D + 13 * D) + D * D + D
        return found + (D * D + 3 * D + V + 2 * D + 2) * (head == "pretraining")

    assert formula(V, P, L) == count
    made = build(7, D, 1, H, 4 * D, 5, head=head)
    assert made.count_parameters() == formula(7, 5, 1)


def test_the_base_size_is_the_published_one() -> None:
    assert build().count_parameters() == 109_482_240


def test_weights_start_small() -> None:
    nn.seed(0)
    for name, parameter in build(50, 64, 2, 4, 256, 32, head="pretraining").named_parameters():
        a = parameter.numpy()
        if name.endswith("LayerNorm.weight"):
            assert (a == 1).all(), name
        elif a.ndim == 1:
            assert (a == 0).all(), name
        elif a.size > 1000:
            assert float(a.std()) == pytest.approx(0.02, rel=0.06), name


def test_gelu_is_the_exact_one_and_eps_is_small() -> None:
    """Phi by erf, which differs from the approximation by tanh by up to 5e-4; and 1e-12 in every LayerNorm."""
    part = scaled().encoder.layer[0].intermediate
    x = Tensor(np.linspace(-3, 3, 16, dtype=np.float32)[None, None])
    with nn.no_grad():
        z = part.dense(x).numpy().astype(np.float64)
        y = part(x).numpy()
    exact = z * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z.ravel()]).reshape(z.shape)
    tanh = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    np.testing.assert_allclose(y, exact, atol=1e-6)
    assert np.abs(tanh - exact).max() > 1e-4
    norms = [m.eps for m in scaled("pretraining").modules() if isinstance(m, nn.LayerNorm)]
    assert set(norms) == {1e-12}
    assert len(norms) == 2 * 2 + 2


def test_the_pooler_is_the_tanh_of_the_first_token() -> None:
    model, (tokens, read, segments) = scaled(), texts()
    x, pooled = outputs(model, tokens, read, segments)
    dense = model.pooler.dense
    np.testing.assert_allclose(pooled, np.tanh(x[:, 0] @ dense.weight.numpy().T + dense.bias.numpy()), atol=1e-5)


def test_segments_distinguish_the_sentences() -> None:
    model, (tokens, read, segments) = scaled(), texts()
    given, zeros = outputs(model, tokens, read, segments)[0], outputs(model, tokens, read)[0]
    assert np.abs(given - zeros).max() > 1e-2
    np.testing.assert_array_equal(zeros, outputs(model, tokens, read, np.zeros_like(segments))[0])


def test_masking_is_80_10_10() -> None:
    """15% of the candidates of each row; of these 80% masked, 10% random, 10% kept; all other places are ignored."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 105, (2000, 40))
    candidates = np.broadcast_to(np.arange(40) < 33, tokens.shape)
    masked, labels = mask_tokens(tokens, candidates, 4, (5, 105), rng)
    chosen = labels != -100
    assert (chosen.sum(axis=1) == 5).all()
    assert not chosen[:, 33:].any()
    np.testing.assert_array_equal(labels[chosen], tokens[chosen])
    np.testing.assert_array_equal(masked[~chosen], tokens[~chosen])
    assert (masked[chosen] == 4).mean() == pytest.approx(0.8, abs=0.02)
    assert (masked[chosen] == tokens[chosen]).mean() == pytest.approx(0.1 + 0.1 / 100, abs=0.015)
    assert np.bincount(np.nonzero(chosen)[1], minlength=33)[:33].std() < 25
    one, _ = mask_tokens(tokens[:, :3], candidates[:, :3], 4, (5, 105), rng)
    assert (one != tokens[:, :3]).sum(axis=1).max() == 1


def test_only_chosen_places_count() -> None:
    """The loss is the mean over the labels that are not -100, plus the mean of the second task."""
    model, (tokens, read, segments) = scaled("pretraining"), texts()
    labels = np.full_like(tokens, -100)
    labels[0, 2], labels[1, 4] = 7, 3
    random = np.array([0, 1, 1])
    scores, relation = outputs(model, tokens, read, segments)

    def nats(z: Array, k: int) -> float:
        return float(np.log(np.exp(z.astype(np.float64)).sum()) - z[k])

    expected = (nats(scores[0, 2], 7) + nats(scores[1, 4], 3)) / 2
    expected += sum(nats(z, k) for z, k in zip(relation, random, strict=True)) / 3
    value, _ = pretraining_loss(model, *map(Tensor, (tokens, read, segments, labels, random)))
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_decay_leaves_norms_and_biases_alone() -> None:
    """With a gradient of zero, AdamW shrinks matrices and embeddings, and nothing else."""
    model = scaled("pretraining")
    batch = (*texts(), np.full((3, 10), -100), np.array([0, 1, 1]))
    before = {name: a.copy() for name, a in model.state_dict().items()}

    def nothing(model: Any, *batch: Any) -> tuple[Any, Any]:
        return sum(p.sum() * 0.0 for p in model.parameters()), None

    learner = passages.learn.with_loss(nothing).begin(model)
    learner.set_total(10)
    learner.optimizer.lr = 0.1
    state = learner.state()
    learner.prepare(state, 5, 1.0)
    learner.bind(learner.step(state, tuple(map(np.asarray, batch)))[0])
    for name, a in model.state_dict().items():
        spared = any(part in name for part in UNDECAYED)
        if spared:
            np.testing.assert_array_equal(a, before[name], err_msg=name)
        else:
            assert float(np.abs(a).sum()) < float(np.abs(before[name]).sum()), name


def test_the_scores_are_those_of_the_embedding() -> None:
    """One matrix reads and writes tokens: its gradient has a row for tokens that the text does not hold."""
    model, x = scaled("pretraining"), np.array([[1, 2, 4]])
    value, _ = pretraining_loss(model, *map(Tensor, (x, np.ones_like(x), x * 0, np.array([[-100, -100, 3]]), np.array([0]))))
    value.backward()
    g = model.bert.embeddings.word_embeddings.weight.grad
    assert g is not None
    assert (np.abs(g.numpy()).max(axis=1) > 0).all()


def of_transformers(head: str) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    kinds = ("BertModel", "BertForPreTraining", "BertForSequenceClassification", "BertForTokenClassification")
    kind = dict(zip(HEADS, (*kinds, "BertForQuestionAnswering"), strict=True))[head]
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if name != "dropout"}
    theirs = getattr(transformers, kind)(transformers.BertConfig(**sizes, num_labels=2 if head == "span" else 3)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs


def expected_of(theirs: Any, arrays: tuple[Array, ...]) -> list[Array]:
    import torch

    with torch.no_grad():
        tokens, read, segments = map(torch.tensor, arrays)
        found = theirs(input_ids=tokens, attention_mask=read, token_type_ids=segments)
    parts = [t.numpy() for t in found.to_tuple()]
    return [np.stack(parts, axis=-1)] if hasattr(found, "start_logits") else parts


@pytest.mark.parametrize("head", HEADS)
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, head: str) -> None:
    theirs = of_transformers(head)
    theirs.save_pretrained(tmp_path)
    found = load(nn.architecture("bert"), tmp_path / "model.safetensors", **SIZES, head=head, num_labels=3)
    assert not found.missing
    found.model.eval()
    arrays = texts()
    read = arrays[1] > 0
    for a, b in zip(outputs(found.model, *arrays), expected_of(theirs, arrays), strict=True):
        kept = read if a.shape[:2] == read.shape else slice(None)
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a[kept], b[kept], rtol=0, atol=1e-4)


def test_files_of_the_first_years_are_loaded_by_name(tmp_path: Path) -> None:
    """gamma and beta for a norm's weight and bias, numbers of the positions; and an encoder alone, without its head."""
    torch = pytest.importorskip("torch")
    theirs = of_transformers("pretraining")

    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    state = {old(name): t for name, t in theirs.state_dict().items()}
    torch.save({**state, "bert.embeddings.position_ids": torch.arange(12)[None]}, tmp_path / "pytorch_model.bin")
    arrays = texts(1)
    expected = expected_of(theirs, arrays)
    whole = load(nn.architecture("bert"), tmp_path / "pytorch_model.bin", **SIZES, head="pretraining").model
    for a, b in zip(outputs(whole.eval(), *arrays), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)
    encoder = load(nn.architecture("bert"), tmp_path / "pytorch_model.bin", **SIZES).model
    for a, b in zip(outputs(encoder.eval(), *arrays), expected_of(theirs.bert, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4)


def test_fine_tuning_starts_from_the_encoder() -> None:
    """The encoder of a pretrained model in a classifier gives the same vectors; only the classifier is new."""
    pretrained, made = scaled("pretraining"), build(**SIZES, head="classification", num_labels=3)
    state = encoder_of(pretrained.state_dict())
    made.bert.load_state_dict(state)
    arrays = texts()
    for a, b in zip(outputs(made.bert.eval(), *arrays), outputs(pretrained.bert, *arrays), strict=True):
        np.testing.assert_array_equal(a, b)
    assert encoder_of(pretrained.bert.state_dict()).keys() == state.keys()
    value, scores = classification_loss(made, Tensor(arrays[0]), Tensor(np.array([0, 1, 2])))
    assert scores.shape == (3, 3)
    assert float(value) > 0


def test_stories_need_both_sides() -> None:
    """The verb's number follows from its left, its tense from its right; no story of the test is in training."""
    data: Any = load_data("stories", accepts=("passages",), tasks=("masked language",))
    cut, vocabulary = data.preprocessing.pieces, data.preprocessing.vocabulary
    for subject, time, verb in (("the girl", "now", "is"), ("the girls", "now", "are"), ("the girl", "yesterday", "was")):
        assert cut.decode(cut.encode(f"{subject} {verb} in the garden {time}")) == f"{subject} {verb} in the garden {time}"

    def whole(split: Any) -> set[bytes]:
        tokens, _, _, labels, random = split.all()
        return {row.tobytes() for row in np.where(labels == -100, tokens, labels)[random == 0]}

    assert not whole(data.train) & whole(data.test)
    tokens, lengths, segments, labels, random = data.train.all()
    assert 0.4 < random.mean() < 0.6
    assert {vocabulary[t] for t in tokens[:, 0]} == {"[CLS]"}
    assert (tokens[np.arange(len(tokens)), lengths - 1] == vocabulary.index("[SEP]")).all()
    assert (labels[tokens == 0] == -100).all()
    assert ((segments == 1).sum(axis=1) >= 4).all()


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="heads divide"):
        build(**{**SIZES, "num_attention_heads": 3})
    with pytest.raises(UserError, match="head"):
        build(**SIZES, head="regression")
    with pytest.raises(UserError, match=r"12 positions\. Received 13"):
        outputs(scaled(), np.ones((1, 13), np.int64))
