"""From a split to what a compiled step is given: batches of few shapes, made by a thread while the step before them runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from nnatomy.backends import B, compiles_by_shape
from nnatomy.data.dataset import Batch, Split

T = TypeVar("T")
R = TypeVar("R")
SHORTEST = 16  # steps to which sequences are padded at least
LATE = 2  # results that are not read yet while a device computes: it never waits for Python


@dataclass(frozen=True)
class Given:
    """A batch where the step takes it, which of its rows count (None: all), and the examples themselves as they were made."""

    batch: Batch
    mask: Any
    made: Batch

    @property
    def examples(self) -> int:
        """How many rows count."""
        return len(self.made[0])

    @property
    def args(self) -> tuple[Any, ...]:
        """What a step or a measurement takes after its arrays."""
        return (self.batch,) if self.mask is None else (self.batch, self.mask)


class Feed:
    """How batches come to the step: as they are made; on a backend that compiles, in few shapes, placed ahead of their turn."""

    def __call__(self, made: Iterable[Batch], rows: int, split: Split) -> Generator[Given]:
        """The batches of a split, up to `rows` examples each, in order."""
        if not compiles_by_shape():
            return (Given(batch, None, batch) for batch in made)
        uneven = len(split) % rows > 0

        def prepare(batch: Batch) -> Given:
            even = lengthened(batch) if split.ragged else batch
            if not uneven:
                return Given(self.place(even), None, batch)
            filled, mask = padded(even, rows)
            return Given(self.place(filled), self.place((mask,))[0], batch)

        return ahead(made, prepare)

    def place(self, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arrays on the device that computes."""
        return tuple(B.asarray(a) for a in arrays)


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


def ahead(items: Iterable[T], prepare: Callable[[T], R], most: int = 2) -> Generator[R]:
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
