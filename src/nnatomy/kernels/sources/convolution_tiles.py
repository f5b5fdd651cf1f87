"""The sizes of the tiles in which convolutions are computed: there is a kernel for each, and the lowering chooses."""

from __future__ import annotations

from nnatomy.kernels.processor import REGISTERS, ROWS

FORWARD = tuple((rows, min((REGISTERS - 1) // (rows + 1), 8)) for rows in range(1, ROWS + 1))
"""(output channels, vectors): all registers but one, which the weight needs, are in use."""
WEIGHT = tuple(
    (outputs, depth) for outputs, depth in ((4, 6), (6, 4), (2, 9), (1, 12), (3, 7), (5, 5), (2, 4), (1, 6))
    if outputs * depth + outputs + 1 <= REGISTERS
)  # fmt: skip
"""(output channels, depth) of a weight gradient's tiles, whose operands and sums are vectors."""
WINOGRAD_WEIGHT = tuple(
    (outputs, vectors) for outputs, vectors in ((6, 4), (8, 3), (8, 2), (16, 1), (6, 2), (4, 3), (8, 1))
    if outputs * vectors + vectors + 1 <= REGISTERS
)  # fmt: skip
"""(output channels, vectors of input channels) of the products of Winograd's weight gradient."""
NOTHING, RELU, TANH = 0, 1, 2
"""The operations that may be applied to a result as it is written."""
