"""Claims of the page of the transformer."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.transformer import Transformer, build, loss, sinusoids
from nnatomy.architectures.transformers.transformer import model as of_the_page
from nnatomy.architectures.transformers.transformer.picture import watch
from nnatomy.architectures.transformers.transformer.recipe import fit_to, learn
from nnatomy.data.fields import round_lengths
from nnatomy.data.kinds.pairs.pairs import PairSplit
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS
from nnatomy.errors import UserError
from nnatomy.functional import cross_entropy
from nnatomy.tasks.search import search
from nnatomy.tensor import Tensor
from nnatomy.training.learners.learner import ADAMW

Array = np.ndarray[Any, Any]
SIZES: dict[str, Any] = {
    "source": 9, "target": 9, "d_model": 8, "nhead": 2, "num_encoder_layers": 2, "num_decoder_layers": 2, "dim_feedforward": 12,
    "dropout": 0.0,
}  # fmt: skip


def made(**options: Any) -> Transformer:
    """A model whose matrices are larger than at the start: attention that chooses, so that errors show."""
    nn.seed(1)
    model = build(**SIZES | options).astype("float64")
    with nn.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 and "embedding" not in name:
                parameter.copy_(parameter * 2)
    return model.eval()


@pytest.fixture(params=["post", "post-final", "pre"])
def model(request: pytest.FixtureRequest) -> Transformer:
    return made(norm=request.param)


def batch() -> tuple[Array, ...]:
    sources = [np.array(s) for s in ([4, 5, 6, 7, 8], [5, 4], [8])]
    targets = [np.array(t) for t in ([4, 5], [7, 6, 5, 4], [6])]
    return PairSplit(tuple(sources), tuple(targets), ("",) * 3).take(np.arange(3))


def scores(model: Transformer, *arrays: Array) -> Array:
    with nn.no_grad():
        return np.asarray(model(*map(nn.tensor, arrays)).numpy())


def test_a_later_target_token_changes_no_earlier_score(model: Transformer) -> None:
    """Causality, by perturbation of each place; from that place on the scores do change."""
    source, lengths, given, _ = batch()
    before = scores(model, source, lengths, given)
    for place in range(given.shape[1]):
        other = given.copy()
        other[:, place] = (other[:, place] + 1) % 9
        after = scores(model, source, lengths, other)
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        assert (np.abs(after[:, place:] - before[:, place:]).max(axis=-1) > 1e-6).all()


def test_every_source_token_reaches_every_score(model: Transformer) -> None:
    """The encoder has no order of reading: a change of any real token changes every place of encoder and decoder."""
    source, lengths, given, _ = batch()
    before = scores(model, source, lengths, given)
    for place in range(source.shape[1]):
        other = source.copy()
        other[:, place] = (other[:, place] + 1) % 9
        after = scores(model, other, lengths, given)
        changed = (np.abs(after - before).max(axis=-1) > 1e-9).all(axis=1)
        np.testing.assert_array_equal(changed, place < lengths)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_padding_changes_nothing(smoothing: float) -> None:
    """Not the scores, not the smoothed loss, not the gradients, whatever is in the padding and however much there is."""
    model, arrays, found = made(label_smoothing=smoothing), batch(), []
    for wide in (arrays, round_lengths(PairSplit((), (), ()).fields, arrays, lambda n: n + 7)):
        source, lengths, given, following = wide
        if wide is not arrays:
            source = np.where(np.arange(source.shape[1]) < lengths[:, None], source, 3)
            given = np.where(following == -100, 5, given)
        model.zero_grad()
        value, made_scores = loss(model, *map(nn.tensor, (source, lengths, given, following)))
        value.backward()
        kept = made_scores.numpy()[following != -100]
        found.append([value.numpy(), kept, *(p.grad.numpy() for p in model.parameters() if p.grad is not None)])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_each_step_divides_its_attention_among_real_tokens(model: Transformer) -> None:
    """Weights of a row sum to 1; with padding in the batch they are those without it, and 0 for what pads."""
    source, lengths, given, _ = batch()
    kept: list[Array] = []

    def keep(attention: Any, arguments: tuple[Any, ...]) -> None:
        q, k, _, seen = arguments
        kept.append(nn.functional.attention_weights(q, k, mask=seen).numpy())

    for layer in model.decoder.layers:
        layer.multihead_attn.register_forward_pre_hook(keep)
    scores(model, source, lengths, given)
    for weights in kept:  # (batch, heads, T, S)
        np.testing.assert_allclose(weights.sum(axis=-1), 1)
        hidden = np.broadcast_to((np.arange(5) >= lengths[:, None])[:, None, None], weights.shape)
        assert (weights[hidden] == 0).all()
        assert (weights[~hidden] > 0).all()
    alone = watch(made(norm=_norm(model)), source[1, :2], given[1, 1:])
    np.testing.assert_allclose(np.array(kept)[:2, 1, :, :, :2], alone, rtol=1e-9)


def _norm(model: Transformer) -> str:
    if model.encoder.norm is None:
        return "post"
    return "pre" if model.encoder.layers[0].pre else "post-final"


def test_the_cache_gives_the_scores_of_teacher_forcing(model: Transformer) -> None:
    source, lengths, given, _ = batch()
    whole = scores(model, source, lengths, given)
    with nn.no_grad():
        state = model.begin(nn.tensor(source), nn.tensor(lengths))
        for t in range(given.shape[1]):
            now, state = model.step(state, nn.tensor(given[:, t]))
            np.testing.assert_allclose(now.numpy(), whole[:, t], rtol=1e-9, atol=1e-12)
    assert state[0][0][0].shape[2] == given.shape[1]


@pytest.mark.parametrize("beam", [1, 3])
def test_search_with_the_cache_is_search_without(beam: int) -> None:
    """The cache follows each hypothesis of a beam: reordered wrongly, it would write something else."""
    model = made(d_model=16, nhead=4)
    source, lengths, _, _ = batch()
    how: dict[str, Any] = {"start": BOS, "end": EOS, "longest": 6, "beam": beam, "length_penalty": 0.6}
    cached = search(model.step, model.begin(nn.tensor(source), nn.tensor(lengths)), 3, **how)

    def whole(state: Any, last: Any) -> tuple[Any, Any]:
        source, lengths, written = state
        written = np.concatenate([written.numpy(), np.asarray(last.numpy())[:, None]], axis=1)
        return nn.tensor(scores(model, source.numpy(), lengths.numpy(), written)[:, -1]), (source, lengths, Tensor(written))

    start = (nn.tensor(source), nn.tensor(lengths), Tensor(np.zeros((3, 0), np.int64)))
    found = search(whole, start, 3, **how)
    np.testing.assert_array_equal(cached.tokens, found.tokens)
    np.testing.assert_allclose(cached.scores, found.scores, rtol=1e-6)
    assert len({tuple(row) for row in found.tokens.tolist()}) > 1


def size(d: int, f: int, layers: int) -> int:
    """The page's formula, without embeddings."""
    return layers * (12 * d * d + 4 * d * f + 24 * d + 2 * f)


def test_the_base_model_has_its_published_size() -> None:
    """44,138,496 without embeddings; with the norms that end torch.nn.Transformer's stacks, 2 x 2 x 512 numbers more."""
    assert size(512, 2048, 6) == 44_138_496
    assert size(512, 2048, 6) + 37000 * 512 == 63_082_496
    base = build(source=1, target=1, norm="post-final")
    ours = {name: p.shape for name, p in base.named_parameters() if "embedding" not in name}
    assert sum(math.prod(shape) for shape in ours.values()) == 44_138_496 + 2048 == 44_140_544
    for norm, more in (("post", 0), ("post-final", 4 * 8), ("pre", 4 * 8)):
        assert build(**SIZES | {"norm": norm}).count_parameters() == size(8, 12, 2) + 9 * 8 + more
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        theirs = torch.nn.Transformer(batch_first=True)
    assert ours == {name: tuple(p.shape) for name, p in theirs.named_parameters()}


@pytest.mark.parametrize(("tie", "tables"), [("all", 1), ("target", 2), ("none", 3)])
def test_tied_matrices_are_one(tie: str, tables: int) -> None:
    """One parameter, whose gradient is the sum over its uses: with "all", tokens that are never read still get one."""
    model = made(tie=tie)
    names = [name for name, _ in model.named_parameters() if "embedding" in name or "output" in name]
    assert names == ["source_embedding.weight", "target_embedding.weight", "output.weight"][:tables]
    loss(model, *map(nn.tensor, batch()))[0].backward()
    gradient = model.source_embedding.weight.grad
    assert gradient is not None
    assert bool((np.abs(gradient.numpy()).max(axis=1) > 0).all()) is (tie == "all")


def test_positions_are_those_of_the_paper() -> None:
    p = sinusoids(0, 60, 16)
    for t, i in ((0, 0), (1, 0), (7, 3), (59, 7)):
        assert p[t, 2 * i] == pytest.approx(math.sin(t / 10000 ** (2 * i / 16)))
        assert p[t, 2 * i + 1] == pytest.approx(math.cos(t / 10000 ** (2 * i / 16)))
    layer = nn.SinusoidalPositionalEncoding(16)
    np.testing.assert_allclose(layer(nn.tensor(np.zeros((1, 60, 16)))).numpy()[0], p, atol=1e-12)
    np.testing.assert_array_equal(sinusoids(20, 25, 16), p[20:25])


def test_a_shift_of_place_is_one_rotation() -> None:
    """p_(t + k) is a linear map of p_t that does not depend on t; p_s . p_t depends on the distance alone."""
    p, k = sinusoids(0, 40, 12).reshape(40, 6, 2), 5
    angle = k / 10000.0 ** (np.arange(6) / 6)
    sine = p[:-k, :, 0] * np.cos(angle) + p[:-k, :, 1] * np.sin(angle)
    cosine = p[:-k, :, 1] * np.cos(angle) - p[:-k, :, 0] * np.sin(angle)
    np.testing.assert_allclose(np.stack([sine, cosine], axis=2), p[k:], atol=1e-12)
    products = p.reshape(40, 12) @ p.reshape(40, 12).T
    for distance in range(40):
        np.testing.assert_allclose(np.diagonal(products, distance), products[0, distance], atol=1e-12)
    np.testing.assert_allclose(np.diagonal(products), 12 / 2)


def test_without_positions_the_order_of_the_source_is_invisible(monkeypatch: pytest.MonkeyPatch, model: Transformer) -> None:
    """A permuted source then gives the same scores; with positions it does not."""
    source, given, n = np.array([[4, 5, 6, 7, 8]]), np.array([[1, 4, 5]]), np.array([5])
    mixed = source[:, [3, 0, 4, 2, 1]]
    assert np.abs(scores(model, mixed, n, given) - scores(model, source, n, given)).max() > 1e-3
    monkeypatch.setattr(of_the_page, "sinusoids", lambda start, stop, width: np.zeros((stop - start, width)))
    np.testing.assert_allclose(scores(model, mixed, n, given), scores(model, source, n, given), atol=1e-12)


def test_products_of_wide_queries_are_divided_by_the_root_of_their_width() -> None:
    """q . k of independent numbers of variance 1 has variance d; divided by sqrt(d), attention stays as soft for any width."""
    rng, largest = np.random.default_rng(0), {}
    for d in (4, 256):
        q = rng.normal(size=(500, 1, d))
        assert float((q @ rng.normal(size=(d, 500)))[:, 0].var()) == pytest.approx(d, rel=0.2)
        keys = rng.normal(size=(500, 6, d))
        for scaled in (True, False):
            weights = nn.functional.attention_weights(nn.tensor(q), nn.tensor(keys), scale=None if scaled else 1.0).numpy()
            largest[d, scaled] = float(weights.max(axis=-1).mean())
    assert largest[256, True] == pytest.approx(largest[4, True], abs=0.03)
    assert largest[256, False] > 0.9 > largest[4, False]


def test_the_smoothed_loss_is_that_of_the_page() -> None:
    model = made(label_smoothing=0.1)
    source, lengths, given, following = batch()
    value, made_scores = loss(model, *map(nn.tensor, (source, lengths, given, following)))
    z = made_scores.numpy()
    log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    places = [(b, t) for b, t in np.argwhere(following != -100)]
    q = {place: np.where(np.arange(9) == following[place], 0.9 + 0.1 / 9, 0.1 / 9) for place in places}
    assert float(value) == pytest.approx(-np.mean([q[place] @ log_p[place] for place in places]))
    q_true, q_other = 0.92, 0.02  # 5 tokens: no scores are better than ln q, whose loss is q's entropy
    least = -(q_true * math.log(q_true) + 4 * q_other * math.log(q_other))
    best = nn.tensor(np.log([[q_true, q_other, q_other, q_other, q_other]]))
    assert float(cross_entropy(best, nn.tensor(np.array([0])), label_smoothing=0.1)) == pytest.approx(least)
    assert least == pytest.approx(0.390, abs=1e-3)
    sure = nn.tensor(np.array([[50.0, 0, 0, 0, 0]]))
    assert float(cross_entropy(sure, nn.tensor(np.array([0])), label_smoothing=0.1)) > 10 * least


def test_the_rate_is_the_papers() -> None:
    """d_model^-0.5 min(s^-0.5, s warmup^-1.5), by the learner itself; Adam with 0.9, 0.98 and 1e-9."""
    learner = learn(64, 400).begin(build(**SIZES))
    learner.set_total(5000)
    state = learner.state()
    for s in (1, 2, 399, 400, 401, 4000):
        learner.prepare(state, s - 1, 1.0)
        rate = learner.optimizer.lr * state["optimizers"]["all"]["factor"]
        assert rate == pytest.approx(64**-0.5 * min(s**-0.5, s * 400**-1.5))
    assert learn(512, 4000).optimizer.keywords["lr"] == pytest.approx(6.99e-4, rel=1e-3)
    assert {k: learner.spec.optimizer.keywords[k] for k in ("betas", "eps")} == {"betas": (0.9, 0.98), "eps": 1e-9}
    assert learner.spec.optimizer.func is not ADAMW.func


def test_where_weights_start() -> None:
    """Rows of embeddings, times sqrt(d), have mean square 1, the sinusoids 1/2; matrices by Glorot's law, biases 0."""
    nn.seed(0)
    model = build(**SIZES | {"source": 400, "target": 400, "d_model": 64, "dim_feedforward": 128})
    tokens = nn.tensor(np.arange(400)[None])
    rows = model.source_embedding(tokens).numpy() * math.sqrt(64)
    assert float((rows**2).mean()) == pytest.approx(1, rel=0.05)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            np.testing.assert_array_equal(parameter.numpy(), 1.0 if "norm" in name and "weight" in name else 0.0)
        elif "embedding" not in name:
            bound = math.sqrt(6 / sum(parameter.shape))
            assert 0.95 * bound < np.abs(parameter.numpy()).max() <= bound * (1 + 1e-6), name


def test_post_norm_keeps_the_mean_square_at_one() -> None:
    """With fresh norms, each place leaves a post-norm stack with mean 0 and mean square 1; the sums of "pre" grow."""
    squares = {}
    for norm in ("post", "pre"):
        model = made(norm=norm, num_encoder_layers=6, d_model=16)
        model.encoder.norm = None
        with nn.no_grad():
            y, _ = model.encode(nn.tensor(np.array([[4, 5, 6]])), nn.tensor(np.array([3])))
        squares[norm] = (y.numpy() ** 2).mean(axis=-1)
    np.testing.assert_allclose(squares["post"], 1, rtol=1e-3)
    assert (squares["pre"] > 2).all()


def test_dropout_is_at_the_papers_places_alone() -> None:
    """On embeddings and on what each part adds: with nearly all dropped, a pre-norm layer passes its input on."""
    model = made(dropout=0.999999, norm="pre").train()
    nn.seed(0)
    x = nn.tensor(np.random.default_rng(0).normal(size=(1, 5, 8)))
    with nn.no_grad():
        np.testing.assert_array_equal(model.encoder.layers[0](x, None).numpy(), x.numpy())
        assert not model.embed(model.source_embedding, nn.tensor(np.array([[1, 2]]))).numpy().any()
        attention = model.encoder.layers[0].self_attn
        q, k, v = attention.project(x)
        np.testing.assert_array_equal(attention(q, k, v).numpy(), attention(q, k, v).numpy())
        assert attention(q, k, v).numpy().any()


def test_a_users_pairs_train_and_translate(tmp_path: Path) -> None:
    words = {"ein": "a", "hund": "dog", "mann": "man", "läuft": "runs", "schläft": "sleeps", "der": "the"}
    sentences = [(a, b, c) for a in ("ein", "der") for b in ("hund", "mann") for c in ("läuft", "schläft")]
    lines = [f"{' '.join(s)} {n}\t{' '.join(words[w] for w in s)} {n}" for n in range(12) for s in sentences]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = nn.train("transformer", str(tmp_path / "pairs.tsv"), out=tmp_path / "run", epochs=2, report=False,
                     settings={"d_model": 16, "dim_feedforward": 16, "layers": 1, "beam": 2})  # fmt: skip
    assert found.dataset.kind == "pairs"
    (tmp_path / "new.txt").write_text("der hund läuft 3\n", encoding="utf-8")
    (said,) = nn.predict(found.run.folder, tmp_path / "new.txt").columns["translation"]
    assert said
    assert set(said.lower().split()) <= {*words.values(), *map(str, range(12))}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "none"}, "norm"), ({"tie": "both"}, "tie"), ({"beam": 0}, "beam"), ({"nhead": 3}, "heads divide"),
        ({"target": 8}, "one vocabulary"), ({"label_smoothing": 1.0}, "label_smoothing"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(**SIZES | options)


def test_two_vocabularies_are_not_tied() -> None:
    """Equal sizes are not enough: the same number would mean different tokens."""
    letters = nn.data.load("letters", limit=20)
    with pytest.raises(UserError, match="one vocabulary"):
        partial(fit_to, letters)(tie="all")
