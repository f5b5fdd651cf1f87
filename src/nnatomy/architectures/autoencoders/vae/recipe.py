"""Training of VAEs on images, and the small instances that the contracts build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.autoencoders.vae.model import VAE, VQVAE, build, loss, negative_elbo, quantized
from nnatomy.architectures.autoencoders.vae.task import CodedDensity
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import AdamW, Cosine
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Contract, Recipe


def build_for(
    dataset: Dataset, latent: int = 20, hidden: Sequence[int] = (400,), beta: float = 1.0, conditional: bool = False
) -> VAE | VQVAE:
    """Return a VAE for a data set's examples and, if `conditional`, its classes; see `decoder_for`."""
    classes = len(dataset.classes) if conditional else 0
    return build(dataset.input_shape, latent, hidden, decoder_for(dataset), beta, classes)


def build_vq_for(
    dataset: Dataset, latent: int = 8, hidden: Sequence[int] = (400,), codes: int = 64, positions: int = 16,
    commitment: float = 0.25,
) -> VAE | VQVAE:  # fmt: skip
    """Return a VQ-VAE for a data set's examples; see `decoder_for`."""
    decoder = decoder_for(dataset)
    return build(dataset.input_shape, latent, hidden, decoder, codes=codes, positions=positions, commitment=commitment)


def decoder_for(dataset: Dataset) -> str:
    """Return the decoder whose likelihood the data have: Bernoulli for pixels of 0 and 1, Gaussian for all others."""
    return "bernoulli" if getattr(dataset.preprocessing, "binary", False) else "gaussian"


digits = Recipe(
    kind="image",
    tasks=(CodedDensity,),
    data="digits",
    build=build_for,
    options={"latent": 8, "hidden": (256, 128), "beta": 1.0, "conditional": False},
    learn=GradientDescent(loss, partial(AdamW, lr=2e-3, weight_decay=0.1), schedule=partial(Cosine, warmup=50)),
    epochs=250,
    batch_size=64,
    metric="nll",
    score={"nll": 18.1},
    load={"binary": True},
)
mnist = replace(
    digits, data="mnist", options={**digits.options, "latent": 20, "hidden": (400,)}, epochs=10, batch_size=128,
    score={"nll": 88},
    learn=GradientDescent(loss, partial(AdamW, lr=2e-3, weight_decay=0.01), schedule=partial(Cosine, warmup=200)),
)  # fmt: skip
vq = replace(
    digits, build=build_vq_for, name="vq", score={},
    options={"latent": 8, "hidden": (256, 128), "codes": 16, "positions": 4, "commitment": 0.25},
)  # fmt: skip
recipes = (digits, mnist, vq)


# Small instances. The noise is part of the batch, so that twins have the same.

NOISY = (Field("examples"), Field("noise", role="given"))
LABELED = (*NOISY, Field("labels", role="given"))
STRAIGHT = "the gradient passes straight through the choice of a code, which has none"


def _examples(shape: tuple[int, ...], latent: int = 0, classes: int = 0, binary: bool = True, rows: int = 6) -> Any:
    """Examples of 0 and 1, or normal ones with deviation 0.1; noise for a latent width, and labels for classes."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x = (rng.uniform(size=(rows, *shape)) < 0.5).astype(np.float64) if binary else 0.1 * rng.normal(size=(rows, *shape))
        noise = (rng.normal(size=(rows, latent)),) if latent else ()
        return (x, *noise, *((rng.integers(0, classes, rows),) if classes else ()))

    return batch


cases = (
    Case("bernoulli", {"shape": (12,), "latent": 3, "hidden": (7,)}, _examples((12,), 3), negative_elbo, fields=NOISY),
    Case("gaussian, beta", {"shape": (10,), "latent": 2, "hidden": (6, 5), "decoder": "gaussian", "beta": 4.0},
         _examples((10,), 2, binary=False), negative_elbo, fields=NOISY),
    Case("conditional", {"shape": (1, 3, 4), "latent": 3, "hidden": (8,), "classes": 4}, _examples((1, 3, 4), 3, 4),
         negative_elbo, fields=LABELED),
    Case("vq", {"shape": (12,), "latent": 2, "hidden": (8,), "codes": 5, "positions": 3}, _examples((12,)), quantized,
         fields=NOISY[:1], without={Contract.GRADIENTS: STRAIGHT}),
    Case("vq, gaussian", {"shape": (1, 3, 3), "latent": 3, "hidden": (7, 6), "decoder": "gaussian", "codes": 4, "positions": 2,
         "commitment": 0.5}, _examples((1, 3, 3), binary=False), quantized, fields=NOISY[:1],
         without={Contract.GRADIENTS: STRAIGHT}),
)  # fmt: skip
