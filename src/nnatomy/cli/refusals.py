"""A command line that cannot be read, in the form of all errors: the rule, what was received, the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nnatomy.errors import UserError, nearest_name
from nnatomy.printing import shown

NUMBERS = {"integer": ("a whole number", "3"), "number": ("a number", "0.5"), "float": ("a number", "0.5")}
"""Words in the parser's message about a value, what is needed instead, and an example."""


def refusal(problem: Any, words: Sequence[str]) -> UserError:
    """Return the error for what the command line's parser (Click, or Typer's copy of it) raised.

    Click's errors are told apart by what they carry, as Typer has its own classes of the same names.
    """
    context = getattr(problem, "ctx", None)
    named = " ".join(("nnatomy", *[word for word in words if word.isalpha()][:1]))  # of errors that come without their context
    command = getattr(context, "command_path", None) or named
    help = f"Run {command} --help to see all."
    parameter, flag = getattr(problem, "param", None), getattr(problem, "option_name", None)
    message = " ".join(str(problem.format_message()).split())
    if type(problem).__name__ == "MissingParameter":
        return UserError(f"{command} needs {_name(parameter)}. Received none. {help}")
    if parameter is not None:
        return _value(_name(parameter), list(_given(parameter, words)), message, help)
    if type(problem).__name__ == "NoSuchOption":
        near = nearest_name(str(flag), _flags(context))
        return UserError(f"{command} has no such flag. Received {shown(flag)}. {f'Did you mean {near}?' if near else help}")
    if flag is not None:
        wants = "takes no value" if "not take" in message else "takes a value"
        return UserError(f"{flag} {wants}. Received {'one' if 'not take' in message else 'none'}. {help}")
    known = getattr(getattr(context, "command", None), "commands", None)
    if known is not None:
        received = next((word for word in words if not word.startswith("-")), "")
        near = nearest_name(received, known)
        hint = f"Did you mean {near!r}?" if near else help
        return UserError(f"nnatomy needs one of its commands. Received {shown(received) if received else 'none'}. {hint}")
    extra = message.partition("argument(s) (")[2].removesuffix(")")
    return UserError(f"{command} takes fewer arguments. Received {shown(extra or message)} too. Leave it out. {help}")


def _value(name: str, received: Sequence[str], message: str, help: str) -> UserError:
    for word, (noun, example) in NUMBERS.items():
        if word in message:
            wrong = next((text for text in reversed(received) if not _is_number(text, noun)), None)
            told = message if wrong is None else shown(wrong)
            return UserError(f"{name} takes {noun}. Received {told}. Use, for example, {name} {example}.")
    return UserError(f"{name} takes another value. Received {shown(received[-1]) if received else message}. {help}")


def _is_number(text: str, noun: str) -> bool:
    try:
        (int if noun == "a whole number" else float)(text)
    except ValueError:
        return False
    return True


def _name(parameter: Any) -> str:
    """Return the flag of an option, or the name of an argument as the help shows it."""
    flags = [flag for flag in parameter.opts if flag.startswith("--")]
    return flags[0] if flags else str(getattr(parameter, "metavar", None) or parameter.name.upper())


def _given(parameter: Any, words: Sequence[str]) -> Iterator[str]:
    """Yield the values that a command line gives an option."""
    for word, following in zip(words, (*words[1:], "")):
        flag, equals, value = word.partition("=")
        if flag in parameter.opts:
            yield value if equals else following


def _flags(context: Any) -> list[str]:
    return [flag for parameter in context.command.get_params(context) for flag in (*parameter.opts, *parameter.secondary_opts)]
