"""Diffusion from diffusers, which ships the U-Net as UNet2DModel and the samplers as schedulers."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

LIBRARY = "diffusers"


def ships(network: str = "unet", bounds: tuple[float, float] | None = None, **_: Any) -> bool:
    """Return False for the denoiser of points, and for bounds that are not symmetric: its schedulers clip to [-r, r]."""
    return network == "unet" and (bounds is None or bounds[0] == -bounds[1])


class Waves(nn.Module):
    """Its `time_proj` in double precision: it rounds the angles to float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float64) / (half - 1))

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=1)


class Diffusion(nn.Module):
    """UNet2DModel, and a scheduler whose table of alpha-bar has double precision."""

    def __init__(self, network: nn.Module, scheduler: Any, steps: int, guidance: float, classes: int) -> None:
        super().__init__()
        self.network, self.scheduler, self.steps, self.guidance, self.classes = network, scheduler, steps, guidance, classes

    def eps(self, x: Tensor, t: Tensor, *labels: Tensor) -> Tensor:
        found: Tensor = self.network(x, t, *labels).sample
        return found

    def forward(self, z: Tensor, *labels: Tensor) -> Tensor:
        self.scheduler.set_timesteps(self.steps)
        x = z
        for t in self.scheduler.timesteps:
            times = t.expand(len(x))
            eps = self.eps(x, times, *labels)
            if self.guidance:
                nothing = torch.full_like(labels[0], self.classes)
                eps = torch.lerp(self.eps(x, times, nothing), eps, 1 + self.guidance)  # diffusers' guidance_scale is 1 + w
            x = self.scheduler.step(eps, int(t), x, eta=0.0, use_clipped_model_output=True).prev_sample
        return x


def build(
    shape: tuple[int, int, int], width: int = 128, multipliers: tuple[int, ...] = (1, 2, 2, 2),
    attention: tuple[int, ...] = (1,), blocks: int = 2, groups: int = 32, dropout: float = 0.1, classes: int = 0,
    timesteps: int = 1000, schedule: str = "linear", steps: int = 50, guidance: float = 0.0,
    bounds: tuple[float, float] | None = None, **_: Any,
) -> Diffusion:  # fmt: skip
    """The network and the sampler "ddim" that recipe.py's options describe."""
    from diffusers import DDIMScheduler, UNet2DModel

    levels = range(len(multipliers))
    network = UNet2DModel(
        sample_size=shape[1], in_channels=shape[0], out_channels=shape[0],
        block_out_channels=tuple(width * m for m in multipliers),
        down_block_types=tuple("AttnDownBlock2D" if level in attention else "DownBlock2D" for level in levels),
        up_block_types=tuple("AttnUpBlock2D" if level in attention else "UpBlock2D" for level in reversed(levels)),
        layers_per_block=blocks, norm_num_groups=groups, norm_eps=1e-6, attention_head_dim=None, downsample_padding=0,
        flip_sin_to_cos=False, freq_shift=1, dropout=dropout, num_class_embeds=classes + 1 if classes else None,
    )  # fmt: skip
    times = torch.arange(0, timesteps, 37)
    if not torch.allclose(network.time_proj(times).double(), Waves(width)(times), atol=1e-3):
        raise ValueError("diffusers' time embedding is not this one")
    network.time_proj = Waves(width)
    scheduler = DDIMScheduler(
        num_train_timesteps=timesteps, beta_schedule="linear" if schedule == "linear" else "squaredcos_cap_v2",
        beta_end=0.02, timestep_spacing="trailing", clip_sample=bounds is not None,
        clip_sample_range=1.0 if bounds is None else bounds[1],
    )  # fmt: skip
    if schedule == "linear":
        betas = torch.linspace(1e-4, 0.02, timesteps, dtype=torch.float64)
    else:
        waves = [math.cos((t / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(timesteps + 1)]
        betas = torch.tensor([min(1 - b / a, 0.999) for a, b in pairwise(waves)], dtype=torch.float64)
    if not torch.allclose(scheduler.betas.double(), betas, atol=1e-6):
        raise ValueError("diffusers' betas are not those of this schedule")
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    scheduler.final_alpha_cumprod = torch.ones((), dtype=torch.float64)
    return Diffusion(network, scheduler, steps, guidance, classes)


def loss(model: Diffusion, *batch: Tensor) -> Tensor:
    """The mean squared error of the noise that the network finds in what the scheduler makes noisy."""
    x, noise, *labels, t = batch
    noisy = model.scheduler.add_noise(x, noise, t)
    return (model.eps(noisy, t, *labels) - noise).square().mean()
