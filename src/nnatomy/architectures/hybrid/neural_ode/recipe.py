"""The neural ODE's recipes for trajectories and for densities, and the small instances for the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.hybrid.neural_ode.model import ContinuousFlow, Forecaster, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Density, Forecast
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = NDArray[Any]


def build_forecaster(
    dataset: Dataset, hidden: Sequence[int] = (64, 64), method: str = "rk4", steps: int = 1, gradient: str = "direct",
    interval: float = 0.1, extra: int = 0, rtol: float = 1e-5, atol: float = 1e-6,
) -> Forecaster | ContinuousFlow:  # fmt: skip
    """Return a forecaster of a series' targets; its state has a coordinate for each column, and `extra` ones."""
    saved = dataset.preprocessing.to_json()
    targets = tuple(saved["columns"].index(name) for name in saved["targets"])
    window, features = dataset.input_shape
    return build(
        "trajectory", features, hidden, method, steps, gradient, horizon=saved["horizon"], interval=interval, targets=targets,
        window=window, extra=extra, rtol=rtol, atol=atol,
    )  # fmt: skip


def build_flow(
    dataset: Dataset, hidden: Sequence[int] = (64, 64), method: str = "rk4", steps: int = 6, gradient: str = "direct",
    trace: str = "exact", fine: int = 4, rtol: float = 1e-5, atol: float = 1e-6,
) -> Forecaster | ContinuousFlow:  # fmt: skip
    """Return a continuous normalizing flow for points with the data's columns."""
    (features,) = dataset.input_shape
    return build("flow", features, hidden, method, steps, gradient, trace=trace, fine=fine, rtol=rtol, atol=atol)


def nats(log_p: Any) -> Any:
    """Return -log p(x), which the task measures."""
    return -log_p


trajectories = Recipe(
    kind="series",
    tasks=(Forecast,),
    data="cubic_spiral",
    build=build_forecaster,
    options={
        "hidden": (64, 64), "method": "rk4", "steps": 1, "gradient": "direct", "interval": 0.1, "extra": 0,
        "rtol": 1e-5, "atol": 1e-6,
    },
    learn=GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.02)),
    epochs=60,
    batch_size=48,
    metric="mse",
    score={"mse": 0.002},
    load={"window": 1, "horizon": 20},
)  # fmt: skip
densities = Recipe(
    kind="density",
    tasks=(Density,),
    data="eight_gaussians",
    build=build_flow,
    options={
        "hidden": (64, 64), "method": "rk4", "steps": 6, "gradient": "direct", "trace": "exact", "fine": 4, "rtol": 1e-5,
        "atol": 1e-6,
    },
    learn=GradientDescent(loss, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=0.02)),
    epochs=30,
    batch_size=240,
    metric="nll",
    decide=nats,
)  # fmt: skip
recipes: tuple[Recipe, ...] = (trajectories, densities)


POINTS = (Field("points"),)


def _windows(window: int, horizon: int, targets: tuple[int, ...]) -> Any:
    """Rows that turn around the origin, in the window and after it: what an equation in the plane can learn."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        radius, phase = rng.uniform(0.5, 1.5, size=(4, 1)), rng.uniform(0, 6, size=(4, 1))
        angle = phase + 0.3 * np.arange(window + horizon)
        rows = radius[:, :, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return rows[:, :window], rows[:, window:, list(targets)]

    return batch


def _points(rows: int, features: int) -> Any:
    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        return (rng.normal(size=(rows, features)),)

    return batch


cases: tuple[Case, ...] = (
    Case("trajectory", {"features": 2, "hidden": (8,), "horizon": 4}, _windows(1, 4, (0, 1)), loss),
    Case(
        "hidden coordinates",
        {
            "features": 2, "hidden": (6, 5), "method": "midpoint", "steps": 2, "horizon": 3, "interval": 0.2, "targets": (1,),
            "window": 3, "extra": 2,
        },
        _windows(3, 3, (1,)),
        loss,
    ),
    Case(
        "density", {"form": "flow", "features": 2, "hidden": (6, 5), "method": "rk4_38", "steps": 1}, _points(5, 2), loss,
        overfit=0.5, fields=POINTS,
    ),
    Case(
        "Euler", {"form": "flow", "features": 3, "hidden": (5,), "method": "euler", "steps": 3}, _points(4, 3), loss,
        overfit=0.5, fields=POINTS,
    ),
)  # fmt: skip
