"""Pictures show each call of a layer in its place, the inside of a loop over time, and no legend on a title."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.inspect import diagram, trace
from nnatomy.inspect.flow import find_loop
from nnatomy.inspect.recording import activations

pytestmark = pytest.mark.any_kernels


class Twice(nn.Module):
    """One activation that is called twice, around another layer."""

    def __init__(self) -> None:
        self.first, self.act, self.second = nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: nn.Tensor) -> nn.Tensor:
        return self.act(self.second(self.act(self.first(x))))  # type: ignore[no-any-return]


def test_each_call_of_a_layer_is_in_its_place() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = activations(Twice(), x)
    assert list(found) == ["first", "act", "second", "act (call 2)", ""]
    np.testing.assert_array_equal(found["act"], np.maximum(found["first"], 0))
    np.testing.assert_array_equal(found["act (call 2)"], np.maximum(found["second"], 0))


@pytest.mark.parametrize(
    "names, turns, shown",
    [
        ("ababab", 3, "ab"),
        ("xabababy", 3, "xaby"),
        ("xbababab", 4, "xab"),  # the first turn lacks its a
        ("xbcabcabcabcy", 4, "xabcy"),
        ("abcdef", None, ""),
        ("abab", None, ""),
        ("aaaa", 4, "a"),
        ("qwertyabab", None, ""),
    ],
)
def test_a_loop_is_found_in_a_list_of_operations(names: str, turns: int | None, shown: str) -> None:
    loop = find_loop(list(names))
    if turns is None:
        assert loop is None
        return
    assert loop is not None
    assert loop.turns == turns
    assert "".join(name for i, name in enumerate(names) if i not in loop.same) == shown
    assert all(names[i] == names[k] and k not in loop.same for i, k in loop.same.items())


@pytest.mark.parametrize("layers, bidirectional", [(1, False), (2, False), (1, True)])
def test_the_inside_of_an_lstm_is_one_step_with_its_gates(layers: int, bidirectional: bool) -> None:
    """For each layer and direction: three sigmoids, two hyperbolic tangents, three products of gates, the sum of the cell."""
    model = nn.architecture("lstm").module("model").build(2, 8, 1, layers=layers, bidirectional=bidirectional)
    part = trace(model, np.zeros((1, 20, 2), "float32"))
    lstm = next(p for p in part.parts if p.kind == "LSTM")
    assert lstm.turns == 20
    names = Counter(p.kind for p in lstm.parts)
    cells = layers * (1 + bidirectional)
    assert {name: names[name] for name in ("sigmoid", "tanh", "multiply", "matmul", "linear")} == {
        "sigmoid": 3 * cells, "tanh": 2 * cells, "multiply": 3 * cells, "matmul": cells, "linear": cells,
    }  # fmt: skip
    assert all(edge.source < edge.target or edge.target < 0 for edge in lstm.edges)  # what goes back is the thick line
    figure = diagram(part, title="LSTM")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("one of 20 steps" in text for text in texts)
    assert any("the state, which each step gives" in text.replace("\n", " ") for text in [" ".join(texts)])


def test_the_legend_of_saliency_covers_no_title(tmp_path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from nnatomy.views import saliency

    result = nn.train("perceptron", "breast_cancer", epochs=1, limit=200, out=tmp_path / "run", report=False, baselines=False)
    figure: Any = saliency.draw(result.prepared, result.run)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    others = [figure._suptitle, *(axes.title for axes in figure.axes)]
    assert not [text.get_text() for text in others if text.get_text() and text.get_window_extent(renderer).overlaps(box)]
