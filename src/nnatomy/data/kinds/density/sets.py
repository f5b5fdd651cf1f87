"""Points with names, drawn from the seed: mixtures of Gaussians and two spirals."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset, generator
from nnatomy.data.kinds.density.points import points_dataset
from nnatomy.data.reading import Reading
from nnatomy.data.sets import Made, Named

__all__ = ["RADIUS", "SETS", "SPREAD", "grid", "ring"]

POINTS = 12_000
RADIUS, SPREAD = 2.0, 0.1
"""Of the ring: the distance of its modes from the origin, and the standard deviation of each in both directions."""


def ring(modes: int = 8) -> npt.NDArray[np.float64]:
    """Return centers (modes, 2) evenly spaced on a circle of RADIUS around the origin."""
    angle = 2 * np.pi * np.arange(modes) / modes
    return RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def grid(side: int = 5) -> npt.NDArray[np.float64]:
    """Return centers (side^2, 2) on a square grid with spacing 2."""
    places = 2.0 * (np.arange(side) - (side - 1) / 2)
    return np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)


def _mixture(name: str, centers: npt.NDArray[np.float64], text: str, reading: Reading) -> Dataset:
    """Return points of equally likely Gaussians."""
    rng = generator(reading.seed)
    mode = rng.integers(0, len(centers), POINTS)
    points = centers[mode] + SPREAD * rng.normal(size=(POINTS, 2))
    names = [str(n) for n in mode]
    return points_dataset(name, points, names, reading, columns=("x1", "x2"), description=f"{POINTS:,} points of {text}")


def _spirals(reading: Reading) -> Dataset:
    """Return two arms that wind around each other, the second one the first one rotated by half a turn."""
    rng = generator(reading.seed)
    arm, turn = rng.integers(0, 2, POINTS), 3 * np.pi * np.sqrt(rng.uniform(size=POINTS))
    angle = turn + np.pi * arm
    points = (turn / np.pi)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points += 0.5 * SPREAD * rng.normal(size=points.shape)
    return points_dataset(
        "two_spirals", points, [str(a) for a in arm], reading, columns=("x1", "x2"),
        description=f"{POINTS:,} points on two spirals",
    )  # fmt: skip


EIGHT = f"8 Gaussians on a circle of radius {RADIUS:g}, standard deviation {SPREAD:g}"
GRID = f"25 Gaussians on a grid with spacing 2, standard deviation {SPREAD:g}"
SETS: dict[str, Named] = {
    "eight_gaussians": Made(partial(_mixture, "eight_gaussians", ring(), EIGHT)),
    "grid_of_gaussians": Made(partial(_mixture, "grid_of_gaussians", grid(), GRID)),
    "two_spirals": Made(_spirals),
}
