"""What files of the packages tabm and rtdl_num_embeddings have beyond our names: masks of bins, which we see in the bins."""

from __future__ import annotations

from typing import Any

from nnatomy.interchange.names import Names


def tables(**_: Any) -> dict[str, Names]:
    """Return the tables of files where numbers have different numbers of bins, a single bin, or both."""
    masks = dict.fromkeys(("num_module.impl.mask", "num_module.impl.single_bin_mask"))
    return {"tabm": masks, **{f"tabm {name.rpartition('.')[2]}": {name: None} for name in masks}}
