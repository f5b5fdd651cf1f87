"""From a split to what a compiled step is given: batches of few shapes, made by a thread while the step before them runs."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.data.dataset import Augment, Batch, Shuffle, Split, batches
from nnatomy.training.parallel.devices import Devices

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
    examples: int
    """How many rows count."""

    @property
    def args(self) -> tuple[Any, ...]:
        """What a step or a measurement takes after its arrays."""
        return (self.batch,) if self.mask is None else (self.batch, self.mask)


class Feed:
    """How batches come to the step: as they are made; on a backend that compiles, in few shapes, placed ahead of their turn.

    On several devices, a batch is filled up until it can be divided evenly.
    """

    def __init__(self, devices: Devices | None = None) -> None:
        self.devices = devices or Devices()

    def __call__(
        self, split: Split, rows: int, shuffle: Shuffle = None, *, augment: Augment | None = None, start: int = 0,
        share: bool = False,
    ) -> Generator[Given]:  # fmt: skip
        """The batches of a split, up to `rows` examples each, as `batches` makes them.

        With `share`, a host makes only the examples that its own devices take, where these do not depend on the others.
        """
        if not compiles_by_shape():
            made = batches(split, rows, shuffle, augment=augment, start=start)
            return (Given(batch, None, batch, len(batch[0])) for batch in made)
        whole = -(-rows // self.devices.count) * self.devices.count
        uneven = len(split) % whole > 0 or whole > rows
        mine = self.devices.part(whole)
        share = share and augment is None and not split.ragged
        part = (lambda chosen: chosen[np.arange(whole)[mine] % len(chosen)]) if share else None

        def prepare(numbered: tuple[int, Batch]) -> Given:
            number, batch = numbered
            examples = min(rows, len(split) - number * rows)
            filled = lengthened(batch) if split.ragged else batch
            if not share:
                filled = tuple(a[mine] for a in padded(filled, whole)[0])
            mask = (np.arange(whole) < examples)[mine]
            placed = self.devices.batch(filled, whole)
            return Given(placed, self.devices.batch((mask,), whole)[0] if uneven else None, batch, examples)

        return ahead(enumerate(batches(split, rows, shuffle, augment=augment, start=start, part=part), start), prepare)


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
