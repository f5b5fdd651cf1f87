"""Names of snntorch: the layers of its tutorials are named as here, and its neurons have two buffers more."""

from __future__ import annotations

from typing import Any

from nnatomy.interchange.names import Names


def tables(learning: str = "surrogate", **_: Any) -> dict[str, Names]:
    """Return the table of a network of two layers; a file with other resets or graded spikes is not recognized by its names."""
    if learning != "surrogate":
        return {}
    extra = ("graded_spikes_factor", "reset_mechanism_val")
    return {"snntorch": dict.fromkeys(f"lif{layer}.{name}" for layer in (1, 2) for name in extra)}
