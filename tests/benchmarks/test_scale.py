"""The arithmetic of docs/scale.md: bytes and operations by hand, collectives read from programs, a tiny step compiled unrun."""

from __future__ import annotations

from itertools import pairwise

import pytest

from scale import arithmetic, page
from scale.arithmetic import MODELS
from scale.compiled import MODES, Found, Request, collective_bytes, compiled, extrapolated

pytestmark = pytest.mark.any_kernels


def test_the_published_sizes() -> None:
    """As Hugging Face counts gpt2, gpt2-medium, gpt2-large and gpt2-xl."""
    assert [m.parameters for m in MODELS] == [124_439_808, 354_823_168, 774_030_080, 1_557_611_200]


def test_operations_are_six_for_each_parameter_and_token() -> None:
    for model in MODELS:
        attention = 12 * model.depth * model.width * arithmetic.STEPS
        assert (model.operations(10) / 10 - attention) / model.parameters == pytest.approx(6, rel=0.01)


def test_memory() -> None:
    assert arithmetic.state_bytes(10**9) == 12e9
    assert arithmetic.state_bytes(10**9, 8) == 1.5e9
    small = MODELS[0]
    alone, eighth = (arithmetic.step_bytes(small, 1000, n) for n in (1, 8))
    assert alone - eighth == pytest.approx(16 * small.parameters * 7 / 8)
    assert arithmetic.step_bytes(small, 2000) - alone == small.activations(1000) == 1000 * (34 * 12 * 768 + 4 * 50257)


def test_what_moves() -> None:
    assert arithmetic.data_parallel_bytes(100, 1) == arithmetic.fully_sharded_bytes(100, 1) == 0
    assert arithmetic.data_parallel_bytes(100, 2) == 400  # half of the gradients there, half of the sums back
    assert arithmetic.fully_sharded_bytes(100, 4) == 3 * 0.75 * 200
    tokens = arithmetic.tokens_to_hide(800.0, 100, rate=6e12, bandwidth=1e9)
    assert 6 * 100 * tokens / 6e12 == pytest.approx(800 / 1e9)


def test_collectives_are_read_from_a_program() -> None:
    program = """
      %a = f32[8,4]{1,0} all-reduce(%x), replica_groups={}
      %b = (bf16[2,4]{1,0}, bf16[8,4]{1,0}) all-gather-start(%y), dimensions={0}
      %c = bf16[8,4]{1,0} all-gather-done(%b)
      %d = f32[2,4]{1,0} reduce-scatter(%z), dimensions={0}
      %e = ((f32[8]{0}, f32[4]{0}), (f32[2]{0}, f32[1]{0})) reduce-scatter-start(%u, %v)
      ROOT %f = f32[] add(%g, %h)
    """
    assert collective_bytes(program, 4) == {"all-reduce": 128, "all-gather": 64, "reduce-scatter": 128 + 48}
    assert Found(0, 0, 0, {"all-reduce": 128, "all-gather": 64}).moved(4) == (2 * 128 + 64) * 3 / 4


def test_other_depths_follow_linearly() -> None:
    found = extrapolated((Found(10, 1, 2, {"all-reduce": 4}), Found(14, 2, 2, {"all-gather": 1})), (1, 3), 7)
    assert found == Found(22, 4, 2, {"all-gather": 3, "all-reduce": -8})


@pytest.mark.slow
def test_a_tiny_step_is_compiled_for_two_devices() -> None:
    """State is halved when it is split, gradients are summed, operations are those of a device's own rows."""
    pytest.importorskip("jax")
    whole, split = compiled([Request(1, 32, 2, 64, 16, 2, 2, mode, "cpu") for mode in MODES])
    parameters = 64 * 32 + 16 * 32 + 12 * 32 * 32 + 13 * 32 + 2 * 32
    assert whole.state == pytest.approx(12 * parameters, rel=0.02)  # the steps of each parameter are counted too
    assert split.state == pytest.approx(whole.state / 2, rel=0.05)
    assert whole.collectives["all-reduce"] >= 4 * parameters
    assert split.collectives["all-gather"] >= 2 * parameters
    assert whole.temporary > 0 < split.temporary
    rows, weights = 2 * 16, 12 * 32 * 32 + 64 * 32  # of a device; of its products
    assert 1 < whole.operations / (6 * rows * weights) < 2.5  # next to products: attention, norms, the update
    assert whole.operations == pytest.approx(split.operations)


def test_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each model for each number of devices, extrapolated to its depth; what does not fit is marked, and the check is shown."""

    def fake(requests: list[Request]) -> list[Found]:
        return [Found(12e9 / r.devices, 2e9 * r.depth, 1e12 * r.depth, {"all-reduce": 1e9 * (r.devices > 1)}) for r in requests]

    monkeypatch.setattr(page, "compiled", fake)
    found = page.simulate("h100", devices=(1, 8))
    assert len(found["rows"]) == 4 * 3
    header, rows = page.simulated_table(found["rows"])
    assert rows[0][:7] == ("GPT-2 124M", "1", "alone", "12.0", "24.0", "yes", "12.0")
    assert rows[3][4:6] == ("96.0", "**no**")
    assert rows[4][7] == "1.75"  # twice 7/8 of what is summed
    assert float(rows[4][9]) == pytest.approx(1e3 * 1.75e9 / page.NVLINK, rel=0.01)
    text = page.markdown(found)
    assert f"| {' | '.join(header)} |" in text
    assert "GPT-2 124M, 8 devices, data parallel: next to the state 24.0 GB (linear: 24.0)" in text
    assert "{" not in text


def test_a_program_that_does_not_compile_is_told() -> None:
    pytest.importorskip("jax")
    with pytest.raises(RuntimeError, match="Compiling for 1 devices failed"):
        compiled([Request(1, 32, 3, 64, 16, 2, 1, MODES[0], "cpu")])  # three heads of 32 features


def test_tokens_that_hide_do_not_depend_on_the_model() -> None:
    needed = [
        arithmetic.tokens_to_hide(arithmetic.data_parallel_bytes(m.parameters, 8), m.parameters, 4e14, 4.5e11) for m in MODELS
    ]
    assert all(a == pytest.approx(b) for a, b in pairwise(needed))
