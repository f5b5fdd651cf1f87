"""Series that have names: three made here, and public ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset, SeriesSplit, generator
from nnatomy.data.kinds.series.series import Series, SeriesPreprocessing, forecast_dataset
from nnatomy.data.reading import Reading
from nnatomy.data.sets import RAW, Made, Named, Public

__all__ = ["SETS", "SPIRAL", "mackey_glass", "spiral"]

Array = npt.NDArray[Any]


def _made(name: str, reading: Reading) -> Dataset:
    n = 4000
    values = mackey_glass(n) if name == "mackey_glass" else _sines(n, generator(reading.seed))
    times = np.arange(n).astype("datetime64[s]")
    return forecast_dataset(Series(name, "time", times, (name,), values[:, None]), name, reading)


def _sines(n: int, rng: np.random.Generator) -> Array:
    t = np.arange(n)
    return np.asarray(np.sin(2 * np.pi * t / 25) + 0.5 * np.sin(2 * np.pi * t / 61 + 1.0) + rng.normal(0, 0.05, n))


def mackey_glass(n: int, tau: int = 17, steps: int = 10) -> Array:
    """Return n points, one per time unit, of dx/dt = 0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x (Mackey and Glass 1977).

    Runge-Kutta of order four with `steps` steps a unit, the delayed value interpolated; the first 300 units are dropped.
    """
    h, delay, total = 1.0 / steps, tau * steps, (n + 300) * steps
    x = np.full(total + delay + 1, 1.2)

    def slope(now: float, late: float) -> float:
        return 0.2 * late / (1.0 + late**10) - 0.1 * now

    for k in range(delay, total + delay):
        late, later = float(x[k - delay]), float(x[k - delay + 1])
        middle = 0.5 * (late + later)
        k1 = slope(x[k], late)
        k2 = slope(x[k] + 0.5 * h * k1, middle)
        k3 = slope(x[k] + 0.5 * h * k2, middle)
        k4 = slope(x[k] + h * k3, later)
        x[k + 1] = x[k] + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x[delay + 300 * steps :: steps][:n]


SPIRAL = np.array([[-0.1, -2.0], [2.0, -0.1]])
TRAJECTORIES, SPACING = 1200, 0.02
"""Trajectories of `cubic_spiral`, and the time between two of their rows."""


def spiral(start: Array, rows: int, steps: int = 8) -> Array:
    """Return (n, rows, 2): from each start (n, 2), the solution of dx/dt = A x^3 for a row every SPACING.

    The equation is the example of torchdiffeq, after Chen et al. (2018); x^3 is taken of each coordinate. Runge-Kutta of order
    four with `steps` steps a row.
    """
    h, x = SPACING / steps, np.asarray(start, np.float64)
    path = [x]

    def slope(now: Array) -> Array:
        return np.asarray(now**3 @ SPIRAL.T)

    for n in range((rows - 1) * steps):
        k1 = slope(x)
        k2 = slope(x + 0.5 * h * k1)
        k3 = slope(x + 0.5 * h * k2)
        k4 = slope(x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if (n + 1) % steps == 0:
            path.append(x)
    return np.stack(path, axis=1)


def _cubic_spiral(reading: Reading) -> Dataset:
    """Return trajectories released at random points of a disk; each is one window with what follows it."""
    past, future = int(reading.use("window", 1)), int(reading.use("horizon", 20))
    rng, rows = generator(reading.seed), past + future
    angle, radius = 2 * np.pi * rng.uniform(size=TRAJECTORIES), 2 * np.sqrt(rng.uniform(size=TRAJECTORIES))
    start = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    values = spiral(start, rows).reshape(-1, 2)
    times = np.arange(len(values)).astype("datetime64[s]")
    series = Series("cubic_spiral", "time", times, ("x1", "x2"), values)
    parts = [(rows * a, rows * b) for a, b in reading.periods(TRAJECTORIES)]
    preprocessing = SeriesPreprocessing.fit("forecast", series, np.arange(*parts[0]), series.columns, past, horizon=future)
    scaled = preprocessing.standardize(values)
    splits = [SeriesSplit(scaled[a:b], (0, 1), past, future, stride=rows) for a, b in parts]
    text = f"{TRAJECTORIES:,} trajectories of dx/dt = A x^3 in the plane; {past} rows forecast {future}"
    return Dataset(
        "cubic_spiral", "series", "forecast", splits[0], splits[1], splits[2], (), preprocessing, (), (past, 2), text, 2,
    )  # fmt: skip


NAB_LABELS = {"nab_labels.json": "53db71fb7d2b176bb28d2bc66d4425689cf2a3724ef4237021c314bfe2340771"}
SETS: dict[str, Named] = {
    **{name: Made(partial(_made, name)) for name in ("sines", "mackey_glass")},
    "cubic_spiral": Made(_cubic_spiral),
    "etth1": Public(
        "timeseries/ETTh1.csv",
        "two years of hourly load and oil temperature of a transformer (Zhou et al. 2021)",
        target="OT",
        url=f"{RAW}/zhouhaoyi/ETDataset/1d16c8f/ETT-small/ETTh1.csv",
        sha256="f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    "opsd_germany": Public(
        "timeseries/opsd_germany_daily.csv",
        "Germany's daily electricity, 2006 to 2017 (Open Power System Data)",
        target="Consumption",
        url=f"{RAW}/jenfly/opsd/e623749/opsd_germany_daily.csv",
        sha256="729b025d984497827cb6b89048d7c2c6a551e7aa727bc47ea0b74a2d1e84675d",
    ),
    "nab_machine_temperature": Public(
        "timeseries/nab_machine_temperature_system_failure.csv",
        "a machine's temperature every five minutes, with labeled failures (NAB; Lavin and Ahmad 2015)",
        files=NAB_LABELS,
        sha256="92bf5b87fc7f9bba8ca0b7ec63ccaac8cb4a1371a258e8c29a10ae9c018d82a4",
    ),
    "nab_ambient_temperature": Public(
        "timeseries/nab_ambient_temperature_system_failure.csv",
        "an office's temperature every hour, with labeled failures (NAB; Lavin and Ahmad 2015)",
        files=NAB_LABELS,
        sha256="230b68ccca20f59d562afd5d24ad52939c9b784386bed0054018358bf9120581",
    ),
}
