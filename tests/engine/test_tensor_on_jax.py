"""Uses of Tensors, models and optimizers next to training, on JAX arrays."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.runs.folder import load_arrays, save_arrays

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
pytestmark = pytest.mark.any_kernels


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with nn.backend("jax"):
        yield


def test_values_come_to_the_host() -> None:
    t = nn.tensor([[1.5, -2.0]], requires_grad=True)
    assert isinstance(t.data, jax.Array)
    assert repr(t) == "tensor([[ 1.5, -2. ]], float32, requires_grad)"
    assert t.tolist() == [[1.5, -2.0]]
    assert (t[0, 0].item(), float(t.sum()), int(nn.tensor([3])), bool(t.any())) == (1.5, -0.5, 3, True)
    assert f"{t.sum():.2f}" == "-0.50"
    assert not t.numpy().flags.writeable
    assert np.asarray(t).dtype == np.float32
    assert [list("ab")[nn.tensor(1)], len(t), next(iter(t)).shape] == ["b", 1, (2,)]
    assert nn.tensor([1.0], dtype="bfloat16").item() == 1.0
    with pytest.raises(IndexError, match=r"an axis of 1 is from -1 to 0. Received 1"):
        _ = t[1]
    assert repr(nn.tensor([1.0, 2.5], dtype="bfloat16")) == "tensor([1, 2.5], bfloat16)"


def test_changes_in_place_bind_new_arrays() -> None:
    t = nn.tensor([1.0, 2.0, 3.0])
    before = t.data
    t[1:] = 0.0
    t += 1
    t *= nn.tensor([2.0, 3.0, 4.0])
    assert t.tolist() == [4.0, 3.0, 4.0]
    assert before.tolist() == [1.0, 2.0, 3.0]
    t[nn.tensor([True, False, True])] = nn.tensor([7.0, 8.0])
    assert t.tolist() == [7.0, 3.0, 8.0]
    assert t.fill_(2).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(nn.UserError, match=r"must broadcast to the Tensor's shape \(3,\)"):
        t.copy_(nn.zeros(2))
    with pytest.raises(TypeError, match="float64"):
        t.copy_(nn.tensor(np.zeros(3)))


def test_types_are_not_promoted_silently() -> None:
    with pytest.raises(TypeError, match=r"float32.*float64.*\.astype"):
        nn.tensor([1.0]) + nn.tensor(np.ones(1))
    assert (nn.tensor([1.0], dtype="bfloat16") * 2.5).dtype == nn.tensor([1.0], dtype="bfloat16").dtype
    assert (nn.tensor([1, 2]) * nn.tensor([0.5, 0.5])).dtype == np.float32
    with pytest.raises(nn.UserError, match="Only floating-point"):
        nn.tensor([1, 2], requires_grad=True)


def test_random_numbers_are_numpys() -> None:
    def drawn() -> list[np.ndarray]:
        g = nn.Generator(11)
        return [np.asarray(v) for v in (
            g.uniform(5), g.uniform((2, 3), -1, 2, dtype="float64"), g.normal((3, 3)), g.normal(4, dtype="float64"),
            g.truncated_normal(6), g.bernoulli((4, 4), 0.3), g.integers(-5, 9, 7), g.permutation(9), g.split(2)[1].uniform(3),
        )]  # fmt: skip

    found = drawn()
    with nn.backend("numpy"):
        expected = drawn()
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6 if a.dtype == np.float32 else 1e-14)


def test_models_move_between_backends_and_files(tmp_path: Path) -> None:
    with nn.backend("numpy"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        expected = model.eval()(nn.Tensor(x)).numpy()
    assert isinstance(model[0].weight.data, np.ndarray)
    assert all(isinstance(t.data, jax.Array) for t in model.to_backend().parameters())
    assert isinstance(model[1].running_mean.data, jax.Array)
    np.testing.assert_allclose(model(nn.tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)
    save_arrays(tmp_path / "model.safetensors", model.state_dict(), {})
    fresh = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    fresh.load_state_dict(load_arrays(tmp_path / "model.safetensors")[0])
    np.testing.assert_array_equal(fresh(nn.tensor(x)).numpy(), model(nn.tensor(x)).numpy())
    twin = copy.deepcopy(fresh)
    np.testing.assert_array_equal(twin[0].weight.numpy(), fresh[0].weight.numpy())
    with nn.backend("numpy"):
        back = fresh.to_backend()
        assert all(isinstance(t.data, np.ndarray) for t in back.parameters())
        np.testing.assert_allclose(back(nn.Tensor(x)).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_an_optimizers_state_is_saved_and_loaded() -> None:
    def steps(optimizer: optim.Optimizer, p: nn.Parameter, count: int) -> list[float]:
        for _ in range(count):
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()
        return p.tolist()

    p = nn.Parameter([1.0, -2.0])
    first = optim.Adam([p], lr=0.1)
    steps(first, p, 3)
    q = nn.Parameter(nn.tensor(p.numpy()))
    second = optim.Adam([q], lr=0.5)
    second.load_state_dict(first.state_dict())
    assert steps(second, q, 2) == steps(first, p, 2)
    low = nn.Parameter(nn.tensor([1.0, -2.0], dtype="bfloat16"))
    for rule in (optim.SGD, optim.AdamW, optim.Adafactor, optim.Lion):
        steps(rule([low], lr=0.01), low, 1)
        assert str(low.dtype) == "bfloat16", rule


def test_lbfgs_runs_eagerly() -> None:
    p = nn.Parameter(nn.tensor([1.0, -2.0]))
    optimizer = optim.LBFGS([p], lr=1.0)

    def closure() -> nn.Tensor:
        optimizer.zero_grad()
        loss = ((p - nn.tensor([3.0, 0.5])) ** 2).sum()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    np.testing.assert_allclose(p.numpy(), [3.0, 0.5], atol=1e-4)
