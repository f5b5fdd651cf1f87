"""Colors, their scales and names that the figures of all tasks and reports share."""

from __future__ import annotations

from typing import Any

import numpy as np

BLUE, ORANGE, GREEN, GRAY = "#2563a8", "#d1662a", "#2e8b57", "#6b7280"
LONGEST = 24  # letters of a name that are shown


def short(name: Any, longest: int = LONGEST) -> str:
    """Return a name with its end cut off where it is long."""
    text = str(name)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def fit_colors(image: Any, least: float = 0.25) -> str:
    """Narrow the color scale of an image to what varies, where the values would fill less than `least` of it.

    A scale from -a to a stays symmetric, so that the color of 0 keeps its meaning. Values beyond the 2nd and 98th percentiles
    take the colors of the ends. Returns the `extend` of the image's color bar.
    """
    low, high = image.get_clim()
    values = np.ma.compressed(np.ma.masked_invalid(image.get_array()))
    if not values.size:
        return "neither"
    if low == -high:
        (reach,) = np.quantile(np.abs(values), [0.98])
        ends = (-reach, reach)
    else:
        ends = tuple(np.quantile(values, (0.02, 0.98)))
    if not 1e-6 * (high - low) < ends[1] - ends[0] < least * (high - low):
        return "neither"
    image.set_clim(*ends)
    below, above = values.min() < ends[0], values.max() > ends[1]
    return "both" if below and above else "min" if below else "max" if above else "neither"
