"""Claims of the page of Llama and PaLM."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.architectures.transformers.llama import MLP, Llama, build, frequencies, loss, rotate
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.layers import RMSNorm
from nnatomy.random import Generator
from nnatomy.tasks.sampling import generate
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SIZES: dict[str, Any] = {
    "vocab_size": 13, "max_position_embeddings": 16, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 4,
}  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "llama2": {},
    "llama3": {"num_key_value_heads": 2, "rope_theta": 500000.0},
    "pairs": {"rotary": "pairs", "tie_word_embeddings": True},
    "palm": {"form": "palm", "num_key_value_heads": 1, "head_dim": 6, "tie_word_embeddings": True},
}


def scaled(**options: Any) -> Llama:
    """A Llama whose weights are large, with norms that are not 1: attention that chooses, so that errors show."""
    nn.seed(1)
    made = build(**{**SIZES, **options})
    rng = np.random.default_rng(2)
    with nn.no_grad():
        for parameter in made.parameters():
            std = 0.3 if parameter.ndim > 1 else 0.5
            parameter.copy_(Tensor((rng.normal(size=parameter.shape) * std + (parameter.ndim == 1)).astype(np.float32)))
    made.eval()
    return made


@pytest.fixture(params=FORMS)
def model(request: pytest.FixtureRequest) -> Llama:
    return scaled(**FORMS[request.param])


def scores(model: Llama, tokens: Array, cache: Any = None) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(tokens), cache).numpy())


def tokens(rows: int = 3, time: int = 16, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 13, (rows, time))


def test_a_later_token_changes_no_earlier_score(model: Llama) -> None:
    """Causality, by perturbation of each place; the scores from that place on do change."""
    x = tokens(1)
    before = scores(model, x)
    for place in range(16):
        changed = x.copy()
        changed[:, place] = (x[:, place] + 1) % 13
        after = scores(model, changed)
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        assert (np.abs(after[:, place:] - before[:, place:]).max(axis=-1) > 1e-4).all()


@pytest.mark.parametrize("cuts", [(1,) * 16, (5, 1, 7, 3)])
def test_the_cache_gives_the_scores_of_the_whole(model: Llama, cuts: tuple[int, ...]) -> None:
    model = model.astype("float64")
    x, cache = tokens(), model.cache()
    parts = [scores(model, piece, cache) for piece in np.split(x, np.cumsum(cuts)[:-1], axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), scores(model, x), rtol=0, atol=1e-12)
    assert cache.length == 16
    with pytest.raises(UserError, match=r"16 positions\. Received 17"):
        scores(model, x[:, :1], cache)


def test_a_text_is_the_same_with_and_without_the_cache(model: Llama) -> None:
    """Past the last position, too, where the last half is read again."""
    a, b = (generate(model, tokens(2, 5), 20, generator=Generator(3), cached=cached) for cached in (True, False))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (2, 20)
    assert len(np.unique(a)) > 3


def rotated(x: Array, places: Any, rotary: str, theta: float = 10000.0) -> Array:
    angles = np.atleast_1d(places)[:, None] * frequencies(x.shape[-1], theta)
    return np.asarray(rotate(Tensor(x), angles, rotary).numpy())


@pytest.mark.parametrize("rotary", ["half", "pairs"])
def test_rotated_scores_depend_on_the_distance_alone(rotary: str) -> None:
    """q rotated by m times k rotated by n is a function of m - n, for all q and k; lengths stay as they are."""
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 5, 1, 8))

    def score(m: int, n: int) -> Array:
        return (rotated(q, m, rotary) * rotated(k, n, rotary)).sum(axis=-1)

    for distance in (0, 1, 6):
        for start in (0, 1, 40, 1000):
            np.testing.assert_allclose(score(start + distance, start), score(distance, 0), rtol=0, atol=1e-11)
    assert (np.abs(score(1, 0) - score(6, 0)) > 1e-3).all()
    assert (np.abs(score(1, 0) - score(0, 1)) > 1e-3).all()  # the sign of the distance counts
    np.testing.assert_allclose(np.linalg.norm(rotated(q, 77, rotary), axis=-1), np.linalg.norm(q, axis=-1))
    np.testing.assert_array_equal(rotated(q, 0, rotary), q)


@pytest.mark.parametrize("rotary", ["half", "pairs"])
def test_a_rotation_is_a_product_of_complex_numbers(rotary: str) -> None:
    """(a + ib) e^(i t theta_i), theta_i = theta^(-2i / d), with the pairs that each layout names."""
    x = np.random.default_rng(0).normal(size=(3, 6))
    parts = (x[:, :3], x[:, 3:]) if rotary == "half" else (x[:, ::2], x[:, 1::2])
    turn = np.exp(1j * np.arange(3)[:, None] * 100.0 ** (-np.arange(3) / 3))
    z = (parts[0] + 1j * parts[1]) * turn
    expected = np.concatenate([z.real, z.imag], 1) if rotary == "half" else np.stack([z.real, z.imag], 2).reshape(3, 6)
    np.testing.assert_allclose(rotated(x, np.arange(3), rotary, 100.0), expected, rtol=0, atol=1e-14)


def test_the_model_does_not_see_where_a_text_starts(model: Llama) -> None:
    """All blocks give the same for the places 0, 1, ... as for 9, 10, ...: only differences count."""
    model = model.astype("float64")
    with nn.no_grad():
        x = start = model.embed_tokens(Tensor(tokens(1, 7)))
        for block in model.layers:
            x, start = block(x, model.angles(7)), block(start, model.angles(7, 9))
    np.testing.assert_allclose(start.numpy(), x.numpy(), rtol=0, atol=1e-11)


def test_the_two_layouts_differ_by_the_order_of_rows() -> None:
    """Rows 2i and 2i + 1 of each head of q_proj and k_proj become rows i and i + d/2, and nothing else changes."""
    halves, pairs = scaled(num_key_value_heads=2), scaled(num_key_value_heads=2, rotary="pairs")
    x = tokens()
    assert np.abs(scores(pairs, x) - scores(halves, x)).max() > 0.1
    state = {name: as_pairs(array) if rotated_by(name) else array for name, array in halves.state_dict().items()}
    pairs.load_state_dict(state)
    np.testing.assert_allclose(scores(pairs, x), scores(halves, x), rtol=0, atol=2e-5)


def rotated_by(name: str) -> bool:
    return "q_proj" in name or "k_proj" in name


def as_pairs(weight: Array, head_dim: int = 4) -> Array:
    """Rows in the order of halves -> in the order of pairs, in each head."""
    heads = np.asarray(weight).reshape(-1, 2, head_dim // 2, weight.shape[-1])
    return heads.swapaxes(1, 2).reshape(weight.shape)


def by_heads(x: Array, state: dict[str, Array], heads: int, kv_heads: int) -> Array:
    """Attention of one text by loops over heads and places, without anything of the library but `rotate`."""
    d = state["q_proj.weight"].shape[0] // heads
    q, k, v = (x @ state[f"{name}_proj.weight"].T for name in "qkv")
    places, joined = np.arange(len(x)), []
    for head in range(heads):
        own, shared = (slice(n * d, (n + 1) * d) for n in (head, head * kv_heads // heads))
        a, b = rotated(q[:, own], places, "half"), rotated(k[:, shared], places, "half")
        rows = []
        for t in places:
            e = np.exp(a[t] @ b[: t + 1].T / math.sqrt(d))
            rows.append((e / e.sum()) @ v[: t + 1, shared])
        joined.append(np.array(rows))
    return np.asarray(np.concatenate(joined, axis=1) @ state["o_proj.weight"].T)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_grouped_queries_are_attention_head_by_head(kv_heads: int) -> None:
    """With as many key-value heads as heads, ordinary attention; with one, multi-query attention."""
    model = scaled(num_key_value_heads=kv_heads).astype("float64")
    attention = model.layers[0].self_attn
    x = np.random.default_rng(3).normal(size=(7, 16))
    with nn.no_grad():
        found = attention(Tensor(x[None]), model.angles(7)).numpy()[0]
    state = {name: np.asarray(array) for name, array in attention.state_dict().items()}
    np.testing.assert_allclose(found, by_heads(x, state, 4, kv_heads), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_repeated_heads_turn_grouped_queries_into_ordinary_ones(kv_heads: int) -> None:
    """Keys and values repeated for each query of a group, in the order of heads, give the same scores."""
    grouped, ordinary = scaled(num_key_value_heads=kv_heads), scaled()
    state = {}
    for name, array in grouped.state_dict().items():
        if "k_proj" in name or "v_proj" in name:
            array = np.repeat(np.asarray(array).reshape(kv_heads, 4, 16), 4 // kv_heads, axis=0).reshape(16, 16)
        state[name] = array
    ordinary.load_state_dict(state)
    np.testing.assert_allclose(scores(ordinary, tokens()), scores(grouped, tokens()), rtol=0, atol=2e-5)


def test_grouped_queries_keep_fewer_keys_and_values() -> None:
    sizes = {}
    for kv_heads in (4, 2, 1):
        model = scaled(num_key_value_heads=kv_heads)
        cache = model.cache()
        scores(model, tokens(1), cache)
        sizes[kv_heads] = sum(math.prod(t.shape) for pair in cache.pairs if pair is not None for t in pair)
    assert sizes == {kv_heads: 2 * 2 * 16 * kv_heads * 4 for kv_heads in (4, 2, 1)}


def test_the_gate_alone_passes_through_silu() -> None:
    nn.seed(0)
    mlp = MLP(4, 6, (0.5, 0.5)).astype("float64")
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    gate, up, down = (np.asarray(mlp.state_dict()[f"{name}_proj.weight"]) for name in ("gate", "up", "down"))
    z = x @ gate.T
    expected = (z / (1 + np.exp(-z)) * (x @ up.T)) @ down.T
    np.testing.assert_allclose(mlp(Tensor(x)).numpy(), expected, rtol=0, atol=1e-13)


def test_rms_norm_divides_by_the_root_of_mean_square_plus_eps() -> None:
    """eps is inside the root, the mean is not subtracted, and a common factor of large inputs does not matter."""
    x = np.array([[3.0, 4.0, 5.0, 6.0]])
    square = 86 / 4
    norm = RMSNorm(4, eps=2.0).astype("float64")
    np.testing.assert_allclose(norm(Tensor(x)).numpy(), x / math.sqrt(square + 2), rtol=1e-14)
    small = RMSNorm(4, eps=1e-6).astype("float64")
    np.testing.assert_allclose(small(Tensor(1000 * x)).numpy(), small(Tensor(x)).numpy(), rtol=1e-6)


def test_mean_squares_are_not_rounded_to_half_precision() -> None:
    """300^2 is more than float16 can hold: JAX, which trains in half precision, computes squares and their mean in float32."""
    pytest.importorskip("jax")
    with nn.backend("jax"):
        y = F.rms_norm(nn.tensor(np.full((1, 8), 300.0, np.float16)), (8,), nn.tensor(np.ones(8, np.float16)), 1e-6)
        assert str(y.dtype) == "float16"
        np.testing.assert_array_equal(np.asarray(y.data), np.ones((1, 8), np.float16))


def test_palms_branches_read_the_same() -> None:
    """x + attn(n) + mlp(n) with one layer norm without bias; the scores are divided by the root of the width."""
    model = scaled(**FORMS["palm"]).astype("float64")
    block = model.layers[0]
    x = np.random.default_rng(0).normal(size=(1, 5, 16)) * 3 + 1
    with nn.no_grad():
        weight = np.asarray(block.state_dict()["input_layernorm.weight"])
        n = weight * (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        expected = x + block.self_attn(Tensor(n), model.angles(5)).numpy() + block.mlp(Tensor(n)).numpy()
        np.testing.assert_allclose(block(Tensor(x), model.angles(5)).numpy(), expected, rtol=0, atol=1e-12)
        y = model.norm(Tensor(x)).numpy()
        z = y @ np.asarray(model.state_dict()["embed_tokens.weight"]).T / 4
        np.testing.assert_allclose(model.scores(Tensor(x)).numpy(), z, rtol=0, atol=1e-12)
    assert not [name for name, _ in model.named_parameters() if "bias" in name or "post_attention" in name]


SIZES_OF = {
    "7B": (6_738_415_616, {}),
    "13B": (13_015_864_320, {
        "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40}),
    "30B": (32_528_943_616, {
        "hidden_size": 6656, "intermediate_size": 17920, "num_hidden_layers": 60, "num_attention_heads": 52}),
    "65B": (65_285_660_672, {
        "hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 80, "num_attention_heads": 64}),
    "Llama 2 70B": (68_976_648_192, {
        "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
        "num_key_value_heads": 8}),
    "Llama 3 8B": (8_030_261_248, {"vocab_size": 128256, "intermediate_size": 14336, "num_key_value_heads": 8}),
    "Llama 3 70B": (70_553_706_496, {
        "vocab_size": 128256, "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8}),
    "PaLM 8B": (8_632_012_800, {
        "vocab_size": 256000, "hidden_size": 4096, "intermediate_size": 16384, "num_attention_heads": 16, "head_dim": 256,
        "num_key_value_heads": 1, "form": "palm", "tie_word_embeddings": True}),
    "PaLM 62B": (62_495_662_080, {
        "vocab_size": 256000, "hidden_size": 8192, "intermediate_size": 32768, "num_hidden_layers": 64,
        "num_attention_heads": 32, "head_dim": 256, "num_key_value_heads": 1, "form": "palm", "tie_word_embeddings": True}),
    "PaLM 540B": (540_356_474_880, {
        "vocab_size": 256000, "hidden_size": 18432, "intermediate_size": 73728, "num_hidden_layers": 118,
        "num_attention_heads": 48, "head_dim": 256, "num_key_value_heads": 1, "form": "palm", "tie_word_embeddings": True}),
}  # fmt: skip


def formula(
    vocab_size: int = 32000, hidden_size: int = 4096, intermediate_size: int = 11008, num_hidden_layers: int = 32,
    num_attention_heads: int = 32, num_key_value_heads: int | None = None, head_dim: int | None = None,
    tie_word_embeddings: bool = False, form: str = "llama", **_: Any,
) -> int:  # fmt: skip
    """The page's: V D (1 or 2) + L (2 D d (H + K) + 3 D F + D (1 or 2)) + D."""
    D, H = hidden_size, num_attention_heads
    K, d = num_key_value_heads or H, head_dim or D // H
    block = 2 * D * d * (H + K) + 3 * D * intermediate_size + D * (1 if form == "palm" else 2)
    return vocab_size * D * (1 if tie_word_embeddings else 2) + num_hidden_layers * block + D


@pytest.mark.parametrize("name", SIZES_OF)
def test_published_sizes(name: str) -> None:
    count, options = SIZES_OF[name]
    assert formula(**options) == count


@pytest.mark.parametrize("form", FORMS)
def test_a_model_has_the_size_of_the_formula(form: str) -> None:
    """With which the published sizes are computed: every term of it differs from the others here."""
    options = {**SIZES, "intermediate_size": 26, "num_hidden_layers": 3, **FORMS[form]}
    assert build(**options).count_parameters() == formula(**options)


def test_the_library_counts_the_published_sizes() -> None:
    """On the meta device, where weights have shapes and no memory; and its smallest shapes are ours."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from nnatomy.architectures.transformers.llama.library import configuration

    for name in ("7B", "Llama 3 8B"):
        count, options = SIZES_OF[name]
        with torch.device("meta"):
            theirs = transformers.LlamaForCausalLM(configuration(**options))
        assert sum(p.numel() for p in theirs.parameters()) == count


def test_initial_weights() -> None:
    """N(0, 0.02^2) in a Llama; N(0, 1 / inputs) in PaLM, but N(0, 1) in its embedding: its first scores have variance 1."""
    nn.seed(0)
    wide = {"vocab_size": 200, "max_position_embeddings": 8, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1,
            "num_attention_heads": 4}  # fmt: skip
    for name, parameter in build(**wide).named_parameters():
        if parameter.ndim > 1:
            assert float(parameter.numpy().std()) == pytest.approx(0.02, rel=0.06), name
    palm = build(**{**wide, "form": "palm", "tie_word_embeddings": True, "head_dim": 6})
    for name, parameter in palm.named_parameters():
        if parameter.ndim > 1:
            std = 1.0 if "embed" in name else parameter.shape[-1] ** -0.5
            assert float(parameter.numpy().std()) == pytest.approx(std, rel=0.08), name
    first = palm.scores(Tensor(np.random.default_rng(0).normal(size=(1, 50, 64)).astype(np.float32))).numpy()
    assert float(first.std()) == pytest.approx(1, rel=0.1)


def test_a_larger_theta_turns_slower() -> None:
    """The slowest pair of a head of 128 features comes round once in 54,410 places, and in 2,559,196 with theta 500000."""
    assert frequencies(128, 10000.0)[0] == frequencies(128, 500000.0)[0] == 1.0
    places = [2 * math.pi / frequencies(128, theta)[-1] for theta in (10000.0, 500000.0)]
    assert [round(n) for n in places] == [54410, 2559196]
    x = tokens()
    assert np.abs(scores(scaled(rope_theta=500000.0), x) - scores(scaled(), x)).max() > 1e-2


def test_equal_vectors_score_highest_at_distance_zero() -> None:
    """q = k gives a weighted sum of cosines of the distance, which is largest where all are 1."""
    q = np.random.default_rng(0).normal(size=(1, 16))
    found = (rotated(np.tile(q, (200, 1)), np.arange(200), "half") * q).sum(axis=-1)
    pairs = q[0, :8] ** 2 + q[0, 8:] ** 2
    np.testing.assert_allclose(found, np.cos(np.arange(200)[:, None] * frequencies(16, 10000.0)) @ pairs, atol=1e-12)
    assert found.argmax() == 0


def test_the_head_is_untied_unless_wanted() -> None:
    """A tied embedding gets the gradient of both of its uses: that of a token that is never read, too."""
    x, following = np.array([[1, 2, 3]]), np.array([[2, 3, 4]])
    for tied in (False, True):
        model = scaled(tie_word_embeddings=tied)
        assert ("lm_head.weight" in dict(model.named_parameters())) is not tied
        loss(model, Tensor(x), Tensor(following))[0].backward()
        g = model.embed_tokens.weight.grad
        assert g is not None
        assert (np.abs(g.numpy()).max(axis=1) > 0).sum() == (13 if tied else 3)


@pytest.mark.parametrize("form", ["llama2", "llama3", "tied"])
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, form: str) -> None:
    """A model of the library's, as it is, and written by it; its norms and angles are computed in float32 there."""
    torch = pytest.importorskip("torch")
    theirs = of_the_library({**FORMS.get(form, {}), "tie_word_embeddings": form == "tied"})
    if form == "tied":  # as PyTorch's files hold it: the head twice, and the frequencies of early files
        file = tmp_path / "pytorch_model.bin"
        old = {f"model.layers.{n}.self_attn.rotary_emb.inv_freq": torch.tensor(frequencies(4, 10000.0)) for n in (0, 1)}
        torch.save({**theirs.state_dict(), **old}, file)
    else:
        theirs.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
    options = {**SIZES, **FORMS.get(form, {}), "tie_word_embeddings": form == "tied"}
    found = load(nn.architecture("llama"), file, **options)
    assert not found.missing
    compare_outputs(found.model, theirs)


def test_a_file_with_the_names_of_meta_is_loaded(tmp_path: Path) -> None:
    """consolidated.00.pth: other names, neighbors as pairs, and the rotary frequencies, which are left out."""
    torch = pytest.importorskip("torch")
    from nnatomy.architectures.transformers.llama.names import META

    theirs = of_the_library({"num_key_value_heads": 2})
    ends = {ours: meta for meta, ours in META.items()}
    whole = {"model.embed_tokens.": "tok_embeddings.", "model.norm.": "norm.", "lm_head.": "output."}
    state = {"rope.freqs": torch.ones(2)}
    for name, tensor in theirs.state_dict().items():
        for ours, meta in {**whole, "model.layers.": "layers.", **ends}.items():
            name = name.replace(ours, meta)
        state[name] = torch.tensor(as_pairs(tensor.numpy())) if ".wq." in name or ".wk." in name else tensor
    torch.save(state, tmp_path / "consolidated.00.pth")
    options = {**SIZES, "num_key_value_heads": 2, "rotary": "pairs"}
    found = load(nn.architecture("llama"), tmp_path / "consolidated.00.pth", **options)
    assert not found.missing
    assert found.left_out == ("rope.freqs",)
    compare_outputs(found.model, theirs)


def of_the_library(options: dict[str, Any]) -> Any:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from nnatomy.architectures.transformers.llama.library import configuration

    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(configuration(**{**SIZES, **options})).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs


def compare_outputs(model: Any, theirs: Any) -> None:
    import torch

    x = tokens()
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).logits.numpy()
    model.eval()
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(scores(model, x), expected, rtol=0, atol=1e-4)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="divide the query heads"):
        build(**{**SIZES, "num_key_value_heads": 3})
    for wrong in ({"num_attention_heads": 16}, {"head_dim": 3}, {"hidden_size": 18}):
        with pytest.raises(UserError, match="even number of features"):
            build(**{**SIZES, **wrong})
    for name in ("rotary", "form"):
        with pytest.raises(UserError, match=f"{name} has this name"):
            build(**{**SIZES, name: "middle"})
