"""`nnatomy verify`: architectures against their twins."""

from __future__ import annotations

from typing import Annotated

import typer

from nnatomy.cli.shared import Device, Json, print_json
from nnatomy.errors import UserError


def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[ARCHITECTURE]...", help="Names from nnatomy list; all if none is given.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Fill the tables of the architectures' pages.")] = False,
    backend: Annotated[str, typer.Option(help="Compute our side with numpy or jax.")] = "numpy",
    device: Device = None,
    as_json: Json = False,
) -> int:
    """Hold architectures against their PyTorch and Keras twins.

    Compares outputs, gradients and the weights after three steps, in double and in single precision.
    """
    from nnatomy import backends
    from nnatomy.catalog import architecture, architectures
    from nnatomy.verification.compare import verify_architectures
    from nnatomy.verification.report import show

    if write and backend != "numpy":
        raise UserError(f"The tables of pages hold the numpy backend's figures. Received --write with --backend {backend}. "
                        "Leave one of them out.")  # fmt: skip
    found = [architecture(name) for name in names] if names else list(architectures().values())
    with backends.backend(backend, device):
        results = verify_architectures(found, write=write, log=not as_json)
    if as_json:
        print_json({"architectures": {r.architecture: r.to_json() for r in results}, "passed": all(r.passed for r in results)})
    else:
        show(results)
    return 0 if all(r.passed for r in results) else 1
