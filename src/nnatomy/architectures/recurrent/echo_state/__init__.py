"""The echo state network (2001)."""

from nnatomy.architectures.recurrent.echo_state.model import (
    EchoState,
    Reservoir,
    absorb,
    begin_rows,
    build,
    fit,
    loss,
    solve,
    spectral_radius,
)

__all__ = ["EchoState", "Reservoir", "absorb", "begin_rows", "build", "fit", "loss", "solve", "spectral_radius"]
