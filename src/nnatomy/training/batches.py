"""Batches of few shapes for a compiled step, made ahead by a thread, and losses that are read late."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from nnatomy.backends import compiles_by_shape, kernels
from nnatomy.data import fields
from nnatomy.data.augment import Augmentation, fields_after
from nnatomy.data.dataset import Batch, Shuffle, Split, batches
from nnatomy.training.parallel.devices import Devices

T = TypeVar("T")
R = TypeVar("R")
SHORTEST = 16  # steps to which sequences are padded at least
MAX_PENDING_STEPS = 2  # results that are not read yet while a device computes: it never waits for Python


@dataclass(frozen=True)
class PlacedBatch:
    """A batch where the step takes it, which of its rows are examples, and the examples themselves on the host.

    `mask`: None where all are, booleans, or each row's weight.
    """

    batch: Batch
    mask: Any
    host: Batch
    examples: int

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of a step or a measurement after its arrays."""
        return (self.batch,) if self.mask is None else (self.batch, self.mask)


class Feed:
    """The way of batches to the step: as they are made; on a backend that compiles, in few shapes, placed ahead of their turn.

    On several devices, a batch is padded until it can be divided evenly.
    """

    def __init__(self, devices: Devices | None = None) -> None:
        self.devices = devices or Devices()

    def __call__(
        self, split: Split, rows: int, shuffle: Shuffle = None, *, augment: Augmentation | None = None, start: int = 0,
        share: bool = False, drop_last: bool = False,
    ) -> Generator[PlacedBatch]:  # fmt: skip
        """Yield the batches of a split, up to `rows` examples each, as `batches` makes them.

        With `drop_last`, a smaller last batch is left out. With `share`, a host makes only the examples that its own devices
        take, where these do not depend on the others.
        """
        named = fields_after(augment, split.fields)
        by_row, ragged = fields.per_row(named), fields.ragged(named)
        rows = min(rows, max(len(split), 1))
        if self.devices.count > 1:
            fields.require_rows(named, "divided among devices")
        if not compiles_by_shape() or all(field.per != "example" for field in named):
            made = batches(split, rows, shuffle, augment=augment, start=start, drop_last=drop_last)
            if ragged and by_row and kernels() != "reference":  # so that a plan serves many batches
                made = (fields.round_lengths(named, batch, few_lengths) for batch in made)
            return (self._as_made(batch, rows, named) for batch in made)
        whole = -(-rows // self.devices.count) * self.devices.count + fields.spare(named)
        uneven = len(split) % whole > 0 or whole > rows
        mine = self.devices.part(whole)
        share = share and augment is None and not ragged
        part = (lambda chosen: chosen[np.arange(whole)[mine] % len(chosen)]) if share else None

        def prepare(numbered: tuple[int, Batch]) -> PlacedBatch:
            number, batch = numbered
            examples = min(rows, len(split) - number * rows)
            padded = fields.round_lengths(named, batch, few_lengths)
            if not share:
                padded = fields.pad_rows(named, padded, whole)[0]
                padded = tuple(a[mine] for a in padded) if by_row else padded
            mask = (np.arange(whole) < examples)[mine]
            (padded, weights), (batch, _) = _unweighted(named, padded), _unweighted(named, batch)
            mask = mask if weights is None else mask * weights
            placed = self.devices.batch(padded, whole)
            masked = uneven or weights is not None
            return PlacedBatch(placed, self.devices.batch((mask,), whole)[0] if masked else None, batch, examples)

        made = batches(split, rows, shuffle, augment=augment, start=start, part=part, drop_last=drop_last)
        return prefetch(enumerate(made, start), prepare)

    def _as_made(self, batch: Batch, rows: int, named: tuple[fields.Field, ...]) -> PlacedBatch:
        batch, weights = _unweighted(named, batch)
        mask = None if weights is None else self.devices.batch((weights,), rows)[0]
        return PlacedBatch(self.devices.batch(batch, rows), mask, batch, fields.count(named, batch))

    def map(self, function: Callable[..., R], placed: Iterable[PlacedBatch], *before: Any) -> Iterator[tuple[PlacedBatch, R]]:
        """Yield each batch with function(*before, *its arguments), read as late as `Pending` allows."""
        pending: Pending[tuple[PlacedBatch, R]] = Pending()
        for batch in placed:
            yield from pending.push((batch, function(*before, *batch.args)))
        yield from pending.drain()


def _unweighted(named: tuple[fields.Field, ...], batch: Batch) -> tuple[Batch, Any]:
    """A batch without the weights of its examples, and these; None where it has none."""
    weighted = named[-1].role == "weight" and len(batch) == len(named)
    return (batch[:-1], batch[-1]) if weighted else (batch, None)


def alike(split: Split, augment: Augmentation | None = None) -> bool:
    """Return True if few plans serve all batches of a split: graphs that differ in size would want one each."""
    named = fields_after(augment, split.fields)
    return fields.per_row(named) or not fields.ragged(named)


class Pending(Generic[T]):
    """Results of steps that are dispatched and not read: none where steps run on the host, a few where a device computes."""

    def __init__(self) -> None:
        self._waiting: deque[T] = deque()

    def push(self, result: T) -> Iterator[T]:
        """Add a result, and yield those whose turn it is to be read."""
        self._waiting.append(result)
        yield from self._all_but(MAX_PENDING_STEPS if compiles_by_shape() else 0)

    def drain(self) -> Iterator[T]:
        """Yield all that is left."""
        yield from self._all_but(0)

    def _all_but(self, kept: int) -> Iterator[T]:
        while len(self._waiting) > kept:
            yield self._waiting.popleft()


def few_lengths(length: int) -> int:
    """Return the next of 16, 24, 32, 48, 64, 96 ...: few shapes remain, and at most a third of a long sequence is padding."""
    power = max(SHORTEST, 1 << (max(length, 1) - 1).bit_length())
    return power * 3 // 4 if power > SHORTEST and length <= power * 3 // 4 else power


def prefetch(items: Iterable[T], prepare: Callable[[T], R], most: int = 2) -> Generator[R]:
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
