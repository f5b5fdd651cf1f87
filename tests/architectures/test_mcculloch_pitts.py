"""Units of 1943: what one computes, what two layers compute, and what the page claims."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.architectures.feedforward.mcculloch_pitts import TruthTable, Units, all_of, any_of, build, fit, none_of
from nnatomy.architectures.feedforward.mcculloch_pitts.model import absorb, begin, rows_of, solve
from nnatomy.architectures.feedforward.mcculloch_pitts.picture import FUNCTIONS, single_units
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels


def fired(units: Any, x: Any) -> list[int]:
    with nn.no_grad():
        return [int(v) for v in units(nn.tensor(np.asarray(x, np.float32))).numpy()[:, -1]]


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_gates_are_what_their_names_say(inputs: int) -> None:
    rows = rows_of(inputs)
    assert fired(all_of(inputs), rows) == [int(all(row)) for row in rows]
    assert fired(any_of(inputs), rows) == [int(any(row)) for row in rows]
    assert fired(none_of(inputs), rows) == [int(not any(row)) for row in rows]


def test_nand_is_or_after_two_nots() -> None:
    nots = Units(np.zeros((2, 2)), np.eye(2), [0, 0])
    assert fired(lambda x: any_of(2)(nots(x)), rows_of(2)) == [1, 1, 1, 0]


def test_one_inhibitory_input_is_a_veto() -> None:
    unit = Units([[1, 1, 1, 0]], [[0, 0, 0, 1]], [1])
    assert fired(unit, [[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]]) == [0, 1, 0]


def test_the_threshold_is_reached_by_equality() -> None:
    assert fired(Units([[1, 1, 1]], [[0, 0, 0]], [2]), [[1, 0, 0], [1, 1, 0], [1, 1, 1]]) == [0, 1, 1]


def test_one_unit_computes_eleven_of_the_sixteen_functions_of_two_inputs() -> None:
    """By enumeration in plain Python: every choice of excitatory and inhibitory inputs and threshold."""
    computed = set()
    for E, I, theta in product(product((0, 1), repeat=2), product((0, 1), repeat=2), range(4)):
        table = [
            int(not any(i and v for i, v in zip(I, row)) and sum(e and v for e, v in zip(E, row)) >= theta)
            for row in product((0, 1), repeat=2)
        ]
        computed.add(sum(v << k for k, v in enumerate(table)))
    missing = {FUNCTIONS[number] for number in set(range(16)) - computed}
    assert missing == {"NAND", "XOR", "XNOR", "a implies b", "b implies a"}
    assert set(single_units()) == computed
    for number, (E, I, theta) in single_units().items():
        assert fired(Units([E], [I], [theta]), rows_of(2)) == [number >> k & 1 for k in range(4)]


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_every_truth_table_is_computed_by_two_layers(inputs: int) -> None:
    rows = rows_of(inputs)
    for number in range(2 ** len(rows)):
        table = [number >> k & 1 for k in range(len(rows))]
        assert fired(fit(table), rows) == table


def test_tables_of_twelve_inputs_and_five_classes() -> None:
    table = np.random.default_rng(0).integers(0, 5, 2**12)
    with nn.no_grad():
        y = fit(table)(nn.tensor(rows_of(12))).numpy()
    assert (y.argmax(axis=1) == table).all()
    assert (y.sum(axis=1) == 1).all()


@pytest.mark.parametrize("inputs", [1, 3, 5])
def test_the_unit_of_a_row_fires_for_that_row_alone(inputs: int) -> None:
    with nn.no_grad():
        y = build(inputs).rows(nn.tensor(rows_of(inputs))).numpy()
    np.testing.assert_array_equal(y, np.eye(2**inputs))


def test_a_unit_that_excites_itself_remembers() -> None:
    latch = Units([[1, 0, 1]], [[0, 1, 0]], [1])  # set, reset, itself
    state, history = 0, []
    for pulse in ([0, 0], [1, 0], [0, 0], [0, 0], [0, 1], [0, 0]):
        (state,) = fired(latch, [[*pulse, state]])
        history.append(state)
    assert history == [0, 1, 1, 1, 0, 0]


def test_the_majority_decides_where_examples_disagree(tmp_path: Path) -> None:
    file = tmp_path / "votes.csv"
    rows = [("no", "no", "red")] * 20 + [("no", "yes", "blue")] * 20 + [("yes", "no", "blue")] * 20 + [("yes", "no", "red")] * 5
    file.write_text("a,b,color\n" + "".join(",".join(row) + "\n" for row in rows))
    result = nn.train("mcculloch_pitts", str(file), target="color", out=tmp_path / "run", report=False)
    asked = tmp_path / "asked.csv"
    asked.write_text("a,b\nno,no\nno,yes\nyes,no\n")
    predicted = nn.predict(result.run.folder, str(asked)).columns["prediction"]
    assert list(predicted) == ["red", "blue", "blue"]


def test_rows_that_were_never_seen_stay_silent() -> None:
    model = build(2)
    sums = {name: nn.tensor(a) for name, a in begin(model).items()}
    seen = absorb(model, sums, nn.tensor(rows_of(2)[:3]), nn.tensor(np.array([0, 1, 1])))
    solve(model, {name: t.numpy() for name, t in seen.items()})
    with nn.no_grad():
        np.testing.assert_array_equal(model(nn.tensor(rows_of(2))).numpy(), [[1, 0], [0, 1], [0, 1], [0, 0]])


def test_rows_that_pad_a_batch_are_not_counted() -> None:
    model, x, y = build(2), nn.tensor(rows_of(2)), nn.tensor(np.array([0, 1, 1, 0]))
    zeros = {name: nn.tensor(a) for name, a in begin(model).items()}
    masked = absorb(model, zeros, x, y, nn.tensor([1.0, 1.0, 0.0, 0.0]))["seen"].numpy()
    np.testing.assert_array_equal(masked, [[1, 0], [0, 1], [0, 0], [0, 0]])


@pytest.mark.parametrize("name", ["and", "or", "nand", "nor", "logic_xor", "majority", "parity4"])
def test_named_tables_are_learned_exactly(name: str, tmp_path: Path) -> None:
    assert nn.train("mcculloch_pitts", name, out=tmp_path / "run", report=False).metrics["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: TruthTable(13, 2), "1 to 12 inputs"),
        (lambda: TruthTable(0, 2), "1 to 12 inputs"),
        (lambda: fit([0, 1, 1]), "2\\^n rows"),
        (lambda: fit([]), "2\\^n rows"),
        (lambda: Units([[1, 2]], [[0, 0]], [1]), "E and I hold 0 and 1"),
        (lambda: Units([[1, 0]], [[0, 0]], [1, 2]), "one threshold a unit"),
        (lambda: nn.train("mcculloch_pitts", "breast_cancer"), "Received 30 inputs"),
    ],
)
def test_what_is_no_truth_table_is_refused(call: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call()
