"""Flags made of a request's options, so that each is declared once, on its dataclass, and reads alike in every command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import typer

from nnatomy.cli.shared import parse_pairs
from nnatomy.errors import UserError
from nnatomy.runs.options import FACTORS, SWITCH, Option, default_of, options_of

Given = dict[str, Any]
"""The options that a command line gave, by name; what it left out is absent."""


def with_options(request: type[Any], *, without: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that puts a request's flags in the place of a command's parameter `given`."""
    declared = {name: known for name, known in options_of(request).items() if name not in without}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def called(**values: Any) -> Any:
            texts = {name: values.pop(name) for name in declared}
            return command(given=_given(declared, texts), **values)

        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            flags = [_parameter(request, name, known) for name, known in declared.items()]
            parameters += flags if parameter.name == "given" else [parameter]
        called.__name__, called.__doc__, called.__module__ = command.__name__, command.__doc__, command.__module__
        called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorate


def refuse_beside_resume(request: type[Any], what: str, given: Mapping[str, Any], **others: Any) -> None:
    """Raise UserError for a flag next to --resume, other than those that say where a run computes.

    `others`: what a command takes besides the options of its request, by its flag's name, or in capitals for an argument.
    """
    known = options_of(request)
    flags = [_flag(known[name], value) for name, value in given.items() if not known[name].where]
    for name, value in others.items():
        if value not in (None, []):
            flags.append(f"--{name}" if name.islower() else str(value[0] if isinstance(value, list) else value))
    if flags:
        raise UserError(f"--resume continues {what} as it was started. Received {flags[0]} too. Leave it out.")


def _flag(known: Option, value: Any) -> str:
    return f"--no-{known.flag[2:]}" if value is False else known.flag


def _parameter(request: type[Any], name: str, known: Option) -> inspect.Parameter:
    default = default_of(request, name)
    either = default is True or (known.type is SWITCH and default is None)
    flag = f"{known.flag}/--no-{known.flag[2:]}" if either else known.flag
    shown = f" [default: {known.type.words(default)[0]}]" if isinstance(default, str | float) or type(default) is int else ""
    declared = typer.Option(None, flag, help=known.help + shown, metavar=known.metavar)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=known.type.annotation | None)


def _given(declared: Mapping[str, Option], texts: Mapping[str, Any]) -> Given:
    found: Given = {}
    for name, text in texts.items():
        known = declared[name]
        if text is None or text == []:
            continue
        found[name] = parse_pairs(text, known.flag, known.example) if known.type.pairs else text
        if known.type is FACTORS:
            found[name] = _numbers(known, found[name])
    return found


def _numbers(known: Option, pairs: Mapping[str, str]) -> dict[str, float]:
    try:
        return {name: float(text) for name, text in pairs.items()}
    except ValueError:
        shown = " ".join(f"{name}={text}" for name, text in pairs.items())
        example = f"{known.flag} {known.example}"
        raise UserError(f"{known.flag} takes name=number. Received {shown}. Use, for example, {example}.") from None
