"""Requests to a served model: from a body to the model's inputs. Which HTTP status a fault has is for the service to say."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import Batch
from nnatomy.data.lines import normal
from nnatomy.errors import UserError, nearest_name

__all__ = [
    "BODY", "CSV", "JSON", "TEXT", "Fault", "RequestError", "RequestReader", "decoded", "items", "member", "numbers_of",
    "table_of", "type_of",
]  # fmt: skip

JSON, CSV, TEXT = "application/json", "text/csv", "text/plain"
BODY = "The body"
Fault = Literal["malformed", "too large", "unsupported", "unprocessable"]


class RequestError(UserError):
    """A request that does not fit, and what is at fault: its form, its size, its type or what it holds."""

    def __init__(self, fault: Fault, sentence: str) -> None:
        super().__init__(sentence)
        self.fault: Fault = fault


class RequestReader(ABC):
    """Reads the requests for one model."""

    accepts: tuple[str, ...]
    """Content types."""
    most_rows: int = 4096

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what a request holds, in plain values: "inputs", and "example", a valid body."""

    @abstractmethod
    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        """Return inputs and notices of a JSON object."""

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        """Return the same of a body of another type that is accepted."""
        raise RequestError("unsupported", f"The Content-Type must be {JSON}. Received {kind!r}. Set that header.")

    def check_rows(self, rows: int) -> None:
        """Raise RequestError for too many rows, before they take memory."""
        if rows > self.most_rows:
            raise RequestError("too large", f"A request holds at most {self.most_rows} rows. Received {rows}. Send several.")

    def read(self, content_type: str, body: bytes) -> tuple[Batch, list[str]]:
        """Return the model's inputs, and what was noticed. Raises RequestError for all that does not fit."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in self.accepts:
            received = f"Received {kind!r}" if kind else "Received none"
            raise RequestError(
                "unsupported", f"The Content-Type must be {' or '.join(self.accepts)}. {received}. Set that header."
            )
        if not body:
            raise RequestError("malformed", "A request needs a body. Received none. GET /schema shows one.")
        try:
            arrays, notices = self.from_json(_object(body)) if kind == JSON else self.from_other(kind, body)
        except RequestError:
            raise
        except UserError as problem:
            raise RequestError("unprocessable", str(problem)) from None
        if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in arrays):
            raise RequestError(
                "unprocessable", "Inputs must be finite numbers. Received some that are not. Leave them out or send null."
            )
        return arrays, notices


def _object(body: bytes) -> Mapping[str, Any]:
    def constant(name: str) -> Any:
        raise RequestError("malformed", f"JSON has no {name}. Send null for a missing value.")

    try:
        value = json.loads(body, parse_constant=constant)
    except RequestError:
        raise
    except (ValueError, RecursionError) as problem:
        where = f"at byte {problem.pos}" if isinstance(problem, json.JSONDecodeError) else "in its encoding or depth"
        raise RequestError(
            "malformed", f"The body must be JSON in UTF-8. Received something else ({where}). Compare GET /schema."
        ) from None
    if not isinstance(value, dict):
        raise RequestError(
            "unprocessable",
            f"The body must be a JSON object. Received {type_of(value)}. GET /schema shows one.",
        )
    return value


def type_of(value: Any) -> str:
    """Return the JSON name of a value's type."""
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def member(value: Mapping[str, Any], name: str) -> Any:
    """Return the one member that a body has."""
    if set(value) != {name}:
        received = ", ".join(repr(k[:40]) for k in list(value)[:5]) or "none"
        raise RequestError(
            "unprocessable",
            f"The JSON object has one member, {name!r}. Received {received}. GET /schema shows it.",
        )
    return value[name]


def items(value: Any, name: str, kind: type, what: str) -> list[Any]:
    """Return a list with at least one item, all of one type."""
    if not isinstance(value, list) or not value or not all(isinstance(item, kind) for item in value):
        raise RequestError(
            "unprocessable",
            f"{name!r} must be an array of at least one {what}. Received {type_of(value)}. Compare GET /schema.",
        )
    return value


def decoded(body: bytes) -> str:
    """Return the text of a body."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise RequestError(
            "malformed", f"Text must be UTF-8. Received another encoding (at byte {problem.start}). Encode it as UTF-8."
        ) from None


def numbers_of(value: Any, name: str, dtype: type[np.floating[Any]] = np.float32) -> np.ndarray[Any, Any]:
    """Return nested arrays of numbers as floats."""
    try:
        found = np.asarray(value)
    except (ValueError, RecursionError, OverflowError):
        found = np.asarray(None)
    if found.dtype.kind not in "iuf":
        raise RequestError(
            "unprocessable", f"{name!r} must be evenly nested arrays of numbers. Received other values. GET /schema shows it."
        )
    with np.errstate(over="ignore"):
        return found.astype(dtype)


def _cell(value: Any, name: str) -> str:
    """Return a JSON value as the text of a table's cell; "" for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise RequestError(
                "unprocessable", f"{name!r} must be a finite number. Received one that is too large. Send null if unknown."
            )
        return str(value) if abs(value) < 1e300 else "1e300"
    if isinstance(value, str):
        return normal(value.strip())
    raise RequestError(
        "unprocessable",
        f"{name!r} must be a number, text, true, false or null. Received {type_of(value)}. Send a number or a text."
    )


def table_of(value: Mapping[str, Any], needed: Sequence[str], allowed: Sequence[str | None]) -> RawTable:
    """Return the table of {"rows": [{column: value}, ...]}; each row has the needed columns, and no others but the allowed."""
    rows = items(member(value, "rows"), "rows", dict, "object")
    for number_of, row in enumerate(rows, 1):
        for name in needed:
            if name not in row:
                raise RequestError(
                    "unprocessable",
                    f"Every row needs the member {name!r}. Received row {number_of} without it. Send null if unknown."
                )
        for name in row:
            if name not in needed and name not in allowed:
                near = nearest_name(name, needed)
                remedy = f"Did you mean {near!r}?" if near else "Leave it out."
                raise RequestError(
                    "unprocessable",
                    f"A row holds only what the model reads. Received {name[:60]!r} in row {number_of}. {remedy}",
                )
    types = {name: "numeric" for name in needed if all(type(row[name]) in (int, float, type(None)) for row in rows)}
    return RawTable.of_text({name: [_cell(row[name], name) for row in rows] for name in needed}, BODY, types=types)
