"""From a split to what a compiled step is given: batches of few shapes, made by a thread while the step before them runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from nnatomy.data.dataset import Batch

T = TypeVar("T")
SHORTEST = 16  # steps to which sequences are padded at least


def padded(batch: Batch, rows: int) -> tuple[Batch, np.ndarray[Any, Any]]:
    """A batch filled up to `rows` examples with copies of its own, and which rows are examples: see `masked_examples`."""
    count = len(batch[0])
    filled = np.arange(rows) % count
    return (batch if count == rows else tuple(a[filled] for a in batch)), np.arange(rows) < count


def lengthened(batch: Batch) -> Batch:
    """Sequences (tokens, lengths, ...) made longer, to the next power of two: few shapes remain, and lengths still end them."""
    steps = batch[0].shape[1]
    goal = max(SHORTEST, 1 << (steps - 1).bit_length())
    wide = np.pad(batch[0], ((0, 0), (0, goal - steps), *((0, 0),) * (batch[0].ndim - 2)), mode="edge")
    return (wide, *batch[1:])


def ahead(items: Iterable[T], prepare: Callable[[T], Any], most: int = 2) -> Iterator[Any]:
    """prepare(item) of each item in order, made by a thread that is at most `most` items ahead.

    What is raised there is raised here, where the item would have come. Closing the generator ends the thread.
    """
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(most)
    stop = threading.Event()

    def put(entry: tuple[bool, Any]) -> None:
        while not stop.is_set():
            try:
                return made.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put((True, prepare(item)))
                if stop.is_set():
                    return
            put((False, None))
        except BaseException as problem:  # raised again where the items are used
            put((False, problem))

    thread = threading.Thread(target=work, name="nnatomy-batches", daemon=True)
    thread.start()
    try:
        while True:
            more, value = made.get()
            if more:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stop.set()
        thread.join()
