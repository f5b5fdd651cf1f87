"""Claims of the page of DistilBERT."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.transformers.bert import build as build_bert
from nnatomy.architectures.transformers.distilbert import (
    build,
    distillation_loss,
    divergence,
    inherited,
    masked_loss,
    student_loss,
)
from nnatomy.architectures.transformers.distilbert.recipe import pair, passages
from nnatomy.data import load as load_data
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.tensor import Tensor
from nnatomy.training.batches import Feed
from nnatomy.training.learners import GradientDescent

Array = np.ndarray[Any, Any]
SIZES = {
    "vocab_size": 13, "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 32, "max_position_embeddings": 12, "dropout": 0.0,
}  # fmt: skip
OF_BERT = {
    "vocab_size": 13, "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 32,
    "max_position_embeddings": 12, "dropout": 0.0,
}  # fmt: skip


def scaled(head: str = "none", **sizes: Any) -> Any:
    """A DistilBERT whose matrices are 10 times as large as at the start: attention that chooses, so that errors show."""
    nn.seed(1)
    made = build(**{**SIZES, "head": head, **sizes})
    with nn.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" not in name.lower() and parameter.ndim > 1:
                parameter.copy_(parameter * 10)
    made.eval()
    return made


def outputs(model: Any, *arrays: Array) -> Array:
    with nn.no_grad():
        return np.asarray(model(*map(Tensor, arrays)).numpy())


def texts(rows: int = 3, time: int = 10) -> tuple[Array, Array]:
    """Tokens and a mask of their padding."""
    rng = np.random.default_rng(0)
    read = np.arange(time) < np.array([[time], [time - 3], [4]])[:rows]
    return rng.integers(1, 13, (rows, time)), read.astype(np.int64)


@pytest.fixture(scope="module")
def stories() -> Any:
    return load_data("stories", accepts=("passages",), tasks=("masked language",))


@pytest.mark.parametrize("head", ["none", "masked", "classification"])
def test_what_is_masked_influences_nothing(head: str) -> None:
    model, (tokens, read) = scaled(head), texts()
    before = outputs(model, tokens, read)
    after = outputs(model, np.where(read, tokens, (tokens + 5) % 13), read)
    kept = slice(None) if head == "classification" else read > 0
    np.testing.assert_array_equal(before[kept], after[kept])
    np.testing.assert_array_equal(before, outputs(model, tokens, read.sum(axis=1)))


def test_a_token_looks_to_both_sides() -> None:
    model, (tokens, _) = scaled(), texts(1)
    before = outputs(model, tokens)
    for place in range(tokens.shape[1]):
        changed = tokens.copy()
        changed[:, place] = tokens[:, place] % 12 + 1
        assert (np.abs(outputs(model, changed) - before).max(axis=-1) > 1e-4).all(), place


@pytest.mark.parametrize(("count", "head"), [(66_362_880, "none"), (66_985_530, "masked")])
def test_published_sizes(count: int, head: str) -> None:
    """The page's formula gives the published counts, and one layer of that width has the parameters that it says."""
    D = 768

    def formula(V: int, P: int, L: int) -> int:
        return (V + P + 2) * D + L * (12 * D * D + 13 * D) + (D * D + 3 * D + V) * (head == "masked")

    assert formula(30_522, 512, 6) == count
    assert build(7, D, 1, 12, 4 * D, 5, head=head).count_parameters() == formula(7, 5, 1)


def test_the_whole_size_is_the_published_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And 61% of BERT's 109,482,240: half the layers, but the whole embedding."""
    for name in ("normal", "uniform"):  # nothing is drawn: zeros take no memory until they are written
        monkeypatch.setattr(nn.random.Generator, name, lambda self, shape, *_, **__: np.zeros(shape, np.float32))
    made = build()
    assert made.count_parameters() == 66_362_880
    assert made.count_parameters() / 109_482_240 == pytest.approx(0.606, abs=1e-3)
    names = [name for name, _ in made.named_parameters()]
    assert not [name for name in names if "token_type" in name or "pooler" in name]


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


def test_every_second_layer_starts_the_student() -> None:
    """0, 2, 4, 7, 9 and 11 of 12; a student of the layers that it names is the teacher without the others."""
    layers = sorted({int(name.split(".")[3]) for name in inherited(6).values() if ".layer." in name})
    assert layers == [0, 2, 4, 7, 9, 11]
    made: Any = pair_of()
    with nn.no_grad():
        for parameter in made.teacher.parameters():
            parameter.copy_(parameter + Tensor(np.full(parameter.shape, 0.01, np.float32)))
    made.inherit()
    bert = made.teacher.bert
    with nn.no_grad():
        bert.embeddings.token_type_embeddings.weight.copy_(bert.embeddings.token_type_embeddings.weight * 0)
    bert.encoder.layer = [bert.encoder.layer[0], bert.encoder.layer[3]]
    tokens, read = texts()
    v, h = made.teach(Tensor(tokens), Tensor(read))
    np.testing.assert_allclose(outputs(made.student.distilbert, tokens, read), h.numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs(made.student, tokens, read), v.numpy(), atol=1e-5)


def pair_of() -> Any:
    from nnatomy.architectures.transformers.distilbert import Distillation

    nn.seed(2)
    student: Any = build(**SIZES, head="masked")
    teacher: Any = build_bert(**OF_BERT, head="pretraining")
    return Distillation(student, teacher)


def test_the_loss_is_the_sum_of_three_terms() -> None:
    """By NumPy, over the tokens that are read: 5 T^2 KL, 2 of the hidden words, and 1 - cos, with T = 2."""
    model, (tokens, read) = scaled("masked"), texts()
    labels = np.full_like(tokens, -100)
    labels[0, 2], labels[1, 4] = 7, 3
    rng = np.random.default_rng(1)
    v, h = rng.normal(size=(3, 10, 13)).astype(np.float32), rng.normal(size=(3, 10, 16)).astype(np.float32)
    z, x = outputs(model, tokens, read).astype(np.float64), outputs(model.distilbert, tokens, read).astype(np.float64)

    def log_softmax(a: Array) -> Array:
        return np.asarray(a - np.log(np.exp(a).sum(axis=-1, keepdims=True)))

    log_p, log_q = log_softmax(v / 2.0), log_softmax(z / 2.0)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)
    cosine = (x * h).sum(axis=-1) / np.linalg.norm(x, axis=-1) / np.linalg.norm(h, axis=-1)
    words = -(log_softmax(z)[0, 2, 7] + log_softmax(z)[1, 4, 3]) / 2
    expected = 5 * 4 * kl[read > 0].mean() + 2 * words + (1 - cosine[read > 0]).mean()
    value, scores = student_loss(model, *map(Tensor, (tokens, read, labels, v, h)))
    assert float(value) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(scores.numpy(), z, atol=1e-6)
    v[read == 0] += 9.0
    assert float(student_loss(model, *map(Tensor, (tokens, read, labels, v, h)))[0]) == pytest.approx(expected, rel=1e-5)


def test_the_square_of_the_temperature_keeps_the_gradient() -> None:
    """The gradient of T^2 KL tends to (z - v) / V for scores of mean 0; without T^2 it falls as 1 / T^2."""
    rng = np.random.default_rng(0)
    v, z = (a - a.mean() for a in rng.normal(size=(2, 9)))
    for T in (50.0, 100.0):
        leaf = Tensor(z, requires_grad=True)
        (T**2 * divergence(Tensor(v) / T, leaf / T)).backward()
        assert leaf.grad is not None
        np.testing.assert_allclose(leaf.grad.numpy(), (z - v) / 9, rtol=0, atol=3 / T)


def test_the_teacher_is_a_constant() -> None:
    """The student's loss moves no parameter of the teacher, and the teacher's dropout is off."""
    made = pair_of()
    made.teacher.bert.embeddings.drop.p = 0.5
    made.train()
    tokens, read = texts()
    given = [Tensor(a) for a in (tokens, read, tokens * 0)]
    first, second = made.teach(*given)[0].numpy(), made.teach(*given)[0].numpy()
    np.testing.assert_array_equal(first, second)
    assert made.teacher.training
    labels = np.where(np.arange(10) == 2, tokens, -100)
    distillation_loss(made, *given, Tensor(labels), Tensor(np.zeros(3, np.int64)))[0].backward()
    assert all(p.grad is None for p in made.teacher.parameters())
    assert all(p.grad is not None for p in made.student.parameters())


def test_a_student_approaches_its_teacher(stories: Any) -> None:
    """After 40 steps: distributions bring it closer than the words alone, and a start from its layers closer still."""
    nn.seed(0)
    taught: Any = pair(stories, dim=32)
    steps(taught, stories, 150, _of_the_teacher)
    rows = stories.test.take(np.arange(0, 1080, 12))
    given = [Tensor(a) for a in rows[:3]]
    v = taught.teach(*given)[0]
    chosen = rows[3] != -100

    def apart(inherits: bool, loss: Any) -> float:
        nn.seed(1)
        new: Any = pair(stories, dim=32)
        new.teacher.load_state_dict(taught.teacher.state_dict())
        if inherits:
            new.inherit()
        steps(new, stories, 40, loss)
        with nn.no_grad():
            return float(divergence(v, new(*given)).numpy()[chosen].mean())

    by_words = apart(False, lambda m, t, n, s, labels, r: masked_loss(m.student, t, n, labels))
    by_distributions, from_layers = apart(False, distillation_loss), apart(True, distillation_loss)
    assert by_distributions < 0.95 * by_words
    assert from_layers < 0.6 * by_distributions


def _of_the_teacher(model: Any, *batch: Any) -> Any:
    from nnatomy.architectures.transformers.distilbert.model import teacher_loss

    return teacher_loss(model, *batch)


def steps(model: Any, dataset: Any, count: int, loss: Any) -> None:
    """Train a model for so many steps of 32 texts."""
    stage: Any = passages.learn
    learner = replace(stage.stages[1][0], loss=loss, schedule=None).begin(model, dataset)
    state, step = learner.state(), 0
    while step < count:
        for batch in Feed()(dataset.train, 32, shuffle=step):
            learner.prepare(state, step, 1.0)
            state, _ = learner.step(state, *batch.args)
            step += 1
            if step == count:
                break
    learner.bind(state)
    model.eval()


def test_training_has_two_stages(stories: Any) -> None:
    """In the first the teacher learns and the student is made of it; in the second the student alone learns."""
    stage: Any = passages.learn
    (first, _), (second, _) = stage.stages
    assert isinstance(second, GradientDescent)
    nn.seed(0)
    made: Any = pair(stories, dim=16)
    batch = stories.train.take(np.arange(8))
    learner = first.begin(made, stories)
    learner.set_total(4)
    state = learner.state()
    learner.prepare(state, 2, 1.0)
    state, _ = learner.step(state, batch)
    learner.bind(learner.finish_epoch(state))
    for ours, theirs in inherited(1).items():
        np.testing.assert_array_equal(made.student.state_dict()[ours], made.teacher.state_dict()[theirs])
    before = {name: a.copy() for name, a in made.state_dict().items()}
    learner = second.begin(made, stories)
    learner.set_total(4)
    state = learner.state()
    learner.prepare(state, 2, 1.0)
    learner.bind(learner.step(state, batch)[0])
    for name, a in made.state_dict().items():
        assert np.array_equal(a, before[name]) == name.startswith("teacher."), name


def test_the_scores_are_those_of_the_embedding() -> None:
    """One matrix reads and writes tokens: its gradient has a row for tokens that the text does not hold."""
    model, x = scaled("masked"), np.array([[1, 2, 4]])
    masked_loss(model, *map(Tensor, (x, np.ones_like(x), np.array([[-100, -100, 3]]))))[0].backward()
    g = model.distilbert.embeddings.word_embeddings.weight.grad
    assert g is not None
    assert (np.abs(g.numpy()).max(axis=1) > 0).all()


def test_gelu_is_the_exact_one_and_eps_is_small() -> None:
    part = scaled().transformer.layer[0].ffn
    x = Tensor(np.linspace(-3, 3, 16, dtype=np.float32)[None, None])
    with nn.no_grad():
        z, y = part.lin1(x).numpy().astype(np.float64), part(x).numpy()
    exact = z * np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in z.ravel()]).reshape(z.shape)
    np.testing.assert_allclose(y, exact @ part.lin2.weight.numpy().T + part.lin2.bias.numpy(), atol=1e-5)
    assert {m.eps for m in scaled("masked").modules() if isinstance(m, nn.LayerNorm)} == {1e-12}


def of_transformers(kind: str) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {name: size for name, size in SIZES.items() if name != "dropout"}
    theirs = getattr(transformers, kind)(transformers.DistilBertConfig(**sizes, num_labels=3)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return theirs


@pytest.mark.parametrize(
    ("kind", "head"),
    [("DistilBertModel", "none"), ("DistilBertForMaskedLM", "masked"), ("DistilBertForMaskedLM", "none"),
     ("DistilBertForSequenceClassification", "classification")],
)  # fmt: skip
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, kind: str, head: str) -> None:
    import torch

    theirs = of_transformers(kind)
    theirs.save_pretrained(tmp_path)
    found = load(nn.architecture("distilbert"), tmp_path / "model.safetensors", **SIZES, head=head, num_labels=3)
    assert not found.missing
    tokens, read = texts()
    with torch.no_grad():
        whole = theirs.distilbert if head == "none" and "Masked" in kind else theirs
        b = whole(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(read))[0].numpy()
    kept = slice(None) if head == "classification" else read > 0
    assert np.abs(b).max() > 0.1
    np.testing.assert_allclose(outputs(found.model.eval(), tokens, read)[kept], b[kept], rtol=0, atol=1e-4)


def test_a_file_of_bert_starts_a_student(tmp_path: Path) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {name: size for name, size in OF_BERT.items() if name != "dropout"}
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**sizes))
    theirs.save_pretrained(tmp_path)
    found = load(nn.architecture("distilbert"), tmp_path / "model.safetensors", **SIZES, head="masked")
    state = theirs.state_dict()
    for ours, name in inherited(2).items():
        np.testing.assert_array_equal(found.model.state_dict()[ours], state[name].numpy())


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="heads divide"):
        build(**{**SIZES, "n_heads": 3})
    with pytest.raises(UserError, match="head"):
        build(**SIZES, head="regression")
    with pytest.raises(UserError, match="at least one class"):
        build(**SIZES, num_labels=0)
    with pytest.raises(UserError, match=r"12 positions\. Received 13"):
        outputs(scaled(), np.ones((1, 13), np.int64))
