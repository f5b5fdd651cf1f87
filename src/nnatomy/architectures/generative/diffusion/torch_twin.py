"""Diffusion in PyTorch: an independent twin, written from Ho et al. (2020), Song et al. (2021), Nichol and Dhariwal (2021), and
Ho and Salimans (2022). It shares only the names and shapes of its state with the model: network.*, as diffusers names them."""

import math
from itertools import accumulate, pairwise
from operator import mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def kept_signal(timesteps: int, schedule: str) -> list[float]:
    """alpha-bar at each time: the product of 1 - beta up to it."""
    if schedule == "linear":
        betas = [(1e-4 + (0.02 - 1e-4) * t / (timesteps - 1)) * 1000 / timesteps for t in range(timesteps)]
    elif schedule == "cosine":
        f = [math.cos((t / timesteps + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(timesteps + 1)]
        betas = [1 - f[t + 1] / f[t] for t in range(timesteps)]
    else:
        raise ValueError(f"schedule must be 'linear' or 'cosine', got {schedule!r}")
    return list(accumulate((1 - min(beta, 0.999) for beta in betas), mul))


class Times(nn.Module):
    """Sinusoids of the time, then two linear layers."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.half = width // 2
        self.linear_1, self.linear_2 = nn.Linear(width, outputs), nn.Linear(outputs, outputs)

    def forward(self, t: Tensor) -> Tensor:
        dtype = self.linear_1.weight.dtype
        frequencies = 10000.0 ** (-torch.arange(self.half, dtype=torch.float64) / (self.half - 1))
        angles = (t.double()[:, None] * frequencies).to(dtype)
        y: Tensor = self.linear_2(F.silu(self.linear_1(torch.cat([angles.sin(), angles.cos()], 1))))
        return y


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, time: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=1e-6)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, outputs)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x))) + self.time_emb_proj(F.silu(emb))[:, :, None, None]
        y: Tensor = self.conv_shortcut(x) + self.conv2(self.dropout(F.silu(self.norm2(h))))
        return y


class Attention(nn.Module):
    """One head over all pixels, added to what comes in."""

    def __init__(self, maps: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, maps, eps=1e-6)
        self.to_q, self.to_k, self.to_v = (nn.Linear(maps, maps) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(maps, maps)])

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(self.to_q(pixels), self.to_k(pixels), self.to_v(pixels))
        return x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)


class Resample(nn.Module):
    """Half the sides, with zeros at the bottom and at the right only, or twice the sides by repetition."""

    def __init__(self, maps: int, down: bool) -> None:
        super().__init__()
        self.down = down
        self.conv = nn.Conv2d(maps, maps, 3, stride=2) if down else nn.Conv2d(maps, maps, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.down else F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return y


class Level(nn.Module):
    """The residual blocks of a level on one of the paths, each with attention where the level has it."""

    def __init__(
        self, inputs: list[int], maps: int, time: int, groups: int, dropout: float, attended: bool, resampler: str | None
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(n, maps, time, groups, dropout) for n in inputs)
        self.attentions = nn.ModuleList(Attention(maps, groups) for _ in inputs) if attended else None
        self.resampler = resampler
        if resampler is not None:
            self.add_module(resampler, nn.ModuleList([Resample(maps, resampler == "downsamplers")]))

    def block(self, k: int, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resnets[k](x, emb)
        return x if self.attentions is None else self.attentions[k](x)

    def resample(self, x: Tensor) -> Tensor:
        y: Tensor = getattr(self, str(self.resampler))[0](x)
        return y


class Middle(nn.Module):
    def __init__(self, maps: int, time: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Residual(maps, maps, time, groups, dropout) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(maps, groups)])

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        y: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x, emb)), emb)
        return y


class UNet(nn.Module):
    def __init__(
        self, channels: int, width: int, multipliers: tuple[int, ...], attention: tuple[int, ...], blocks: int, groups: int,
        dropout: float, classes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        time, maps = 4 * width, [width * m for m in multipliers]
        self.conv_in = nn.Conv2d(channels, maps[0], 3, padding=1)
        self.time_embedding = Times(width, time)
        self.class_embedding = nn.Embedding(classes + 1, time) if classes else None
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        last, now, skips = len(maps) - 1, maps[0], [maps[0]]
        for level, m in enumerate(maps):
            inputs = [now] + [m] * (blocks - 1)
            resampler = "downsamplers" if level < last else None
            self.down_blocks.append(Level(inputs, m, time, groups, dropout, level in attention, resampler))
            now, skips = m, skips + [m] * (blocks + (level < last))
        self.mid_block = Middle(now, time, groups, dropout)
        for level, m in reversed(list(enumerate(maps))):
            inputs = [(m if k else now) + skips.pop() for k in range(blocks + 1)]
            resampler = "upsamplers" if level else None
            self.up_blocks.append(Level(inputs, m, time, groups, dropout, level in attention, resampler))
            now = m
        self.conv_norm_out = nn.GroupNorm(groups, now, eps=1e-6)
        self.conv_out = nn.Conv2d(now, channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        emb = self.time_embedding(t)
        if self.class_embedding is not None:
            emb = emb + self.class_embedding(labels)
        x = self.conv_in(x)
        skips = [x]
        for level in self.down_blocks:
            for k in range(len(level.resnets)):
                x = level.block(k, x, emb)
                skips.append(x)
            if level.resampler is not None:
                x = level.resample(x)
                skips.append(x)
        x = self.mid_block(x, emb)
        for level in self.up_blocks:
            for k in range(len(level.resnets)):
                x = level.block(k, torch.cat([x, skips.pop()], 1), emb)
            if level.resampler is not None:
                x = level.resample(x)
        y: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return y


class DenseBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1, self.time_emb_proj, self.linear_2 = (nn.Linear(width, width) for _ in range(3))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return h + self.linear_2(F.silu(self.linear_1(F.silu(h)) + self.time_emb_proj(F.silu(emb))))


class MLP(nn.Module):
    """Residual blocks on the numbers of an example, their sines and their cosines."""

    def __init__(self, features: int, width: int, blocks: int, classes: int) -> None:
        super().__init__()
        self.input = nn.Linear(11 * features, width)
        self.time_embedding = Times(width, width)
        self.class_embedding = nn.Embedding(classes + 1, width) if classes else None
        self.blocks = nn.ModuleList(DenseBlock(width) for _ in range(blocks))
        self.output = nn.Linear(width, features)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        emb = self.time_embedding(t)
        if self.class_embedding is not None:
            emb = emb + self.class_embedding(labels)
        flat = x.flatten(1)
        waves = torch.cat([flat * 2**k for k in range(5)], 1)
        h = self.input(torch.cat([flat, waves.sin(), waves.cos()], 1))
        for block in self.blocks:
            h = block(h, emb)
        return self.output(F.silu(h)).reshape(x.shape)


class Diffusion(nn.Module):
    """A network that finds the noise in an example; a call takes it away in `steps` steps that draw none."""

    def __init__(
        self, network: nn.Module, kept: list[float], classes: int, sampler: str, steps: int, eta: float, guidance: float,
        bounds: tuple[float, float] | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network, self.kept, self.classes, self.bounds = network, kept, classes, bounds
        self.sampler, self.steps, self.eta, self.guidance = sampler, steps, eta, guidance

    def noise_in(self, x: Tensor, time: int, labels: Tensor | None) -> Tensor:
        t = torch.full((len(x),), time)
        eps: Tensor = self.network(x, t, labels)
        if self.guidance and labels is not None:
            eps = eps + self.guidance * (eps - self.network(x, t, torch.full_like(labels, self.classes)))
        return eps

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.sampler not in ("ddim", "euler") or self.eta != 0:
            raise ValueError(f"the twin draws no numbers, got sampler={self.sampler!r}, eta={self.eta!r}")
        times = [-(-len(self.kept) * n // self.steps) - 1 for n in range(self.steps, -1, -1)]
        for t, previous in pairwise(times):
            now, then = self.kept[t], self.kept[previous] if previous >= 0 else 1.0
            eps = self.noise_in(x, t, labels)
            clean = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
            if self.bounds is not None:
                clean = clean.clamp(*self.bounds)
                eps = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
            if self.sampler == "ddim":
                x = math.sqrt(then) * clean + math.sqrt(1 - then) * eps
            else:  # a step along the noise's own scale
                change = math.sqrt((1 - then) / then) - math.sqrt((1 - now) / now)
                x = math.sqrt(then) * (x / math.sqrt(now) + change * eps)
        return x


def build(
    shape: tuple[int, ...], network: str = "unet", width: int = 128, multipliers: tuple[int, ...] = (1, 2, 2, 2),
    attention: tuple[int, ...] = (1,), blocks: int = 2, groups: int = 32, dropout: float = 0.1, classes: int = 0,
    timesteps: int = 1000, schedule: str = "linear", sampler: str = "ddim", steps: int = 50, eta: float = 0.0,
    variance: str = "posterior", guidance: float = 0.0, drop: float = 0.1, bounds: tuple[float, float] | None = None,
) -> Diffusion:  # fmt: skip
    """The model with PyTorch's own initial weights; `variance` and `drop` concern random numbers that are not drawn here."""
    if network not in ("unet", "mlp"):
        raise ValueError(f"network must be 'unet' or 'mlp', got {network!r}")
    found: nn.Module = MLP(math.prod(shape), width, blocks, classes) if network == "mlp" else UNet(
        shape[0], width, tuple(multipliers), tuple(attention), blocks, groups, dropout, classes
    )  # fmt: skip
    return Diffusion(found, kept_signal(timesteps, schedule), classes, sampler, steps, eta, guidance, bounds)


def loss(model: Diffusion, x: Tensor, noise: Tensor, *rest: Tensor) -> Tensor:
    """Mean squared error of the noise that the network finds; rest is labels, if there are classes, and times."""
    t = rest[-1]
    kept = torch.tensor(model.kept, dtype=torch.float64)[t].reshape(-1, *[1] * (x.dim() - 1))
    noisy = kept.sqrt().to(x.dtype) * x + (1 - kept).sqrt().to(x.dtype) * noise
    return F.mse_loss(model.network(noisy, t, rest[0] if model.classes else None), noise)
