"""Whole numbers of NumPy, as `y.max() + 1`, stand wherever Python's do, and have the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
import nnatomy.functional as F

CALLS: list[Callable[[Any], Any]] = [
    lambda i: F.conv2d(nn.ones(1, 1, 5, 5), nn.ones(1, 1, 2, 2), stride=i(2), padding=i(1), dilation=i(1), groups=i(1)).shape,
    lambda i: F.max_pool2d(nn.ones(1, 1, 4, 4), i(2), stride=i(2), padding=i(0)).shape,
    lambda i: F.avg_pool2d(nn.ones(1, 1, 4, 4), i(2)).shape,
    lambda i: F.adaptive_avg_pool2d(nn.ones(1, 1, 4, 4), i(2)).shape,
    lambda i: nn.ones(2, 3).permute(i(1), i(0)).shape,
    lambda i: nn.ones(2, 3).transpose(i(0), i(1)).shape,
    lambda i: nn.ones(1, 3).squeeze(i(0)).shape,
    lambda i: nn.ones(3).unsqueeze(i(0)).shape,
    lambda i: nn.split(nn.ones(4), i(2))[0].shape,
    lambda i: nn.ones(4).chunk(i(2))[0].shape,
    lambda i: nn.ones(2, 3).repeat(i(2), i(1)).shape,
    lambda i: nn.ones(2).tile(i(2)).shape,
    lambda i: nn.ones(2).tile((i(2), )).shape,
    lambda i: nn.tensordot(nn.ones(2, 3), nn.ones(3, 2), i(1)).shape,
    lambda i: nn.ones(2, 3).flatten(i(0), i(1)).shape,
    lambda i: nn.one_hot(nn.tensor([1]), i(3)).shape,
    lambda i: F.unfold(nn.ones(1, 1, 4, 4), i(2)).shape,
    lambda i: F.fold(nn.ones(1, 4, 9), i(4), i(2)).shape,
    lambda i: F.interpolate(nn.ones(1, 1, 4, 4), size=i(2)).shape,
    lambda i: nn.zeros(i(2), i(3)).shape,
    lambda i: nn.zeros((i(2), i(3))).shape,
    lambda i: nn.randn(i(2)).shape,
    lambda i: nn.arange(i(3)).shape,
    lambda i: nn.linspace(0, 1, i(3)).shape,
    lambda i: nn.eye(i(2)).shape,
    lambda i: nn.cumsum(nn.ones(3), i(0)).shape,
    lambda i: nn.topk(nn.ones(3), i(2))[0].shape,
    lambda i: nn.sort(nn.ones(3), i(0))[0].shape,
    lambda i: nn.ones(2, 3).sum(dim=i(1)).shape,
    lambda i: nn.ones(2, 3).max(axis=i(1)).shape,
    lambda i: nn.softmax(nn.ones(2, 3), axis=i(1)).shape,
    lambda i: nn.stack([nn.ones(2)], i(0)).shape,
    lambda i: nn.cat([nn.ones(2)], i(0)).shape,
    lambda i: nn.ones(2, 3).gather(nn.tensor([[0]]), i(1)).shape,
    lambda i: nn.ones(3).take(i(1), i(0)).shape,
    lambda i: nn.tril(nn.ones(2, 2), i(0)).shape,
    lambda i: nn.diag(nn.ones(2), i(1)).shape,
    lambda i: nn.roll(nn.ones(3), i(1), i(0)).shape,
    lambda i: nn.flip(nn.ones(3), i(0)).shape,
    lambda i: F.layer_norm(nn.ones(2, 3), i(3)).shape,
    lambda i: nn.LayerNorm(i(3))(nn.ones(2, 3)).shape,
    lambda i: nn.MaxPool2d(i(2))(nn.ones(1, 1, 4, 4)).shape,
    lambda i: nn.ConvTranspose2d(i(1), i(1), i(2), stride=i(2))(nn.ones(1, 1, 2, 2)).shape,
    lambda i: F.pixel_shuffle(nn.ones(1, 4, 2, 2), i(2)).shape,
    lambda i: F.max_unpool2d(*F.max_pool2d(nn.ones(1, 1, 4, 4), 2, return_indices=True), i(2)).shape,
    lambda i: F.pad(nn.ones(4), (i(1), i(1))).shape,
    lambda i: nn.ones(2, 3).unstack(i(0))[0].shape,
    lambda i: nn.ones(2, 3).swapaxes(i(0), i(1)).shape,
    lambda i: nn.movedim(nn.ones(2, 3), i(0), i(1)).shape,
    lambda i: nn.expand_dims(nn.ones(2), i(0)).shape,
    lambda i: nn.diff(nn.ones(3), i(1)).shape,
    lambda i: nn.LSTM(i(2), i(3), i(1))(nn.ones(4, 1, 2))[0].shape,
    lambda i: nn.Embedding(i(3), i(2))(nn.tensor([1])).shape,
    lambda i: nn.Flatten(i(1))(nn.ones(2, 2)).shape,
    lambda i: nn.ones(2, 3).reshape(i(6)).shape,
    lambda i: nn.ones(2, 3).reshape(i(3), i(2)).shape,
    lambda i: nn.ones(2, 3).reshape((i(3), i(2))).shape,
    lambda i: nn.ones(2, 3).expand(i(2), i(3)).shape,
    lambda i: nn.ones(2, 3).view(i(3), i(2)).shape,
    lambda i: nn.ones(2, 3)[i(0)].shape,
]


@pytest.mark.parametrize("call", CALLS, ids=map(str, range(len(CALLS))))
def test_shapes_are_those_of_pythons_integers(call: Callable[[Any], Any]) -> None:
    assert call(np.int64) == call(int)


def test_a_probability_of_numpys_type_promotes_nothing() -> None:
    assert nn.Dropout(np.float64(0.5))(nn.ones(2)).dtype == np.float32
