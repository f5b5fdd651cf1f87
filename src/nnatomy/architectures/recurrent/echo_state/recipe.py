"""Echo state networks for series, and the small instances that the contracts build."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.recurrent.echo_state.model import EchoState, absorb, begin_rows, build, loss, solve
from nnatomy.data.dataset import Dataset
from nnatomy.layers.sequences import FromLastValue, forecast_loss
from nnatomy.tasks import Forecast, Regression
from nnatomy.tensor import Tensor
from nnatomy.training.learners import ClosedForm
from nnatomy.training.recipe import Case, Recipe

Array = npt.NDArray[Any]


def least_squares(ridge: float) -> ClosedForm:
    """Return the learner that solves for the read-out."""
    return ClosedForm(begin_rows, absorb, solve, loss, {"ridge": ridge})


def build_for(
    dataset: Dataset, hidden: int = 300, feedback: bool = False, direct: bool = False, radius: float = 0.9, leak: float = 0.5,
    connectivity: float = 0.1, input_scale: float = 0.5, bias_scale: float = 0.2,
) -> EchoState:  # fmt: skip
    """All values to come from the state after a window; with `feedback` one after the other, as the network runs freely."""
    horizon = dataset.preprocessing.to_json().get("horizon", 1)
    return build(
        dataset.input_shape[-1], hidden, dataset.outputs * (1 if feedback else horizon), "last", 0, feedback,
        horizon if feedback else 1, direct, radius, leak, connectivity, input_scale, bias_scale,
    )  # fmt: skip


def forecaster(
    dataset: Dataset, hidden: int = 100, radius: float = 0.9, leak: float = 0.3, connectivity: float = 0.1,
    input_scale: float = 0.5, bias_scale: float = 0.2, alone: bool = True,
) -> FromLastValue:  # fmt: skip
    """How far the target moves away from its last known value, from the state after a window of such distances."""
    saved = dataset.preprocessing.to_json()
    network = build(
        1 if alone else dataset.input_shape[-1], hidden, dataset.outputs * saved["horizon"], radius=radius, leak=leak,
        connectivity=connectivity, input_scale=input_scale, bias_scale=bias_scale,
    )  # fmt: skip
    return FromLastValue(cast(Any, network), saved["columns"].index(saved["targets"][0]), alone)


def _begin_moves(model: FromLastValue, ridge: float) -> Any:
    return begin_rows(cast(EchoState, model.network), ridge)


def _absorb_moves(model: FromLastValue, sums: Any, past: Tensor, future: Tensor, mask: Any = None) -> Any:
    moves = future - past[:, -1:, model.column : model.column + 1]
    return absorb(cast(EchoState, model.network), sums, model.seen(past), moves, mask)


def _solve_moves(model: FromLastValue, sums: Any, ridge: float) -> float:
    return solve(cast(EchoState, model.network), sums, ridge)


# One pass over the windows solves for the read-out. A window is the washout: its first state is 0, and is forgotten.
chaos = Recipe(
    kind="series",
    tasks=(Forecast,),
    data="mackey_glass",
    build=build_for,
    options={"hidden": 300, "radius": 0.9, "leak": 0.5, "input_scale": 0.5, "bias_scale": 0.2},
    learn=least_squares(1e-8),
    epochs=1,
    batch_size=512,
    metric="mse",
    score={"mae": 5e-4},
    load={"window": 100, "horizon": 1},
)
narma = Recipe(
    kind="series",
    tasks=(Regression,),
    data="narma10",
    build=build_for,
    options={"hidden": 300, "radius": 0.9, "leak": 1.0, "input_scale": 0.5, "bias_scale": 0.2},
    learn=least_squares(1e-6),
    epochs=1,
    batch_size=512,
    metric="r2",
    score={"r2": 0.95},
    load={"window": 60},
)
free_running = Recipe(
    kind="series",
    tasks=(Forecast,),
    data="mackey_glass",
    build=build_for,
    options={"hidden": 300, "feedback": True, "radius": 0.9, "leak": 0.5, "input_scale": 0.5, "bias_scale": 0.2},
    learn=least_squares(1e-8),
    epochs=1,
    batch_size=512,
    metric="mse",
    load={"window": 100, "horizon": 84},
    name="free_running",
)
oil_temperature = Recipe(
    kind="series",
    tasks=(Forecast,),
    data="etth1",
    build=forecaster,
    options={"hidden": 100, "radius": 0.9, "leak": 0.3, "input_scale": 0.5, "bias_scale": 0.2, "alone": True},
    learn=ClosedForm(_begin_moves, _absorb_moves, _solve_moves, forecast_loss, {"ridge": 100.0}),
    epochs=1,
    batch_size=512,
    metric="mse",
    load={"window": 96, "horizon": 24},
    name="oil_temperature",
)
recipes = (chaos, narma, free_running, oil_temperature)


def _numbers(*shapes: tuple[int, ...]) -> Any:
    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        return tuple(rng.normal(size=shape) for shape in shapes)

    return batch


cases = (
    Case(
        "last step",
        {"inputs": 3, "hidden": 12, "outputs": 2, "leak": 0.5, "connectivity": 0.5},
        _numbers((10, 5, 3), (10, 2)),
        loss,
        overfit=0.2,
        learn=least_squares(0.1),
    ),
    Case(
        "each step",
        {"inputs": 2, "hidden": 8, "outputs": 1, "readout": "each", "washout": 2, "direct": True, "connectivity": 0.5},
        _numbers((4, 6, 2), (4, 6, 1)),
        loss,
        overfit=0.4,
        learn=least_squares(0.1),
    ),
    Case(
        "feedback",
        {"inputs": 1, "hidden": 10, "outputs": 1, "feedback": True, "horizon": 3, "leak": 0.8, "connectivity": 0.5},
        _numbers((8, 5, 1), (8, 3, 1)),
        loss,
        overfit=0.6,
        learn=least_squares(0.1),
    ),
)
