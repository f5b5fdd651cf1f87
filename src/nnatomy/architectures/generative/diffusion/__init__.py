"""Diffusion models: DDPM (2020), DDIM (2021), the cosine schedule (2021) and guidance (2021, 2022)."""

from nnatomy.architectures.generative.diffusion.model import (
    MLP,
    Diffusion,
    UNet,
    build,
    loss,
    noise_loss,
    signal_left,
)

__all__ = ["MLP", "Diffusion", "UNet", "build", "loss", "noise_loss", "signal_left"]
