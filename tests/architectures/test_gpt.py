"""Claims of the page of GPT."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.gpt import (
    GPT,
    build,
    dpo_loss,
    log_likelihood,
    loss,
    preferences,
    with_answers,
)
from nnatomy.errors import UserError
from nnatomy.functional import causal_attention
from nnatomy.interchange import load
from nnatomy.optim import AdamW
from nnatomy.random import Generator
from nnatomy.tasks.sampling import generate, probabilities
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent

Array = np.ndarray[Any, Any]
SIZES = {"vocab_size": 13, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 4, "dropout": 0.0}


@pytest.fixture(params=["pre", "post"])
def model(request: pytest.FixtureRequest) -> GPT:
    return scaled(request.param)


def scaled(norm: str = "pre", **sizes: Any) -> GPT:
    """A GPT whose weights are 10 times as large as at the start: attention that chooses, so that errors show."""
    nn.seed(1)
    made = build(**{**SIZES, "norm": norm, **sizes})
    with nn.no_grad():
        for name, parameter in made.named_parameters():
            if "ln_" not in name and parameter.ndim > 1:
                parameter.copy_(parameter * 10)
    made.eval()
    return made


def scores(model: GPT, tokens: Array, cache: Any = None) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(tokens), cache).numpy())


def tokens(rows: int = 3, time: int = 16, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 13, (rows, time))


def test_a_later_token_changes_no_earlier_score(model: GPT) -> None:
    """Causality, by perturbation of each place; the scores from that place on do change."""
    x = tokens(1)
    before = scores(model, x)
    for place in range(16):
        changed = x.copy()
        changed[:, place] = (x[:, place] + 1) % 13
        after = scores(model, changed)
        np.testing.assert_array_equal(after[:, :place], before[:, :place])
        assert (np.abs(after[:, place:] - before[:, place:]).max(axis=-1) > 1e-4).all()


@pytest.mark.parametrize("cuts", [(1,) * 16, (16,), (5, 1, 7, 3)])
def test_the_cache_gives_the_scores_of_the_whole(model: GPT, cuts: tuple[int, ...]) -> None:
    x, cache = tokens(), model.cache()
    parts = [scores(model, piece, cache) for piece in np.split(x, np.cumsum(cuts)[:-1], axis=1)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), scores(model, x), rtol=0, atol=1e-5)
    assert cache.length == 16
    with pytest.raises(UserError, match=r"16 positions\. Received 17"):
        scores(model, x[:, :1], cache)


def test_a_text_is_the_same_with_and_without_the_cache(model: GPT) -> None:
    """Past the last position, too, where the last half is read again."""
    a, b = (generate(model, tokens(2, 5), 40, generator=Generator(3), cached=cached) for cached in (True, False))
    np.testing.assert_array_equal(a, b)
    assert len(np.unique(a)) > 3
    assert a.shape == (2, 40)


def test_attention_with_a_cache_is_the_end_of_attention_without() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (Tensor(rng.normal(size=(2, 3, 7, 4))) for _ in range(3))
    whole = causal_attention(q, k, v).numpy()
    for last in (1, 3, 7):
        np.testing.assert_allclose(causal_attention(q[:, :, -last:], k, v).numpy(), whole[:, :, -last:], rtol=0, atol=1e-12)
    with pytest.raises(UserError, match="7 queries and 3 keys"):
        causal_attention(q, k[:, :, :3], v[:, :, :3])


@pytest.mark.parametrize(
    ("count", "options"),
    [
        (116_534_784, {"vocab_size": 40478, "n_positions": 512, "norm": "post"}),
        (124_439_808, {}),
        (354_823_168, {"n_embd": 1024, "n_layer": 24, "n_head": 16}),
        (774_030_080, {"n_embd": 1280, "n_layer": 36, "n_head": 20}),
        (1_557_611_200, {"n_embd": 1600, "n_layer": 48, "n_head": 25}),
    ],
)
def test_published_sizes(count: int, options: dict[str, Any]) -> None:
    """One block and the embeddings of each size have the page's formula, which gives the published counts."""
    V, P, D, L = (options.get(name, full) for name, full in
                  (("vocab_size", 50257), ("n_positions", 1024), ("n_embd", 768), ("n_layer", 12)))  # fmt: skip
    final = 0 if options.get("norm") == "post" else 2 * D
    assert V * D + P * D + L * (12 * D * D + 13 * D) + final == count
    small = build(**{**options, "vocab_size": 3, "n_positions": 5, "n_layer": 1})
    assert small.count_parameters() == 8 * D + 12 * D * D + 13 * D + final


def test_the_smallest_gpt2_has_its_published_size() -> None:
    assert build().count_parameters() == 124_439_808


def test_branches_start_smaller_by_their_number() -> None:
    """std 0.02 / sqrt(2 L) where outputs are added up; 0.02 elsewhere; gelu's maps and the tied table among them."""
    nn.seed(0)
    model = build(50, 64, 128, 8, 4)
    for name, parameter in model.named_parameters():
        if name.endswith("c_proj.weight"):
            assert float(parameter.numpy().std()) == pytest.approx(0.02 / math.sqrt(16), rel=0.05), name
        elif parameter.ndim > 1:
            assert float(parameter.numpy().std()) == pytest.approx(0.02, rel=0.05), name


def test_the_head_is_the_embedding() -> None:
    """One parameter, whose gradient is the sum over both of its uses: a token that is never read still gets one."""
    model = scaled()
    x = np.array([[1, 2, 3]])
    value, _ = loss(model, Tensor(x), Tensor(np.array([[2, 3, 4]])))
    value.backward()
    assert not [name for name, _ in model.named_parameters() if "head" in name]
    g = model.wte.weight.grad
    assert g is not None
    assert (np.abs(g.numpy()).max(axis=1) > 0).all()


def test_gelu_is_the_one_by_tanh() -> None:
    mlp = scaled().h[0].mlp
    with nn.no_grad():
        x = Tensor(np.linspace(-3, 3, 16, dtype=np.float32)[None, None])
        z = mlp.c_fc(x).numpy().astype(np.float64)
        y = 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
        np.testing.assert_allclose(mlp(x).numpy(), y @ mlp.c_proj.weight.numpy(), atol=1e-5)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("safe", [True, False])
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, norm: str, safe: bool) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config, kind = {
        "pre": (transformers.GPT2Config, transformers.GPT2LMHeadModel),
        "post": (transformers.OpenAIGPTConfig, transformers.OpenAIGPTLMHeadModel),
    }[norm]
    torch.manual_seed(0)
    theirs = kind(config(vocab_size=13, n_positions=16, n_embd=16, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    if safe:
        theirs.save_pretrained(tmp_path)
        file = tmp_path / "model.safetensors"
    else:  # as files were before: with the tied head, and with masks
        state = theirs.state_dict()
        prefix = "transformer."
        masks = {f"{prefix}h.{i}.attn.bias": torch.tril(torch.ones(1, 1, 16, 16)) for i in range(2)}
        file = tmp_path / "pytorch_model.bin"
        torch.save({**state, **masks}, file)
    found = load(nn.architecture("gpt"), file, **{**SIZES, "norm": norm})
    assert not found.missing
    x = tokens()
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).logits.numpy()
    found.model.eval()
    ours = scores(found.model, x)  # type: ignore[arg-type]
    assert np.abs(expected).max() > 0.5
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-4)


def test_sampling_keeps_the_likely() -> None:
    p = np.array([[0.5, 0.3, 0.15, 0.05]])
    z = np.log(p)
    np.testing.assert_allclose(probabilities(z), p)
    np.testing.assert_allclose(probabilities(z, top_k=2), [[0.625, 0.375, 0, 0]])
    np.testing.assert_allclose(probabilities(z, top_p=0.5), [[1, 0, 0, 0]])
    np.testing.assert_allclose(probabilities(z, top_p=0.79), [[0.625, 0.375, 0, 0]])
    np.testing.assert_allclose(probabilities(z, top_p=0.81), [[0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]])
    np.testing.assert_allclose(probabilities(z, temperature=0.5), p**2 / (p**2).sum())
    np.testing.assert_allclose(probabilities(z, temperature=0), [[1, 0, 0, 0]])
    shuffled = z[:, [2, 0, 3, 1]]
    np.testing.assert_allclose(probabilities(shuffled, top_k=2), [[0, 0.625, 0, 0.375]])
    for wrong in ({"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -1}):
        with pytest.raises(UserError, match="Sampling needs"):
            probabilities(z, **wrong)  # type: ignore[arg-type]


def test_what_is_drawn_has_the_models_probabilities() -> None:
    model = scaled(vocab_size=5)
    rows = np.tile([[1, 2, 3]], (4000, 1))
    drawn = generate(model, rows, 1, generator=Generator(0))[:, 0]
    expected = probabilities(scores(model, rows[:1])[:, -1])[0]
    assert np.abs(np.bincount(drawn, minlength=5) / 4000 - expected).max() < 0.03


def test_only_answers_count_in_instruction_tuning() -> None:
    x, following = with_answers([[1, 2, 3], [4, 5]], [[6, 7], [8]], 5)
    np.testing.assert_array_equal(x, [[1, 2, 3, 6, 7], [4, 5, 8, 8, 8]])
    np.testing.assert_array_equal(following, [[-100, -100, 6, 7, -100], [-100, 8, -100, -100, -100]])
    model = scaled()
    likely = log_likelihood(model, Tensor(x), Tensor(following)).numpy()
    p = np.log(probabilities(scores(model, x)))
    np.testing.assert_allclose(likely, [p[0, 2, 6] + p[0, 3, 7], p[1, 1, 8]], rtol=1e-5)
    assert float(loss(model, Tensor(x), Tensor(following))[0]) == pytest.approx(-likely.sum() / 3, rel=1e-5)
    with pytest.raises(UserError, match="fit into 6 tokens"):
        with_answers([[1, 2, 3]], [[4, 5, 6, 7]], 5)


def trained(model: GPT, objective: Any, batch: tuple[Array, ...], steps: int, lr: float) -> GPT:
    learner = GradientDescent(objective, partial(AdamW, lr=lr, weight_decay=0.0)).begin(model)
    state = learner.state()
    learner.set_total(steps)
    for step in range(steps):
        learner.prepare(state, step, 1.0)
        state, _ = learner.step(state, batch)
    learner.bind(state)
    return model


COLON, PLEASE, END = 12, 13, 14


def questions(letters: int = 12) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """All pairs of letters and a colon, in random order; a polite answer and a short one, both with the larger letter."""
    pairs = np.random.default_rng(0).permutation([(a, b) for a in range(letters) for b in range(letters)])
    asked = [[int(a), int(b), COLON] for a, b in pairs]
    return asked, [[int(max(p)), PLEASE, END] for p in pairs], [[int(max(p)), END] for p in pairs]


def test_instruction_tuning_then_dpo() -> None:
    """A model learns answers, then to prefer the polite ones, also to questions that it never saw; its answers stay right."""
    nn.seed(0)
    asked, polite, short = questions()
    held = slice(120, 144)
    model = build(15, 6, 32, 1, 4, 0.0)
    answers = [good if n % 2 else bad for n, (good, bad) in enumerate(zip(polite, short, strict=True))]
    trained(model, loss, with_answers(asked[:120], answers[:120], 6), 150, 1e-2)
    before = generate(model, asked[held], 2, temperature=0)

    batch = preferences(model, with_answers(asked[:120], polite[:120], 6), with_answers(asked[:120], short[:120], 6))
    value, margin = dpo_loss(model, *map(Tensor, batch))
    assert float(value) == pytest.approx(math.log(2), abs=1e-6)  # the model is its own reference
    np.testing.assert_allclose(margin.numpy(), 0, atol=1e-5)
    unseen = preferences(model, with_answers(asked[held], polite[held], 6), with_answers(asked[held], short[held], 6))
    trained(model, partial(dpo_loss, beta=0.5), batch, 10, 5e-4)
    value, margin = dpo_loss(model, *map(Tensor, unseen), beta=0.5)
    assert float(value) < 0.8 * math.log(2)
    assert (margin.numpy() > 0).all()

    after = generate(model, asked[held], 2, temperature=0)
    larger = np.max(np.array(asked[held])[:, :2], axis=1)
    assert min((rows[:, 0] == larger).mean() for rows in (before, after)) > 0.8
    assert (after[:, 1] == PLEASE).mean() > (before[:, 1] == PLEASE).mean() + 0.05


def test_dpo_follows_its_gradient() -> None:
    """d loss / d margin = -sigmoid(-margin): the gradient is large where the model prefers the wrong answer."""
    model = scaled(vocab_size=15)
    asked, good, bad = (rows[:4] for rows in questions(8))
    batch = preferences(model, with_answers(asked, good, 6), with_answers(asked, bad, 6))
    shift = np.array([3.0, -3.0, 0.0, 1.0], np.float32)
    shifted = (*batch[:4], batch[4] - shift, batch[5])
    _, margin = dpo_loss(model, *map(Tensor, shifted), beta=1.0)
    np.testing.assert_allclose(margin.numpy(), shift, atol=1e-4)
    value, _ = dpo_loss(model, *map(Tensor, shifted), beta=1.0)
    assert float(value) == pytest.approx(float(np.log1p(np.exp(-shift)).mean()), rel=1e-4)
    reference = Tensor(shifted[4], requires_grad=True)
    dpo_loss(model, *map(Tensor, shifted[:4]), reference, Tensor(shifted[5]), beta=1.0)[0].backward()
    assert reference.grad is not None
    np.testing.assert_allclose(reference.grad.numpy() * 4, 1 / (1 + np.exp(shift)), atol=1e-4)


def test_post_norm_bounds_the_sum_and_pre_norm_lets_it_grow() -> None:
    """After a post-norm block each token has mean square 1; the sum of pre-norm branches grows with depth."""
    squares = {}
    for norm in ("pre", "post"):
        model = scaled(norm, n_layer=6)
        with nn.no_grad():
            x = model.embed(Tensor(tokens(1)))
            squares[norm] = [float(x.square().mean())]
            for block in model.h:
                x = block(x)
                squares[norm].append(float(x.square().mean()))
    np.testing.assert_allclose(squares["post"][1:], 1, rtol=1e-2)
    assert squares["pre"][-1] > 2 * squares["pre"][1]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="heads divide"):
        build(**{**SIZES, "n_head": 3})
    with pytest.raises(UserError, match="norm"):
        build(**{**SIZES, "norm": "middle"})
    with pytest.raises(UserError, match="at least one token"):
        generate(scaled(), [], 3)
