"""Batches: waiting requests run together, those that kill workers run alone, those without a client are left out."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from nnatomy.serving.batching import Batcher, Found, Job, Lost, Worker
from nnatomy.serving.frames import LENGTHS, pack, unpack
from nnatomy.serving.refusals import Refusal
from nnatomy.serving.worker import pad_rows

pytestmark = pytest.mark.any_kernels


class Doubling(Worker):
    """Returns twice the inputs after 10 ms; raises Lost if one is 13, and Refusal if one is -1."""

    def __init__(self) -> None:
        super().__init__("", 1.0)
        self.asked: list[list[float]] = []
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1

    async def stop(self) -> None:
        pass

    async def ask(self, arrays: Any, seconds: float | None = None) -> Found:
        values = arrays[0][:, 0].tolist()
        self.asked.append(values)
        await asyncio.sleep(0.01)
        if 13.0 in values:
            raise Lost
        if -1.0 in values:
            raise Refusal(422, "Negative.")
        return Found({"twice": [2 * v for v in values]})


def inputs(*values: float) -> tuple[np.ndarray, ...]:
    return (np.array(values, np.float32)[:, None],)


async def answers(worker: Doubling, requests: list[tuple[np.ndarray, ...]], most_rows: int = 8, most_waiting: int = 99) -> Any:
    batcher = Batcher([worker], most_rows, most_waiting)
    await batcher.start()
    try:
        found = await asyncio.gather(*(batcher.answer(arrays) for arrays in requests), return_exceptions=True)
        return [answer.columns if isinstance(answer, Found) else answer for answer in found]
    finally:
        await batcher.stop()


def test_waiting_requests_are_answered_together_and_each_gets_its_rows() -> None:
    worker = Doubling()
    found = asyncio.run(answers(worker, [inputs(1), inputs(2, 3), inputs(4), inputs(5, 6, 7, 8, 9)]))
    assert found == [{"twice": [2.0]}, {"twice": [4.0, 6.0]}, {"twice": [8.0]}, {"twice": [10.0, 12.0, 14.0, 16.0, 18.0]}]
    assert worker.asked == [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0, 9.0]]  # no batch has more than 8 rows


def test_inputs_of_another_shape_are_another_batch() -> None:
    worker = Doubling()
    wide = (np.ones((1, 3), np.float32),)
    found = asyncio.run(answers(worker, [inputs(1), wide, inputs(2)]))
    assert found == [{"twice": [2.0]}, {"twice": [2.0]}, {"twice": [4.0]}]
    assert worker.asked == [[1.0], [1.0], [2.0]]


def test_what_kills_workers_takes_no_other_request_with_it() -> None:
    worker = Doubling()
    found = asyncio.run(answers(worker, [inputs(1), inputs(13), inputs(2)]))
    assert found[0] == {"twice": [2.0]}
    assert found[2] == {"twice": [4.0]}
    assert isinstance(found[1], Refusal)
    assert found[1].status == 500
    assert worker.asked == [[1.0, 13.0, 2.0], [1.0], [13.0], [2.0]]
    assert worker.starts == 3


def test_a_refusal_reaches_the_one_whom_it_concerns() -> None:
    found = asyncio.run(answers(Doubling(), [inputs(1), inputs(-1), inputs(2)]))
    assert [found[0], found[2]] == [{"twice": [2.0]}, {"twice": [4.0]}]
    assert found[1].status == 422


def test_too_many_waiting_are_told_so() -> None:
    found = asyncio.run(answers(Doubling(), [inputs(i) for i in range(5)], most_waiting=3))
    assert [isinstance(f, Refusal) and f.status == 503 for f in found] == [False, False, False, True, True]


def test_what_nobody_waits_for_is_not_computed() -> None:
    async def run() -> list[list[float]]:
        worker = Doubling()
        batcher = Batcher([worker], 1, 99)
        await batcher.start()
        first = asyncio.create_task(batcher.answer(inputs(1)))
        second = asyncio.create_task(batcher.answer(inputs(2)))
        third = asyncio.create_task(batcher.answer(inputs(3)))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, third)
        await batcher.stop()
        return worker.asked

    assert asyncio.run(run()) == [[1.0], [3.0]]


def test_a_stopping_service_tells_those_who_wait() -> None:
    async def run() -> Any:
        batcher = Batcher([Doubling()], 1, 99)
        await batcher.start()
        waiting = [asyncio.create_task(batcher.answer(inputs(i))) for i in range(3)]
        await asyncio.sleep(0.001)
        await batcher.stop()
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [f.status for f in asyncio.run(run())] == [503, 503, 503]


def test_messages_carry_values_and_arrays_as_they_are() -> None:
    arrays = (np.arange(6, dtype=np.int64).reshape(2, 3).T, np.array([], np.float32), np.array([[True]]))
    message = pack({"a": [1, None, "é"]}, arrays)
    first, second = LENGTHS.unpack(message[: LENGTHS.size])
    values, found = unpack(message[LENGTHS.size : LENGTHS.size + first], message[LENGTHS.size + first :])
    assert len(message) == LENGTHS.size + first + second
    assert values == {"a": [1, None, "é"]}
    for a, b in zip(arrays, found, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_jobs_of_other_kinds_differ() -> None:
    def kind(*arrays: np.ndarray) -> Any:
        return Job(arrays, None).kind  # type: ignore[arg-type]

    assert kind(np.zeros((2, 3))) == kind(np.zeros((9, 3)))
    assert kind(np.zeros((2, 3))) != kind(np.zeros((2, 3), np.float32))


def test_rows_are_filled_up_to_powers_of_two() -> None:
    for rows, filled in ((1, 1), (2, 2), (3, 4), (5, 8), (8, 8), (9, 16)):
        (x,) = pad_rows((np.arange(2 * rows).reshape(rows, 2),))
        assert len(x) == filled
        np.testing.assert_array_equal(x[:rows], np.arange(2 * rows).reshape(rows, 2))
        assert (x[rows:] == x[rows - 1]).all()
