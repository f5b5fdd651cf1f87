"""A compiled step of JAX marks what it read or wrote out of range; NumPy, and JAX step by step, refuse it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
import nnatomy.functional as F
from nnatomy.errors import UserError

pytest.importorskip("jax", reason="JAX is not installed")
T = np.arange(10, dtype=np.float32).reshape(5, 2)
S = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
NAN = np.nan


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with nn.backend("jax"):
        yield


def rows(i: Any) -> Any:
    return nn.stack([i, i], axis=1)


READS: dict[str, tuple[Callable[[Any, Any], Any], list[Any]]] = {
    "x[i]": (lambda x, i: x[i], [[2, 3], [NAN, NAN]]),
    "x[:, i]": (lambda x, i: x.T[:, i], [[2, NAN], [3, NAN]]),
    "x[i, 1]": (lambda x, i: x[i, 1], [3, NAN]),
    "x[..., i]": (lambda x, i: x.T[..., i], [[2, NAN], [3, NAN]]),
    "embedding": (lambda x, i: F.embedding(i, x), [[2, 3], [NAN, NAN]]),
    "take": (lambda x, i: nn.take(x, i, 0), [[2, 3], [NAN, NAN]]),
    "gather": (lambda x, i: nn.gather(x, i.reshape(1, 2), 0), [[2, NAN]]),
    "integers": (lambda x, i: nn.tensor(np.arange(5))[i], [1, np.iinfo(np.int64).min]),
    "one_hot": (lambda x, i: nn.one_hot(i, 3), [[0, 1, 0], [NAN] * 3]),
}
WRITES: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "scatter_add": (lambda x, i: nn.scatter_add(x, rows(i), nn.ones(2, 2), 0), lambda x, i: np.add.at(x, i, 1)),
    "scatter": (lambda x, i: nn.scatter(x, rows(i), nn.ones(2, 2), 0), lambda x, i: x.__setitem__(i, 1)),
    "index_put": (lambda x, i: nn.index_put(x, i, nn.ones(2, 2)), lambda x, i: x.__setitem__(i, 1)),
    "index_put of a row": (lambda x, i: nn.index_put(x, i, nn.ones(2)), lambda x, i: x.__setitem__(i, 1)),
    "segment_sum": (
        lambda x, i: x + nn.segment_sum(nn.ones(2, 2), i, 5), lambda x, i: np.add.at(x, i, 1)
    ),
    "segment_max": (
        lambda x, i: x + nn.segment_max(nn.ones(2, 2), i, 5), lambda x, i: np.add.at(x, i, 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("index", [7, 5, -6])
@pytest.mark.parametrize("name", READS)
def test_a_read_out_of_range_is_marked(name: str, index: int) -> None:
    call, right = READS[name]
    i = nn.tensor(np.array([1, index]))
    np.testing.assert_array_equal(np.asarray(nn.compile(lambda i: call(nn.tensor(T), i))(i).data), np.array(right))
    with pytest.raises((IndexError, UserError), match="Received"):
        call(nn.tensor(T), i)


@pytest.mark.parametrize("name", READS)
def test_a_read_in_range_is_that_of_numpy(name: str) -> None:
    if name != "one_hot":
        call, _ = READS[name]
        i = np.array([4, -5]) if name != "embedding" else np.array([4, 0])
        found = nn.compile(lambda i: call(nn.tensor(T), i))(nn.tensor(i))
        np.testing.assert_array_equal(np.asarray(found.data), np.asarray(call(nn.tensor(T), nn.tensor(i)).data))


@pytest.mark.parametrize("name", WRITES)
def test_a_write_out_of_range_is_marked(name: str) -> None:
    call, numpy = WRITES[name]
    compiled = nn.compile(lambda i: call(nn.tensor(T), i))
    right = T.copy()
    numpy(right, np.array([1, 3]))
    np.testing.assert_array_equal(np.asarray(compiled(nn.tensor(np.array([1, 3]))).data), right)
    for wrong in ([1, 7], [9, 7], [-9, 2]):
        found = np.asarray(compiled(nn.tensor(np.array(wrong))).data)
        assert np.isnan(found).any(axis=1).sum() in (1, 2), wrong  # what was written, at the nearest places
        inside = [row for row in range(1, 4) if row not in wrong]
        np.testing.assert_array_equal(found[inside], T[inside])


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": F.cross_entropy,
    "smoothed": lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1),
    "weighted": lambda s, y: F.cross_entropy(s, y, weight=nn.ones(5)),
    "nll_loss": lambda s, y: F.nll_loss(nn.log_softmax(s, axis=1), y),
    "multi_margin_loss": F.multi_margin_loss,
    "summed": lambda s, y: F.nll_loss(nn.log_softmax(s, axis=1), y, reduction="sum"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_without_a_class_gives_no_loss(name: str) -> None:
    compiled = nn.compile(lambda y: LOSSES[name](nn.tensor(S), y))
    assert np.isnan(float(compiled(nn.tensor(np.array([1, 7, 2])))))
    right = float(LOSSES[name](nn.tensor(S), nn.tensor(np.array([1, 4, 2]))))
    assert float(compiled(nn.tensor(np.array([1, 4, 2])))) == pytest.approx(right, rel=1e-5)


def test_ignored_labels_stay_ignored() -> None:
    """-100 is outside of the classes on purpose: forward and backward."""
    y = np.array([1, -100, 2])

    def step(y: Any) -> Any:
        x = nn.tensor(S, requires_grad=True)
        F.nll_loss(nn.log_softmax(x, axis=1), y).backward()
        return x.grad

    compiled, by_itself = nn.compile(step)(nn.tensor(y)), step(nn.tensor(y))
    np.testing.assert_allclose(np.asarray(compiled.data), np.asarray(by_itself.data), atol=1e-6)
    assert not np.asarray(compiled.data)[1].any()


X = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
Y = np.argmax(X[:, :3], axis=1)


def two_classes(model: Any, x: Any, y: Any) -> Any:
    out = model(x)
    return F.cross_entropy(out[:, :2], y), out


class Table(nn.Module):
    """Its index is out of range for large inputs."""

    def __init__(self) -> None:
        self.table, self.head = nn.Embedding(3, 4), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.head(self.table(nn.where(x[:, 0] > 1.5, 7, 1)))


@pytest.mark.parametrize(
    ("model", "more", "says"),
    [
        (lambda: nn.Linear(4, 3), {"loss": two_classes}, "so the loss or its targets are not"),
        (Table, {}, r"An axis of 3 has the positions -3 to 2\. Received 1 to 7"),
    ],
)
def test_a_run_stops_at_an_index_out_of_range_and_names_it(
    tmp_path: Path, model: Callable[[], nn.Module], more: dict[str, Any], says: str
) -> None:
    order = np.argsort((X[:, 0] > 1.5) | (Y == 2), kind="stable")  # what is tried before the run is in range
    with pytest.raises(UserError, match=f"Training needs a finite loss. Received nan at .*{says}"):
        nn.train(
            model(), (X[order], Y[order]), backend="jax", epochs=1, report=False, baselines=False, out=tmp_path / "run", **more
        )
