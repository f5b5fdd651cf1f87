"""A short batch that is padded and masked trains as it would by itself: a loss must leave out padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnatomy.catalog import Architecture
from nnatomy.data import fields
from nnatomy.functional import masked_examples
from nnatomy.training.recipe import Case, Contract
from nnatomy.verification.implementations import Ours
from nnatomy.verification.trajectory import cast, draw_weights

pytestmark = pytest.mark.any_kernels


def trained(ours: Ours, start: dict[str, Any], batch: tuple[Any, ...], mask: Any) -> dict[str, Any]:
    """Loss, gradients and buffers by name, after one step from `start`."""
    ours.load(start)
    with masked_examples(mask):
        loss, gradients = ours.gradients(batch)
    buffers = {name: np.array(b.data) for name, b in ours.model.named_buffers()}
    return {"the loss": np.array(loss)} | {f"the gradient of {n}": g for n, g in gradients.items()} | buffers


@pytest.mark.contract(Contract.PADDING)
def test_a_padded_batch_is_the_smaller_one(architecture: Architecture, case: Case) -> None:
    rng = np.random.default_rng(8)
    ours = Ours(architecture, case, "float64")
    start = draw_weights(ours, rng)
    whole = cast(case.batch(rng), "float64")
    rows = len(whole[0])
    short = tuple(a[: rows - 1] for a in whole)
    filled, mask = fields.pad_rows(fields.named(len(short)), short, rows)
    assert len(filled[0]) == rows
    assert mask.sum() == rows - 1
    expected, found = trained(ours, start, short, None), trained(ours, start, filled, mask)
    wrong = [n for n, e in expected.items() if not np.allclose(found[n], e, rtol=1e-9, atol=1e-9 * max(np.abs(e).max(), 1e-3))]
    hint = "end its loss with functional.batch_mean, or keep examples on the first axis"
    assert not wrong, (
        f"{architecture.name}, {case.name}: rows that only fill up the batch change {', '.join(wrong[:5])}; {hint}"
    )
    unmasked = trained(ours, start, filled, None)
    assert any(not np.allclose(unmasked[n], e, rtol=1e-9, atol=0) for n, e in expected.items()), "the mask would change nothing"
