"""What a worker process does: restores a run, then answers message after message until its input ends.

    python -m nnatomy.serving.worker RUN
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any, BinaryIO

import numpy as np

from nnatomy.errors import UserError
from nnatomy.serving.frames import LENGTHS, pack, unpack


def plain(column: Any) -> list[Any]:
    """A column as JSON knows it: null stands for what is not finite."""
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in column.tolist()]


def filled_up(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many rows as the next power of two, the last one repeated: so that a plan serves many numbers of rows."""
    more = (1 << (len(arrays[0]) - 1).bit_length()) - len(arrays[0])
    return tuple(np.concatenate([a, a[-1:].repeat(more, axis=0)]) if more else a for a in arrays)


def main(folder: str, source: BinaryIO, target: BinaryIO) -> None:
    """Tells that it is ready, then answers; the end of `source` ends it."""
    from threadpoolctl import threadpool_limits

    from nnatomy.runs.restore import restore

    def say(**values: Any) -> None:
        target.write(pack(values))
        target.flush()

    try:
        prepared, _ = restore(folder)
    except UserError as problem:
        say(refused=str(problem))
        return
    # What is drawn at random depends on the rows beside it: such requests are not put together.
    together = prepared.dataset.task != "language"
    prepared.task.planned = planned = together and prepared.dataset.kind != "sentences"  # whose lengths would each want a plan
    say(ready=True, together=together)
    with threadpool_limits(1, user_api="blas"):
        while head := source.read(LENGTHS.size):
            first, second = LENGTHS.unpack(head)
            _, arrays = unpack(source.read(first), source.read(second))
            try:
                rows = len(arrays[0])
                columns = prepared.task.predict(prepared.model, filled_up(arrays) if planned else arrays)
                say(columns={name: plain(values[:rows]) for name, values in columns.items()})
            except UserError as problem:
                say(refused=str(problem))
            except Exception as problem:  # told to the service, which answers for it
                say(failed=f"{type(problem).__name__}: {problem}")


if __name__ == "__main__":
    messages = os.fdopen(os.dup(1), "wb")  # whatever prints goes to the error output
    os.dup2(2, 1)
    main(sys.argv[1], sys.stdin.buffer, messages)
