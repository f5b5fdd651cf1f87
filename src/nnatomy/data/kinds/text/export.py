"""Text in an exported model: numbers of characters; what is shorter than the window is padded at its end."""

from __future__ import annotations

import numpy as np

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.kind import ExportedInputs


class TextInputs(ExportedInputs):
    """Numbers of characters, as the network takes them."""

    pads_ends = True

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        return (rng.integers(0, self.dataset.outputs, (count, *self.dataset.input_shape)),)
