"""Vision Transformer: an image is a row of patches, and an encoder of attention blocks reads it (Dosovitskiy et al. 2020).

Names and shapes of parameters are those of ViTForImageClassification in transformers 5, without its prefix `vit.`; names.py has
those of published files. Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import copy

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Conv2d, Dropout, LayerNorm, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

SIZES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120)}
"""Width, depth, heads and width of the MLP (table 1)."""
POOLS = ("cls", "mean")
STD = 0.02


def patches(images: Float[Tensor, "batch channels height width"], size: int) -> Float[Tensor, "batch patches values"]:
    """Return the squares of size x size pixels as rows: left to right, top to bottom, each as (channel, row, column)."""
    batch, channels, height, width = images.shape
    x = images.reshape(batch, channels, height // size, size, width // size, size)
    x = x.transpose((0, 2, 4, 1, 3, 5))  # (batch, row of the grid, column of the grid, channel, row, column)
    return x.reshape(batch, (height // size) * (width // size), channels * size * size)


def linear(inputs: int, outputs: int) -> Linear:
    """A linear map with the authors' initial weights: Glorot's uniform ones, and biases of 0."""
    made = Linear(inputs, outputs)
    made.weight, made.bias = Parameter(init.xavier_uniform((outputs, inputs))), Parameter(init.zeros((outputs,)))
    return made


class PatchEmbeddings(Module):
    """x E + b for each patch x; `projection` is stored as the convolution of stride `size` that computes the same."""

    def __init__(self, size: int, channels: int, width: int) -> None:
        self.size = size
        self.projection = Conv2d(channels, width, size, size)
        # as small as the first positions: a larger map hides them, and few images do not teach larger positions
        self.projection.weight = Parameter(init.normal((width, channels, size, size), std=STD))
        self.projection.bias = Parameter(init.zeros((width,)))

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch patches features"]:
        weight = self.projection.weight
        x = patches(images, self.size)
        return ops.linear(x, weight.reshape(len(weight), -1), self.projection.bias)  # type: ignore[no-any-return]


class Embeddings(Module):
    """z_0 = [class token, x_1 E + b, ..., x_N E + b] + positions (equation 1).

    With pool "mean" there is no class token, and without `positions` nothing is added.
    """

    def __init__(
        self, grid: tuple[int, int], patch_size: int, channels: int, width: int, dropout: float, pool: str, positions: bool
    ) -> None:
        self.grid, self.channels = grid, channels
        self.patch_embeddings = PatchEmbeddings(patch_size, channels, width)
        self.cls_token = Parameter(init.normal((1, 1, width), std=STD)) if pool == "cls" else None
        tokens = grid[0] * grid[1] + (pool == "cls")
        self.position_embeddings = Parameter(init.normal((1, tokens, width), std=STD)) if positions else None
        self.dropout = Dropout(dropout)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens features"]:
        size = self.patch_embeddings.size
        expected = (self.channels, *(size * n for n in self.grid))
        if images.ndim != 4 or images.shape[1:] != expected:
            raise UserError(
                f"This vision transformer reads images of shape {expected}. Received {tuple(images.shape[1:])}. "
                "Resize the images, or the model's positions with resized()."
            )
        z = self.patch_embeddings(images)
        if self.cls_token is not None:
            z = ops.concatenate([ops.broadcast_to(self.cls_token, (z.shape[0], 1, z.shape[2])), z], axis=1)
        return self.dropout(z if self.position_embeddings is None else z + self.position_embeddings)  # type: ignore[no-any-return]

    def resize(self, grid: tuple[int, int]) -> None:
        """Read images of another grid: the positions of patches are interpolated in 2-D, that of the class token is kept."""
        if self.position_embeddings is not None:
            first = int(self.cls_token is not None)
            table = self.position_embeddings.detach()
            width = table.shape[2]
            old = table[:, first:].reshape(1, *self.grid, width).transpose((0, 3, 1, 2))  # an image with `width` channels
            new = ops.interpolate(old, grid, mode="cubic").transpose((0, 2, 3, 1)).reshape(1, grid[0] * grid[1], width)
            self.position_embeddings = Parameter(ops.concatenate([table[:, :first], new], axis=1).data)
        self.grid = grid


class Attention(Module):
    """y = [head_1, ..., head_h] W_o^T + b_o, head = softmax(q k^T / sqrt(d)) v; every token sees all tokens."""

    def __init__(self, width: int, heads: int) -> None:
        self.count = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (linear(width, width) for _ in range(4))

    def forward(self, x: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch tokens features"]:
        q, k, v = self.heads(x)
        y = F.scaled_dot_product_attention(q, k, v)  # (batch, heads, tokens, features)
        return self.o_proj(y.transpose((0, 2, 1, 3)).reshape(x.shape))  # type: ignore[no-any-return]

    def heads(self, x: Float[Tensor, "batch tokens features"]) -> list[Tensor]:
        """Return queries, keys and values, each (batch, heads, tokens, features)."""
        batch, tokens, width = x.shape
        shape = (batch, tokens, self.count, width // self.count)
        return [part(x).reshape(shape).transpose((0, 2, 1, 3)) for part in (self.q_proj, self.k_proj, self.v_proj)]


class MLP(Module):
    """y = gelu(x W_1^T + b_1) W_2^T + b_2; the exact gelu, by erf."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        self.fc1, self.fc2 = linear(width, inner), linear(inner, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch tokens features"]:
        return self.fc2(self.dropout(F.gelu(self.fc1(x))))  # type: ignore[no-any-return]


class Layer(Module):
    """z = z + attention(layernorm_before(z)), z = z + mlp(layernorm_after(z)) (equations 2 and 3)."""

    def __init__(self, width: int, heads: int, inner: int, dropout: float, eps: float) -> None:
        self.layernorm_before = LayerNorm(width, eps)
        self.attention = Attention(width, heads)
        self.layernorm_after = LayerNorm(width, eps)
        self.mlp = MLP(width, inner, dropout)
        self.dropout = Dropout(dropout)

    def forward(self, z: Float[Tensor, "batch tokens features"]) -> Float[Tensor, "batch tokens features"]:
        z = z + self.dropout(self.attention(self.layernorm_before(z)))
        return z + self.dropout(self.mlp(self.layernorm_after(z)))  # type: ignore[no-any-return]


class ViT(Module):
    """A score for each class of an image: embeddings of patches, layers, and a linear map of the class token.

    Args:
        image_size: (height, width), which patch_size divides
        patch_size: side of a patch, in pixels
        channels: of an image
        classes: scores for each image
        hidden_size: width of a token, which `heads` divides
        depth: layers
        heads: attention heads of a layer
        mlp_size: width inside the MLPs
        dropout: probability after the embeddings and after each linear map but those for q, k and v (appendix B.1)
        pool: "cls", the class token, or "mean", the mean of the patches without such a token (appendix D.3)
        positions: False leaves out the positions (appendix D.4)
        eps: of normalization: 1e-12 in transformers and its files, 1e-6 in the authors' code and in timm

    Raises:
        UserError: for sizes below 1, patches that do not divide the image, heads that do not divide the width, another pool
    """

    def __init__(
        self, image_size: tuple[int, int], patch_size: int, channels: int, classes: int, hidden_size: int, depth: int,
        heads: int, mlp_size: int, dropout: float = 0.0, pool: str = "cls", positions: bool = True, eps: float = 1e-12,
    ) -> None:  # fmt: skip
        if pool not in POOLS:
            raise unknown_name("pool", pool, POOLS)
        if min(channels, classes, hidden_size, depth, heads, mlp_size) < 1 or hidden_size % heads:
            raise UserError(
                "A vision transformer needs sizes of at least 1, and a width that its heads divide. Received "
                f"channels {channels}, classes {classes}, hidden_size {hidden_size}, depth {depth}, heads {heads} and mlp_size "
                f"{mlp_size}. Change hidden_size or heads."
            )
        grid = grid_of(image_size, patch_size)
        self.embeddings = Embeddings(grid, patch_size, channels, hidden_size, dropout, pool, positions)
        self.layers = [Layer(hidden_size, heads, mlp_size, dropout, eps) for _ in range(depth)]
        self.layernorm = LayerNorm(hidden_size, eps)
        self.classifier = linear(hidden_size, classes)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the scores (equation 4). Raises UserError for images of another size."""
        z = self.embeddings(images)
        for layer in self.layers:
            z = layer(z)
        if self.embeddings.cls_token is not None:
            return self.classifier(self.layernorm(z[:, 0]))  # type: ignore[no-any-return]
        return self.classifier(self.layernorm(z).mean(axis=1))  # type: ignore[no-any-return]

    def attention(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "layers batch heads tokens tokens"]:
        """Return the weights of each layer's attention: row i says how much token i takes from each token."""
        found, z = [], self.embeddings(images)
        for layer in self.layers:
            q, k, _ = layer.attention.heads(layer.layernorm_before(z))
            found.append(F.attention_weights(q, k))
            z = layer(z)
        return ops.stack(found)  # type: ignore[no-any-return]

    def resized(self, image_size: int | tuple[int, int]) -> ViT:
        """Return a copy for images of another size: the same weights, with positions interpolated in 2-D (section 3.2)."""
        other = copy.deepcopy(self)
        other.embeddings.resize(grid_of(image_size, self.embeddings.patch_embeddings.size))
        return other


def grid_of(image_size: int | tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Return how many patches an image has, (down, across). Raises UserError where they do not fill it."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width, patch_size) < 1 or height % patch_size or width % patch_size:
        raise UserError(
            f"Patches must fill the image. Received images of {height} x {width} and patches of {patch_size} x {patch_size}. "
            "Use a patch_size that divides both sides, or resize the images."
        )
    return height // patch_size, width // patch_size


def rollout(weights: Float[Tensor, "layers batch heads tokens tokens"]) -> Float[Tensor, "batch tokens tokens"]:
    """Return the product over layers of (A + I) / 2, A the mean over heads: where the content of each token comes from.

    Each row sums to 1. Source: Abnar and Zuidema (2020), equation 1; used by Dosovitskiy et al. (2020), appendix D.8.
    """
    mixed = (weights.mean(axis=2) + ops.eye(weights.shape[-1])) / 2
    found = mixed[0]
    for layer in range(1, len(mixed)):
        found = mixed[layer] @ found
    return found


def build(
    size: str = "base", image_size: int | tuple[int, int] = 224, patch_size: int = 16, channels: int = 3, classes: int = 1000,
    hidden_size: int | None = None, depth: int | None = None, heads: int | None = None, mlp_size: int | None = None,
    dropout: float = 0.0, pool: str = "cls", positions: bool = True, eps: float = 1e-12,
) -> ViT:  # fmt: skip
    """A ViT from plain values: one of SIZES, of which each given number replaces the table's; the defaults are ViT-B/16."""
    if size not in SIZES:
        raise unknown_name("size", size, tuple(SIZES))
    given = (hidden_size, depth, heads, mlp_size)
    D, L, H, M = (usual if value is None else value for value, usual in zip(given, SIZES[size], strict=True))
    sides = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    return ViT(sides, patch_size, channels, classes, D, L, H, M, dropout, pool, positions, eps)


def loss(
    model: ViT, images: Float[Tensor, "batch channels height width"], labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Mean cross-entropy -ln p(label), and the scores."""
    scores = model(images)
    return F.cross_entropy(scores, labels), scores
