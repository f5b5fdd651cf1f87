"""A worker process: it restores a run, then computes one result for each message until its input ends.

    python -m nnatomy.serving.worker RUN
"""

from __future__ import annotations

import base64
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnatomy.data import fields
from nnatomy.errors import UserError
from nnatomy.serving.frames import LENGTHS, pack, unpack
from nnatomy.tasks import Answer


def plain(column: Any) -> list[Any]:
    """A column for JSON: null where a number is not finite."""
    return [None if isinstance(v, float) and not math.isfinite(v) else v for v in column.tolist()]


def message(answer: Answer, rows: int) -> dict[str, Any]:
    """The results for the first `rows` inputs of a batch, as plain values: columns, files as base64, the input of each line."""
    found: dict[str, Any] = {}
    if answer.rows is None:
        found["columns"] = {name: plain(values[:rows]) for name, values in answer.columns.items()}
    else:
        kept = answer.rows < rows
        found["columns"] = {name: plain(values[kept]) for name, values in answer.columns.items()}
        found["lines_of"] = answer.rows[kept].tolist()
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, write in answer.files.items():
            path = Path(folder) / Path(name).name
            write(path)
            files[name] = base64.b64encode(path.read_bytes()).decode()
    return found | ({"files": files} if files else {})


def pad_rows(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """As many rows as the next power of two, the last one repeated: so that a plan serves many numbers of rows."""
    more = (1 << (len(arrays[0]) - 1).bit_length()) - len(arrays[0])
    return tuple(np.concatenate([a, a[-1:].repeat(more, axis=0)]) if more else a for a in arrays)


def main(folder: str, source: BinaryIO, target: BinaryIO) -> None:
    """Report that the model is ready, then respond to messages until `source` ends."""
    from threadpoolctl import threadpool_limits

    from nnatomy.runs.restore import restore

    def respond(**values: Any) -> None:
        target.write(pack(values))
        target.flush()

    try:
        prepared, _ = restore(folder)
    except UserError as problem:
        respond(refused=str(problem))
        return
    together = prepared.task.by_row
    prepared.task.planned = planned = together and not fields.ragged(prepared.dataset.fields)  # lengths would each want a plan
    respond(ready=True, together=together)
    with threadpool_limits(1, user_api="blas"):
        while head := source.read(LENGTHS.size):
            first, second = LENGTHS.unpack(head)
            _, arrays = unpack(source.read(first), source.read(second))
            try:
                rows = len(arrays[0])
                answer = prepared.task.answer(prepared.model, pad_rows(arrays) if planned else arrays)
                if answer.files and together:  # they would go to every request of the batch
                    raise RuntimeError(f"{type(prepared.task).__name__} answers with files and needs by_row = False")
                respond(**message(answer, rows))
            except UserError as problem:
                respond(refused=str(problem))
            except Exception as problem:  # reported to the service, which responds
                respond(failed=f"{type(problem).__name__}: {problem}")


if __name__ == "__main__":
    messages = os.fdopen(os.dup(1), "wb")  # all printed text goes to the error output
    os.dup2(2, 1)
    main(sys.argv[1], sys.stdin.buffer, messages)
