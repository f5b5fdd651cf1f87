"""Generative adversarial networks (2014), with the losses of the Wasserstein GANs (2017)."""

from nnatomy.architectures.generative.gan.model import (
    GAN,
    Critic,
    Generator,
    build,
    clip_weights,
    critic_loss,
    critic_objective,
    generator_loss,
    generator_objective,
    gradient_norms,
)

__all__ = [
    "GAN", "Critic", "Generator", "build", "clip_weights", "critic_loss", "critic_objective", "generator_loss",
    "generator_objective", "gradient_norms",
]  # fmt: skip
