"""DCGAN (2015): a GAN of convolutions, with labels for both networks if the data have them (2014)."""

from nnatomy.architectures.generative.dcgan.model import (
    DCGAN,
    Discriminator,
    Generator,
    build,
    discriminator_loss,
    discriminator_objective,
    generator_loss,
    generator_objective,
)

__all__ = [
    "DCGAN", "Discriminator", "Generator", "build", "discriminator_loss", "discriminator_objective", "generator_loss",
    "generator_objective",
]  # fmt: skip
