"""How the columns of a table are written, as training learned it: every other table is read in the same way, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnatomy.data.cells import TRUTH, TYPES, type_of, word_key
from nnatomy.data.cells import WORDS as WORDS_OF_TRUTH
from nnatomy.data.csvfile import MISSING, RawTable
from nnatomy.data.numerals import PLAIN, Numerals, is_plain, numerals_of, whole
from nnatomy.data.times import check_layout, parse_times, sole_layout
from nnatomy.errors import UserError, unknown_name

__all__ = ["AS_IS", "Learned", "Writing", "learned", "learned_numbers"]

NUMBERS, WORDS = ("numeric", "identifier"), ("categorical", "boolean")
HOW = {"numeric": (",", "."), "categorical": ("exact",)}
"""What may follow a type and a colon: the decimal sign, or that the case of letters counts."""


@dataclass(frozen=True)
class Writing:
    """How one column is written: its numbers' signs, its dates' layout, and whether its words differ by case."""

    numerals: Numerals = PLAIN
    layout: str = ""
    exact: bool = False

    def plain(self, table: RawTable, name: str, kind: str, known: Iterable[str] = ()) -> list[str]:
        """Return the cells of a column as those of all tables are written: 1612.45, 2024-01-31T00:00:00, a category of `known`.

        What is not of the kind stays as it is. Raises UserError for a number or a date that is written in another way.
        """
        cells = table.columns[name]
        if kind in NUMBERS:
            return self._numbers(cells, name) if table.types.get(name) != "numeric" else cells
        if kind == "date":
            times = parse_times([cell or "1970-01-01" for cell in cells], name, self.layout)
            return [str(time) if cell else "" for cell, time in zip(cells, times, strict=True)]
        return self._words(table.written(name), known) if kind in WORDS else cells

    def _numbers(self, cells: Sequence[str], name: str) -> list[str]:
        meant = {cell: self._number(cell) for cell in set(cells)}
        if None in meant.values():
            row, cell = next((row, cell) for row, cell in enumerate(cells) if meant[cell] is None)
            raise UserError(
                f"Column {name!r} holds numbers that are written as {self.numerals.example()}, as in the training table. "
                f"Received {cell!r} in row {row + 2}. Write it so."
            )
        return [str(meant[cell]) for cell in cells]

    def _number(self, cell: str) -> str | None:
        """Return a number in Python's notation, what is none as it is, and None for one that is written in another way."""
        if self.numerals == PLAIN and is_plain(cell):
            return whole(cell)
        value = self.numerals.number(cell)
        if np.isfinite(value):
            return whole(repr(value))
        return None if numerals_of([cell]) else cell

    def _words(self, cells: Sequence[str], known: Iterable[str]) -> list[str]:
        """Return the categories of `known` that cells mean; those of no other spelling as they are."""
        names = {self._key(name): name for name in known}
        truths = {TRUTH[key]: name for key, name in names.items()} if len(names) == 2 and names.keys() <= TRUTH.keys() else {}
        meant = {}
        for cell in set(cells):
            key = self._key(cell)
            missing = "" if cell.lower() in MISSING else whole(cell)
            meant[cell] = names.get(key, truths.get(TRUTH.get(key, np.nan), missing))
        return [meant[cell] for cell in cells]

    def _key(self, cell: str) -> str:
        return cell if self.exact else word_key(whole(cell))


AS_IS = Writing()


@dataclass(frozen=True)
class Learned:
    """A table for training in plain cells, with the type and the writing of each column, and what was noticed."""

    table: RawTable
    kinds: dict[str, str]
    writings: dict[str, Writing]
    notices: tuple[str, ...]


def learned(table: RawTable, types: Mapping[str, str], keep: Sequence[str] = ()) -> Learned:
    """Return what a table for training says about how its columns are written.

    Args:
        table: all of its rows, as how a file is written is no value that could leak
        types: chosen by the user: "numeric", "categorical", "date", ...; "numeric:," and "numeric:." say the decimal sign,
            "date:%d.%m.%Y" and "date:unix" the layout, "categorical:exact" that Yes and yes differ
        keep: columns that are inputs whatever they hold

    Raises UserError for an unknown column or type, a type that cells do not have, and where cells allow two readings of which
    nothing decides.
    """
    chosen = {name: _choice(name, text, table) for name, text in types.items()}
    kinds = {
        name: chosen[name][0] if name in chosen else type_of(name, [whole(cell) for cell in cells], table.types.get(name))
        for name, cells in table.columns.items()
    }
    notices: list[str] = []
    numerals = _all_numerals(table, kinds, chosen, notices)
    writings, plain = {}, {}
    for name, kind in kinds.items():
        if kind in (*WORDS, "constant") and name not in chosen and table.words.get(name):
            found = ", ".join(map(repr, sorted(set(table.words[name].values()))))
            notices.append(f"Column {name!r}: {found} counts as missing; --types {name}=categorical makes it a category.")
        how = chosen.get(name, ("", ""))[1]
        layout = (how or sole_layout(table.columns[name], name)) if kind == "date" else ""
        writings[name] = writing = Writing(numerals.get(name, PLAIN), layout, kind == "categorical" and how == "exact")
        words = kind in WORDS or (name in keep and kind not in (*NUMBERS, "date", "nested"))
        held = table if kind in WORDS and name in chosen else RawTable({name: table.columns[name]}, table.source, table.types)
        known = _spellings(held.written(name), writing, name, notices) if words else ()
        plain[name] = writing.plain(held, name, "categorical" if words else kind, known)
    return Learned(RawTable(plain, table.source), kinds, writings, tuple(notices))


def learned_numbers(table: RawTable, types: Mapping[str, str]) -> Learned:
    """Return `learned` of the columns of numbers alone: those whose cells all read as such, or that `types` makes numeric.

    For kinds of data whose other columns hold no more than names.
    """
    for name in types:
        if name not in table.columns:
            raise unknown_name("column", name, table.columns)
    chosen = {name: types.get(name) or ("numeric" if numerals_of(cells) else "") for name, cells in table.columns.items()}
    chosen = {name: kind for name, kind in chosen.items() if kind.partition(":")[0] == "numeric"}
    return learned(replace(table, columns={name: table.columns[name] for name in chosen}), chosen)


def _choice(name: str, text: str, table: RawTable) -> tuple[str, str]:
    """Return the type that a user chose and what follows its colon."""
    kind, colon, how = text.partition(":")
    if name not in table.columns:
        raise unknown_name("column", name, table.columns)
    if kind not in TYPES:
        raise unknown_name("column type", kind, TYPES)
    if kind == "date" and colon:
        check_layout(how, name)
    elif colon and how not in HOW.get(kind, ()):
        raise UserError(
            f"After a colon, a type has a layout (date:%d.%m.%Y), a decimal sign (numeric:,) or categorical:exact. Received "
            f"{text!r} for {name!r}. Use {name}={kind}."
        )
    present = [cell for cell in table.columns[name] if cell]
    if kind == "boolean" and not any({word_key(cell) for cell in map(whole, present)} <= words for words in WORDS_OF_TRUTH):
        raise UserError(
            f"A boolean column holds true and false, yes and no, or 1 and 0. Received {name!r}, which has others. Choose "
            "categorical."
        )
    return kind, how


def _all_numerals(
    table: RawTable, kinds: Mapping[str, str], chosen: Mapping[str, tuple[str, str]], notices: list[str]
) -> dict[str, Numerals]:
    """Return the numerals of each column of numbers; where 1,234 allows two, the other columns decide, then the delimiter."""
    allowed = {}
    for name, kind in kinds.items():
        if kind not in NUMBERS or table.types.get(name) == "numeric":
            continue
        cells = table.columns[name]
        allowed[name] = _chosen_numerals(name, cells, chosen[name][1]) if name in chosen else numerals_of(cells)
    decided = {
        found[0].decimal for name, found in allowed.items()
        if len(found) == 1 and any("." in cell or "," in cell for cell in table.columns[name])
    }  # fmt: skip
    settled = {name: _settled(name, table, found, decided, notices) for name, found in allowed.items()}
    for name, numerals in settled.items():
        odd = (cell for cell in table.columns[name] if not is_plain(cell) and np.isfinite(numerals.number(cell)))
        cell = next(odd, None) if len(allowed[name]) == 1 else None
        if cell is not None:
            notices.append(f"Column {name!r} holds numbers such as {cell!r}: read as {numerals.number(cell):.10g}.")
    return settled


def _chosen_numerals(name: str, cells: Sequence[str], decimal: str) -> list[Numerals]:
    found = numerals_of(cells, most=True)
    if decimal and found:
        known = [numerals for numerals in found if numerals.decimal == decimal]
        return known[:1] or [Numerals(decimal, "." if decimal == "," else ",", found[0].unit)]
    if not found:
        wrong = next((cell for cell in cells if cell and not numerals_of([cell])), "")
        raise UserError(
            f"Column {name!r} cannot be numeric. Received cells that are mostly not numbers ({wrong!r}). Use --types "
            f"{name}=categorical."
        )
    return found


def _settled(name: str, table: RawTable, found: Sequence[Numerals], decided: set[str], notices: list[str]) -> Numerals:
    """Return the one of two numerals that fit: by the decimal sign of other columns, then by the delimiter."""
    if len(found) < 2:
        return found[0]
    by_delimiter = {",": ".", ";": ","}.get(table.delimiter, "")
    plain = next((numerals for numerals in found if numerals == PLAIN), None)
    decimal = next(iter(decided)) if len(decided) == 1 else "." if plain else by_delimiter
    cell = next(cell for cell in table.columns[name] if "," in cell or "." in cell)
    readings = {numerals.decimal: numerals for numerals in found}
    says = {sign: f"{numerals.number(cell):.10g} ({name}=numeric:{sign})" for sign, numerals in readings.items()}
    if not decimal:
        raise UserError(
            f"A number has one reading. Received {name!r}, whose cells allow two: {cell} is {' or '.join(says.values())}. "
            f"Choose with --types {name}=numeric:. for a decimal point."
        )
    if plain is None or readings[decimal] != plain:
        other = next(text for sign, text in says.items() if sign != decimal)
        why = "as other columns are written" if len(decided) == 1 else "by the delimiter"
        notices.append(
            f"Column {name!r}: {cell} is read as {readings[decimal].number(cell):.10g}, {why}; with --types it is {other}."
        )
    return readings[decimal]


def _spellings(cells: Sequence[str], writing: Writing, name: str, notices: list[str]) -> list[str]:
    """Return the most frequent spelling of each category, and notice those that others share."""
    spelled: dict[str, Counter[str]] = {}
    for cell, count in Counter(cells).items():
        if cell:
            spelled.setdefault(writing._key(cell), Counter())[whole(cell)] += count
    merged = [list(found) for found in spelled.values() if len(found) > 1]
    if merged:
        shown = "; ".join(" = ".join(map(repr, group)) for group in merged[:3])
        notices.append(
            f"Column {name!r}: spellings that differ in case or spaces are one category ({shown}); --types "
            f"{name}=categorical:exact keeps them apart."
        )
    return [found.most_common(1)[0][0] for found in spelled.values()]
