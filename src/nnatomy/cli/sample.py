"""`nnatomy sample`: something that a trained run makes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from nnatomy.cli.shared import Backend, Device, Json, print_data, print_json
from nnatomy.printing import print_text


def sample(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    count: Annotated[int, typer.Option(help="New examples; a text is one.")] = 64,
    seed: Annotated[int, typer.Option(help="Of the noise that examples are made from, and of a text's tokens.")] = 0,
    label: Annotated[str | None, typer.Option(help="Class of all examples, for a conditional model.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text to continue, if not a line break.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of a text's tokens: below 1 likely ones become likelier; 0 is greedy.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Draw a text from the K likeliest tokens; 0 is all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file: CSV, PNG or text; or, for pictures, a folder.")] = None,
    backend: Backend = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make something with a trained run: a text, points, pictures."""
    import nnatomy as nn
    from nnatomy.runs import answers

    answers.check_new(out)
    made = nn.sample(
        run, count, seed, label, prompt=prompt, temperature=temperature, top_k=top_k, backend=backend, device=device
    )
    if not isinstance(made, str):
        answers.check_out(made, out)
    if as_json:
        print_json({"run": str(run), "sample": made if isinstance(made, str) else answers.lines(made)})
    if out is not None:
        print_text(f"Written: {', '.join(map(str, answers.write_sample(made, out)))}.", file=sys.stderr)
    elif not as_json:
        print_data(made if isinstance(made, str) else answers.as_csv(made), end="\n" if isinstance(made, str) else "")
