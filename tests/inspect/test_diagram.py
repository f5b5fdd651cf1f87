"""Diagrams can be read: boxes are inside their frames and never on each other, words inside their boxes."""

from __future__ import annotations

import io
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Affine2D
from networks import Dense, ResNet, Translator

import nnatomy as nn
from nnatomy.catalog import Architecture, architectures
from nnatomy.inspect import diagram, trace

pytestmark = pytest.mark.any_kernels
F32 = np.float32


def boxes(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom of every box, without those behind a folded one, which mark that it represents several."""
    found = [p for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch) and p.get_linewidth() > 0.7]
    return [(b.get_x(), b.get_y(), b.get_x() + b.get_width(), b.get_y() + b.get_height()) for b in found]


def check(figure: Figure) -> None:
    """Boxes do not overlap unless nested; every text is within the picture; the picture is not too wide or too high."""
    width, height = figure.get_size_inches() * 72
    rectangles = boxes(figure)
    for a, b in combinations(rectangles, 2):
        apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
        nested = (a[0] < b[0] and a[1] < b[1] and a[2] > b[2] and a[3] > b[3]) or (
            b[0] < a[0] and b[1] < a[1] and b[2] > a[2] and b[3] > a[3]
        )
        assert apart or nested, f"boxes {a} and {b} overlap"
    assert all(x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height for x0, y0, x1, y1 in rectangles)
    figure.set_dpi(110)  # as pictures are written
    figure.savefig(io.BytesIO(), dpi=110)
    for text in figure.axes[0].texts:
        extent = text.get_window_extent().transformed(Affine2D().scale(72 / 110))
        x0, y0, x1, y1 = extent.x0, height - extent.y1, extent.x1, height - extent.y0
        assert x0 >= 0, f"{text.get_text()!r} leaves the picture"
        assert x1 <= width, f"{text.get_text()!r} leaves the picture"
        around = [r for r in rectangles if r[0] <= x0 and r[1] <= (y0 + y1) / 2 <= r[3] and x0 < r[2]]
        if around:
            innermost = min(around, key=lambda r: (r[2] - r[0]) * (r[3] - r[1]))
            if innermost[2] - innermost[0] > 12:  # not the legend's
                assert x1 <= innermost[2] + 0.5, f"{text.get_text()!r} leaves its box"


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.axes[0].texts)


NETWORKS: dict[str, tuple[Any, Any]] = {
    "resnet50": (ResNet, (np.zeros((1, 3, 32, 32), F32),)),
    "resnet152": (lambda: ResNet((3, 8, 36, 3), 2), (np.zeros((1, 3, 32, 32), F32),)),
    "encoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32), 24), (np.ones((5, 1, 16), F32),)),
    "translator": (Translator, (np.arange(6)[None], np.arange(4)[None])),
    "dense": (Dense, (np.ones((1, 2, 5, 5), F32),)),
    "mobile": (
        lambda: nn.Sequential(nn.InvertedResidual(4, 4, 1, 2), nn.SqueezeExcitation(4, 2), nn.DepthwiseSeparable(4, 6)),
        (np.ones((1, 4, 8, 8), F32),),
    ),
    "one layer": (lambda: nn.Linear(3, 2), (np.ones((1, 3), F32),)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_do_not_overlap_and_words_fit(name: str) -> None:
    build, inputs = NETWORKS[name]
    figure = diagram(trace(build(), *inputs), title=name)
    check(figure)
    assert len(boxes(figure)) <= 160


def test_a_deep_network_is_folded_and_its_residual_paths_are_drawn() -> None:
    figure = diagram(trace(ResNet((3, 8, 36, 3), 2), np.zeros((1, 3, 32, 32), F32)))
    assert "× 35" in words(figure)
    assert "1 … 35" in words(figure)
    assert "stages.0" in words(figure)
    thick = [p for p in figure.axes[0].patches if isinstance(p, FancyArrowPatch) and p.get_linewidth() > 1.5]
    assert len(thick) == 4, "one way round for the folded blocks of each stage; the first blocks have a shortcut of their own"
    assert "Thick orange lines" in words(figure)
    width, height = figure.get_size_inches()
    assert 0.5 < width / height < 3


def test_what_cannot_be_folded_is_closed() -> None:
    blocks = [nn.Sequential(nn.Linear(k + 2, 7), nn.ReLU(), nn.Linear(7, k + 3)) for k in range(60)]
    figure = diagram(trace(nn.Sequential(*blocks), np.ones((1, 2), F32)))
    check(figure)
    assert "drawn closed" in words(figure).replace("\n", " ")
    assert sum(text.get_text().startswith("Sequential") for text in figure.axes[0].texts) >= 60


def test_figures_are_those_of_one_example() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.Tanh())
    for batch in (1, 3):
        told = words(diagram(trace(model, np.zeros((batch, 1, 28, 28), F32)), batch=batch))
        assert "6 × 28 × 28  ·  156 parameters  ·  118 k multiply-adds" in told
        assert "input  1 × 28 × 28" in told


@pytest.mark.parametrize(
    "architecture", [pytest.param(architecture, id=architecture.name) for architecture in architectures().values()]
)
def test_every_architecture_is_drawn(architecture: Architecture) -> None:
    for case in architecture.cases:
        batch = case.batch(np.random.default_rng(0))
        inputs = [a.astype(F32) if a.dtype.kind == "f" else a for a in case.inputs(batch)]
        model = architecture.module("model").build(**case.options)
        figure = diagram(trace(model, *inputs), title=case.name, batch=len(batch[0]))
        check(figure)
        assert f"{model.count_parameters():,} parameters" in words(figure)
        called: set[str] = set()
        for child, module in model.named_modules():
            module.register_forward_hook(lambda *_, child=child, called=called: called.add(child))
        with nn.no_grad():
            model(*map(nn.tensor, inputs))
        for child, module in model.named_modules():  # a critic or a target network has no part in the outputs
            if child in called and child and "." not in child and type(module).__name__ != "Dropout":
                assert child in words(figure), f"{case.name}: {child} is not shown"
