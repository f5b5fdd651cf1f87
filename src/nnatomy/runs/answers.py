"""The result of `predict`: predictions with their rows named, as text for a CSV file, and their files in a folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.data import Inputs
from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically
from nnatomy.tasks import Answer


def named(answer: Answer, inputs: Inputs) -> Answer:
    """Return an Answer with a first column "row" that names each line by its input, and files named after their input.

    Columns of the inputs that are to be seen with their predictions follow the names. Lines with names of their own, the times
    of a forecast, have those as "row", and the name of their input next to it as "last_known".

    Raises UserError where two files would have one name.
    """
    rows = inputs.rows
    files: dict[str, Callable[[Path], None]] = {}
    for own, write in answer.files.items():
        name = Path(rows[answer.file_rows[own]]).stem + Path(own).suffix if own in answer.file_rows else own
        if name in files:
            raise UserError(f"Inputs need names that differ before their endings. Received two for {name}. Rename one of them.")
        files[name] = write
    answer = replace(answer, files=files, file_rows={})
    if not answer.columns:
        return answer
    shown = {name: np.array(values, dtype=object) for name, values in {"row": rows, **inputs.shown}.items()}
    kept = {name: values if answer.rows is None else values[answer.rows] for name, values in shown.items()}
    if inputs.following and answer.rows is not None:
        times = [time for row in dict.fromkeys(answer.rows.tolist()) for time in inputs.following[row]]
        kept = {"row": np.array(times, dtype=object), "last_known": kept["row"]}
    return replace(answer, columns=kept | answer.columns)


def lines(answer: Answer) -> list[dict[str, Any]]:
    """Return the lines of an Answer as plain values for JSON."""
    columns = {name: np.asarray(values).tolist() for name, values in answer.columns.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def as_csv(answer: Answer) -> str:
    """Return the columns of an Answer as CSV; numbers with six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in line.values()] for line in lines(answer))
    return text.getvalue()


def check_new(out: Path | None) -> None:
    """Raise UserError where something with this name exists."""
    if out is not None and out.exists():
        raise UserError(f"--out must name a new file or folder. Received {out}, which exists. Choose another name.")


def check_out(answer: Answer, out: Path | None) -> None:
    """Raise UserError for an Answer that has files but no place for them."""
    if answer.files and out is None:
        raise UserError(f"These results are files. Received no --out for {len(answer.files)} of them. Add --out FOLDER.")


def write_answer(answer: Answer, out: Path) -> list[Path]:
    """Write an Answer and return the paths written: columns into the CSV file `out`, files into the folder next to it.

    That folder has the file's name without its ending; an `out` without an ending is the folder itself, and the columns are
    in predictions.csv. Raises UserError where something exists already.
    """
    folder = out.with_suffix("") if out.suffix else out
    table = out if out.suffix else folder / "predictions.csv"
    wanted = [*([table] if answer.columns else []), *(folder / Path(name).name for name in answer.files)]
    for path in (*wanted, *([folder] if answer.files else [])):
        if path.exists():
            raise UserError(f"--out must name a new file or folder. Received {out}, and {path} exists. Choose another name.")
    if answer.columns:
        write_atomically(table, as_csv(answer))
    if answer.files:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in answer.files.items():
            write(folder / Path(name).name)
    return wanted


def write_sample(made: str | Answer, out: Path) -> list[Path]:
    """Write what `sample` returned and return what was written; `out` with the ending of a picture is the one of all together.

    Raises UserError where something exists already, or the ending is that of another form.
    """
    if isinstance(made, str):
        write_atomically(out, made)
        return [out]
    together = made.files.get(f"samples{out.suffix.lower()}") if out.suffix else None
    if together is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        together(out)
        return [out]
    if out.suffix and made.files:
        endings = sorted({Path(name).suffix for name in made.files})
        raise UserError(f"--out has the ending {' or '.join(endings)}, or names a folder. Received {out}. Change its ending.")
    return write_answer(made, out)
