"""Claims of the page of RoBERTa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.roberta import build, masked_loss, positions_of
from nnatomy.architectures.transformers.roberta.recipe import passages
from nnatomy.data import load as load_data
from nnatomy.data.dataset import batches
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SIZES = {
    "vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 14, "pad_token_id": 1, "dropout": 0.0,
}  # fmt: skip


def scaled(head: str = "none", **sizes: Any) -> Any:
    """A RoBERTa whose matrices are 10 times as large as at the start: attention that chooses, so that errors show."""
    nn.seed(1)
    made = build(**{**SIZES, "head": head, **sizes})
    with nn.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" not in name.lower() and parameter.ndim > 1:
                parameter.copy_(parameter * 10)
    made.eval()
    return made


def outputs(model: Any, *arrays: Array) -> list[Array]:
    with nn.no_grad():
        found = model(*map(Tensor, arrays))
    return [np.asarray(t.numpy()) for t in (found if isinstance(found, tuple) else (found,))]


def texts(rows: int = 3, time: int = 10) -> tuple[Array, Array]:
    """Tokens, token 1 where padding is, and a mask of the padding."""
    rng = np.random.default_rng(0)
    read = np.arange(time) < np.array([[time], [time - 3], [4]])[:rows]
    return np.where(read, rng.integers(2, 13, (rows, time)), 1), read.astype(np.int64)


def test_positions_start_behind_the_padding() -> None:
    """2, 3, ... for tokens with padding 1, and 1 at the padding, wherever it is; so 514 rows hold 512 tokens."""
    tokens = np.array([[5, 7, 5, 9], [5, 7, 1, 1], [1, 1, 5, 7]])
    assert positions_of(tokens, 1).tolist() == [[2, 3, 4, 5], [2, 3, 1, 1], [1, 1, 2, 3]]
    assert positions_of(np.array([[5, 7, 0]]), 0).tolist() == [[1, 2, 0]]
    model = scaled()
    right = outputs(model, tokens[1:2], np.array([[1, 1, 0, 0]]))[0]
    left = outputs(model, tokens[2:], np.array([[0, 0, 1, 1]]))[0]
    np.testing.assert_allclose(right[0, :2], left[0, 2:], rtol=0, atol=1e-5)
    assert len(outputs(model, np.full((1, 12), 5))) == 2
    with pytest.raises(UserError, match=r"positions for 12 tokens.* Received 13"):
        outputs(model, np.full((1, 13), 5))


@pytest.mark.parametrize("head", ["none", "masked", "classification"])
def test_what_is_masked_influences_nothing(head: str) -> None:
    """Padding has no influence: a text has the same outputs in a long batch and by itself."""
    model, (tokens, read) = scaled(head), texts()
    before = outputs(model, tokens, read)
    for row, n in enumerate(read.sum(axis=1)):
        alone = outputs(model, tokens[row : row + 1, :n])
        for a, b in zip(before, alone, strict=True):
            part = a[row, :n] if a.shape[:2] == read.shape else a[row]
            np.testing.assert_allclose(part, b[0], rtol=0, atol=1e-5)
    for a, b in zip(before, outputs(model, tokens, read.sum(axis=1)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_there_is_one_segment() -> None:
    """Its row is a constant that is added to every token; there are no inputs that choose it."""
    model, (tokens, read) = scaled(), texts()
    assert model.embeddings.token_type_embeddings.weight.shape == (1, 16)
    before = outputs(model, tokens, read)[0]
    with nn.no_grad():
        row = model.embeddings.token_type_embeddings.weight
        words = model.embeddings.word_embeddings.weight
        words.copy_(words + row)
        row.copy_(row * 0)
    np.testing.assert_allclose(outputs(model, tokens, read)[0], before, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("count", "head"), [(124_645_632, "none"), (124_697_433, "masked")])
def test_published_sizes(count: int, head: str) -> None:
    """The page's formula gives the published counts, and one layer of that width has the parameters that it says."""
    D = 768

    def formula(V: int, P: int, L: int) -> int:
        found = (V + P + 1) * D + 2 * D + L * (12 * D * D + 13 * D)
        return found + (D * D + 3 * D + V if head == "masked" else D * D + D)

    assert formula(50_265, 514, 12) == count
    assert build(7, D, 1, 12, 4 * D, 5, head=head).count_parameters() == formula(7, 5, 1)


@pytest.mark.parametrize(("count", "head"), [(124_645_632, "none"), (124_697_433, "masked")])
def test_the_base_size_is_the_published_one(count: int, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normal", "uniform"):  # nothing is drawn: zeros take no memory until they are written
        monkeypatch.setattr(nn.random.Generator, name, lambda self, shape, *_, **__: np.zeros(shape, np.float32))
    assert build(head=head).count_parameters() == count


def test_weights_start_small() -> None:
    nn.seed(0)
    for name, parameter in build(50, 64, 2, 4, 256, 32, head="masked").named_parameters():
        a = parameter.numpy()
        if "norm.weight" in name.lower():
            assert (a == 1).all(), name
        elif a.ndim == 1:
            assert (a == 0).all(), name
        elif a.size > 1000:
            assert float(a.std()) == pytest.approx(0.02, rel=0.06), name


@pytest.mark.parametrize("head", ["none", "masked"])
def test_every_norm_has_the_epsilon_of_roberta(head: str) -> None:
    norms = [m.eps for m in scaled(head).modules() if isinstance(m, nn.LayerNorm)]
    assert set(norms) == {1e-5}
    assert len(norms) == 2 * 2 + 1 + (head == "masked")


def test_the_scores_are_those_of_the_embedding() -> None:
    """One matrix reads and writes tokens: its gradient has a row for tokens that the text does not hold."""
    model, x = scaled("masked"), np.array([[3, 2, 4]])
    masked_loss(model, *map(Tensor, (x, np.ones_like(x), np.array([[-100, -100, 3]]))))[0].backward()
    g = model.roberta.embeddings.word_embeddings.weight.grad
    assert g is not None
    assert (np.abs(g.numpy()).max(axis=1) > 0).all()


def test_only_chosen_places_count() -> None:
    model, (tokens, read) = scaled("masked"), texts()
    labels = np.full_like(tokens, -100)
    labels[0, 2], labels[1, 4] = 7, 3
    (scores,) = outputs(model, tokens, read)

    def nats(z: Array, k: int) -> float:
        return float(np.log(np.exp(z.astype(np.float64)).sum()) - z[k])

    expected = (nats(scores[0, 2], 7) + nats(scores[1, 4], 3)) / 2
    assert float(masked_loss(model, *map(Tensor, (tokens, read, labels)))[0]) == pytest.approx(expected, rel=1e-5)


def test_each_epoch_has_other_masks() -> None:
    """The batches of two epochs hold the same texts under other masks; those of an epoch that is repeated are the same."""
    data: Any = load_data("stories", accepts=("passages",), tasks=("masked language",), pairs="none", limit=64)

    def epoch(seed: int) -> dict[bytes, list[bytes]]:
        found: dict[bytes, list[bytes]] = {}
        for tokens, _, labels in batches(data.train, 16, shuffle=seed, augment=passages.augment):
            for row, hidden in zip(tokens, labels, strict=True):
                found.setdefault(np.where(hidden == -100, row, hidden).tobytes(), []).append((hidden != -100).tobytes())
        return found

    first, second, again = epoch(1), epoch(2), epoch(1)
    assert first.keys() == second.keys()
    assert first == again
    differ = [set(first[text]) != set(second[text]) for text in first]
    assert np.mean(differ) > 0.9


def test_there_are_no_pairs() -> None:
    """Texts are runs of sentences without a mark between them; no second target is there to learn."""
    data: Any = load_data("stories", accepts=("passages",), tasks=("masked language",), pairs="none")
    assert [field.name for field in data.train.fields] == ["tokens", "lengths", "labels"]
    tokens, lengths, _ = data.train.all()
    vocabulary = data.preprocessing.vocabulary
    assert ((tokens == vocabulary.index("[SEP]")).sum(axis=1) == 1).all()
    assert (tokens[np.arange(len(tokens)), lengths - 1] == vocabulary.index("[SEP]")).all()


def of_transformers(kind: str) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if name != "dropout"}
    config = transformers.RobertaConfig(**sizes, type_vocab_size=1, layer_norm_eps=1e-5, num_labels=2)
    theirs = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs


@pytest.mark.parametrize(
    ("kind", "head"),
    [("RobertaModel", "none"), ("RobertaForMaskedLM", "masked"), ("RobertaForSequenceClassification", "classification")],
)
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, kind: str, head: str) -> None:
    import torch

    theirs = of_transformers(kind)
    theirs.save_pretrained(tmp_path)
    found = load(nn.architecture("roberta"), tmp_path / "model.safetensors", **SIZES, head=head)
    assert not found.missing
    tokens, read = texts()
    with torch.no_grad():
        expected = theirs(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(read)).to_tuple()
    for a, b in zip(outputs(found.model.eval(), tokens, read), expected, strict=True):
        kept = read > 0 if a.shape[:2] == read.shape else slice(None)
        assert np.abs(b.numpy()).max() > 0.1
        np.testing.assert_allclose(a[kept], b.numpy()[kept], rtol=0, atol=1e-4)


def test_an_encoder_is_taken_from_a_file_with_another_head(tmp_path: Path) -> None:
    theirs = of_transformers("RobertaForMaskedLM")
    theirs.save_pretrained(tmp_path)
    found = load(nn.architecture("roberta"), tmp_path / "model.safetensors", **SIZES, head="classification", strict=False)
    assert {name.split(".")[0] for name in found.missing} == {"classifier"}
    state = theirs.state_dict()
    for name, a in found.model.state_dict().items():
        if name.startswith("roberta."):
            np.testing.assert_array_equal(a, state[name].numpy())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="heads divide"):
        build(**{**SIZES, "num_attention_heads": 3})
    with pytest.raises(UserError, match="head"):
        build(**SIZES, head="regression")
    with pytest.raises(UserError, match="at least one class"):
        build(**SIZES, num_labels=0)
    with pytest.raises(UserError, match="positions behind it"):
        build(**{**SIZES, "pad_token_id": 13})
