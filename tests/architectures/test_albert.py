"""Claims of the page of ALBERT."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.albert import build, gelu_new, pretraining_loss
from nnatomy.data import load as load_data
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SIZES = {
    "vocab_size": 13, "embedding_size": 6, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4,
    "intermediate_size": 32, "max_position_embeddings": 12, "dropout": 0.0,
}  # fmt: skip


def scaled(head: str = "none", **sizes: Any) -> Any:
    """An ALBERT whose matrices are 10 times as large as at the start: attention that chooses, so that errors show."""
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


def texts(rows: int = 3, time: int = 10) -> tuple[Array, Array, Array]:
    """Tokens, a mask of their padding, and segments."""
    rng = np.random.default_rng(0)
    read = np.arange(time) < np.array([[time], [time - 3], [4]])[:rows]
    return rng.integers(1, 13, (rows, time)), read.astype(np.int64), rng.integers(0, 2, (rows, time))


@pytest.mark.parametrize("head", ["none", "pretraining", "classification"])
def test_what_is_masked_influences_nothing(head: str) -> None:
    model, (tokens, read, segments) = scaled(head), texts()
    before = outputs(model, tokens, read, segments)
    others = np.where(read, tokens, (tokens + 5) % 13), read, np.where(read, segments, 1 - segments)
    for a, b in zip(before, outputs(model, *others), strict=True):
        kept = read > 0 if a.shape[:2] == read.shape else slice(None)
        np.testing.assert_array_equal(a[kept], b[kept])
    for a, b in zip(before, outputs(model, tokens, read.sum(axis=1), segments), strict=True):
        np.testing.assert_array_equal(a, b)


def test_layers_share_storage() -> None:
    """All layers are one object: a change of its arrays changes each; more layers add no parameters. Groups are separate."""
    encoder = scaled().encoder
    assert len(encoder.layers) == 4
    assert len({id(layer) for layer in encoder.layers}) == 1
    first, last = encoder.layers[0], encoder.layers[3]
    assert np.shares_memory(first.ffn.weight.data, last.ffn.weight.data)
    before = outputs(scaled(), *texts())[0]
    model = scaled()
    with nn.no_grad():
        model.encoder.layers[3].ffn.weight.copy_(first.ffn.weight * 2)
    np.testing.assert_array_equal(model.encoder.layers[0].ffn.weight.numpy(), 2 * first.ffn.weight.numpy())
    assert np.abs(outputs(model, *texts())[0] - before).max() > 1e-3
    counts = {build(**{**SIZES, "num_hidden_layers": depth}).count_parameters() for depth in (1, 4, 12)}
    assert len(counts) == 1
    grouped = scaled(num_hidden_groups=2).encoder.layers
    assert [grouped.index(layer) for layer in grouped] == [0, 0, 2, 2]


def test_the_gradient_is_the_sum_over_the_layers() -> None:
    """Four layers with equal, separate parameters: the gradients of a shared one are the sums of theirs."""
    shared, apart = scaled("pretraining"), scaled("pretraining", num_hidden_groups=4)
    one = "albert.encoder.albert_layer_groups.0."
    state = shared.state_dict()
    apart.load_state_dict({name: state[re.sub(r"groups\.\d", "groups.0", name)] for name in apart.state_dict()})
    batch = (*texts(), np.where(np.arange(10) % 3 == 1, texts()[0], -100), np.array([0, 1, 1]))
    values = []
    for model in (shared, apart):
        value, _ = pretraining_loss(model, *map(Tensor, batch))
        value.backward()
        values.append(float(value))
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    name = "albert_layers.0.attention.value.weight"
    grads = {n: p.grad for n, p in apart.named_parameters() if n.endswith(name)}
    whole = dict(shared.named_parameters())[one + name].grad
    assert len(grads) == 4
    assert whole is not None
    np.testing.assert_allclose(whole.numpy(), sum(g.numpy() for g in grads.values() if g is not None), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("count", "D", "L", "H", "head"),
    [(11_683_584, 768, 12, 12, "none"), (11_813_810, 768, 12, 12, "pretraining"), (222_595_584, 4096, 12, 64, "none")],
)
def test_published_sizes(count: int, D: int, L: int, H: int, head: str) -> None:
    """The page's formula gives the published counts, and a narrow embedding with that layer has the parameters it says."""

    def formula(V: int, P: int, E: int) -> int:
        found = (V + P + 2) * E + 2 * E + (E * D + D) + 12 * D * D + 13 * D + D * D + D
        return found + (D * E + E + 2 * E + V + 2 * D + 2) * (head == "pretraining")

    assert formula(30_000, 512, 128) == count
    if D == 768:  # one layer of the largest has 201 million
        assert build(7, 6, D, L, H, 4 * D, max_position_embeddings=5, head=head).count_parameters() == formula(7, 5, 6)


def test_the_base_size_is_the_published_one() -> None:
    """A ninth of BERT's 109,482,240; the encoder's layers alone are a twelfth."""
    made = build()
    assert made.count_parameters() == 11_683_584
    assert 9.3 < 109_482_240 / made.count_parameters() < 9.4


def test_a_narrow_embedding_pays_for_a_wide_layer() -> None:
    """V E + E D instead of V D: for xxlarge 4.4 million and not 122.9."""
    V, E, D = 30_000, 128, 4096
    assert V * E + E * D + D == 4_368_384
    assert V * D == 122_880_000


def test_weights_start_small() -> None:
    nn.seed(0)
    for name, parameter in build(50, 32, 64, 2, 4, 256, 1, 32, head="pretraining").named_parameters():
        a = parameter.numpy()
        if "norm.weight" in name.lower():
            assert (a == 1).all(), name
        elif a.ndim == 1:
            assert (a == 0).all(), name
        elif a.size > 1000:
            assert float(a.std()) == pytest.approx(0.02, rel=0.06), name


def test_gelu_is_the_approximation_by_tanh() -> None:
    z = np.linspace(-3, 3, 61)
    tanh = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
    exact = z * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z])
    np.testing.assert_allclose(gelu_new(Tensor(z)).numpy(), tanh, atol=1e-12)
    assert 1e-4 < np.abs(tanh - exact).max() < 1e-3
    assert {m.eps for m in scaled("pretraining").modules() if isinstance(m, nn.LayerNorm)} == {1e-12}


def test_only_chosen_places_count() -> None:
    """The loss is the mean over the labels that are not -100, plus the mean of the orders."""
    model, (tokens, read, segments) = scaled("pretraining"), texts()
    labels = np.full_like(tokens, -100)
    labels[0, 2], labels[1, 4] = 7, 3
    swapped = np.array([0, 1, 1])
    scores, order = outputs(model, tokens, read, segments)

    def nats(z: Array, k: int) -> float:
        return float(np.log(np.exp(z.astype(np.float64)).sum()) - z[k])

    expected = (nats(scores[0, 2], 7) + nats(scores[1, 4], 3)) / 2
    expected += sum(nats(z, k) for z, k in zip(order, swapped, strict=True)) / 3
    value, _ = pretraining_loss(model, *map(Tensor, (tokens, read, segments, labels, swapped)))
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_both_orders_have_the_same_words() -> None:
    """The words of a pair do not say its order, which random second sentences would: their topic differs."""
    data: Any = load_data("stories", accepts=("passages",), tasks=("masked language",), pairs="swapped")
    tokens, _, _, labels, swapped = data.train.all()
    whole = np.where(labels == -100, tokens, labels)
    bags = np.sort(whole, axis=1)
    same = {bag.tobytes() for bag in bags[swapped == 0]} & {bag.tobytes() for bag in bags[swapped == 1]}
    assert len(same) > 0.9 * len({bag.tobytes() for bag in bags[swapped == 1]})
    assert 0.45 < swapped.mean() < 0.55


def of_transformers(kind: str) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if name != "dropout"}
    theirs = getattr(transformers, kind)(transformers.AlbertConfig(**sizes, num_labels=2)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs


@pytest.mark.parametrize(
    ("kind", "head"),
    [("AlbertModel", "none"), ("AlbertForPreTraining", "pretraining"), ("AlbertForPreTraining", "none"),
     ("AlbertForMaskedLM", "none"), ("AlbertForSequenceClassification", "classification")],
)  # fmt: skip
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, kind: str, head: str) -> None:
    import torch

    theirs = of_transformers(kind)
    theirs.save_pretrained(tmp_path)
    pooled = kind != "AlbertForMaskedLM"
    found = load(nn.architecture("albert"), tmp_path / "model.safetensors", **SIZES, head=head, strict=pooled)
    assert found.missing == (() if pooled else ("pooler.weight", "pooler.bias"))
    arrays = texts()
    with torch.no_grad():
        tokens, read, segments = map(torch.tensor, arrays)
        whole = theirs.albert if head == "none" and "For" in kind else theirs
        expected = [t.numpy() for t in whole(input_ids=tokens, attention_mask=read, token_type_ids=segments).to_tuple()]
    for a, b in zip(outputs(found.model.eval(), *arrays), expected, strict=pooled):
        kept = arrays[1] > 0 if a.shape[:2] == arrays[1].shape else slice(None)
        assert np.abs(b).max() > 0.1
        np.testing.assert_allclose(a[kept], b[kept], rtol=0, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="heads divide"):
        build(**{**SIZES, "num_attention_heads": 3})
    with pytest.raises(UserError, match="groups divide"):
        build(**SIZES, num_hidden_groups=3)
    with pytest.raises(UserError, match="head"):
        build(**SIZES, head="regression")
    with pytest.raises(UserError, match="at least one class"):
        build(**SIZES, num_labels=0)
    with pytest.raises(UserError, match=r"12 positions\. Received 13"):
        outputs(scaled(), np.ones((1, 13), np.int64))
