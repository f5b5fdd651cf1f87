"""Folding shows repeats once, loses no cost, and leaves alone what only looks alike."""

from __future__ import annotations

import numpy as np
import pytest
from networks import Dense, ResNet, Translator

import nnatomy as nn
from nnatomy.inspect import Part, fold, trace

pytestmark = pytest.mark.any_kernels
F32 = np.float32


def total(part: Part) -> int:
    """Multiply-adds of what is inside, all repeats counted."""
    return part.repeat * (sum(total(p) for p in part.parts) if part.parts else part.multiply_adds)


def test_equal_layers_become_one() -> None:
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 12)
    whole = trace(model, np.ones((1, 5, 8), F32))
    folded = fold(whole)
    (layer,) = folded.parts
    assert (layer.repeat, layer.path, layer.until) == (12, "layers.0", "layers.11")
    assert {(e.source, e.target) for e in folded.edges} == {(-1, 0), (0, -2)}
    assert sum(p.parameters * p.repeat for p in folded.parts) == model.count_parameters()


def test_no_cost_is_lost() -> None:
    whole = trace(ResNet(), np.zeros((1, 3, 32, 32), F32))
    assert total(fold(whole)) == total(whole)
    stages = [p for p in fold(whole).parts if p.kind == "Sequential"]
    assert [[b.repeat for b in stage.parts] for stage in stages] == [[1, 2], [1, 3], [1, 5], [1, 2]]
    assert len(list(fold(whole).walk())) < 0.6 * len(list(whole.walk()))


def test_repeats_of_several_parts_become_a_group() -> None:
    layers = [part for _ in range(5) for part in (nn.Linear(6, 6), nn.LayerNorm(6), nn.ReLU())]
    folded = fold(trace(nn.Sequential(nn.Linear(3, 6), *layers, nn.Linear(6, 2)), np.ones((1, 3), F32)))
    assert [(p.kind, p.repeat) for p in folded.parts] == [("Linear", 1), ("", 5), ("Linear", 1)]
    group = folded.parts[1]
    assert [p.kind for p in group.parts] == ["Linear", "LayerNorm", "ReLU"]
    assert group.parameters == 6 * 6 + 6 + 12
    assert {(e.source, e.target) for e in group.edges} == {(-1, 0), (0, 1), (1, 2), (2, -2)}


def test_what_differs_is_kept_apart() -> None:
    widths = nn.Sequential(*[nn.Linear(a, b) for a, b in ((3, 9), (9, 9), (9, 3), (3, 9), (9, 9), (9, 3))])
    assert [p.repeat for p in fold(trace(widths, np.ones((1, 3), F32))).parts] == [2]  # the pattern of three, twice
    others = nn.Sequential(*[nn.Linear(k + 3, k + 4) for k in range(6)])
    assert [p.repeat for p in fold(trace(others, np.ones((1, 3), F32))).parts] == [1] * 6


def test_layers_that_feed_all_later_ones_are_no_repeat() -> None:
    folded = fold(trace(Dense(6), np.ones((1, 2, 5, 5), F32)))
    assert all(p.repeat == 1 for p in folded.parts)


def test_decoder_layers_that_all_read_the_memory_are_one() -> None:
    folded = fold(trace(Translator(4), np.arange(6)[None], np.arange(4)[None]))
    decoder = next(p for p in folded.parts if p.path == "decoder")
    assert [p.repeat for p in decoder.parts if p.family != "input"] == [4]


def test_chains_of_operations_are_one_and_sums_of_paths_stay() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(3, 3)

        def forward(self, x: nn.Tensor) -> nn.Tensor:
            return nn.tanh((self.a(x) + x).square().sqrt())  # type: ignore[no-any-return]

    folded = fold(trace(Sums(), np.ones((1, 3), F32)))
    assert [p.kind for p in folded.parts] == ["Linear", "add", "square → sqrt → tanh"]
