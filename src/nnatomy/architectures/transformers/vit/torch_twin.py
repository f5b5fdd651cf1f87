"""ViT in PyTorch: an independent twin, written from Dosovitskiy et al. (2020), equations 1 to 4 and appendices B.1, D.3, D.4.
It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZES = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120)}  # table 1: D, L, H, M


class PatchEmbeddings(nn.Module):
    """A linear map of each patch, as a convolution whose stride is its size."""

    def __init__(self, channels: int, patch: int, width: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, width, patch, patch)
        nn.init.xavier_uniform_(self.projection.weight.view(width, -1))
        nn.init.zeros_(self.projection.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(images).flatten(2).mT


class Embeddings(nn.Module):
    """z_0 = [class token; patches E] + E_pos, equation 1."""

    def __init__(self, channels: int, patch: int, patches: int, width: int, token: bool, positions: bool) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, width)) if token else None
        self.position_embeddings = nn.Parameter(0.02 * torch.randn(1, patches + token, width)) if positions else None
        self.patch_embeddings = PatchEmbeddings(channels, patch, width)

    def forward(self, images: Tensor) -> Tensor:
        z = self.patch_embeddings(images)
        if self.cls_token is not None:
            z = torch.cat([self.cls_token.expand(len(z), -1, -1), z], dim=1)
        return z if self.position_embeddings is None else z + self.position_embeddings


def linear(inputs: int, outputs: int) -> nn.Linear:
    """torch.nn.Linear with Xavier-uniform weights and biases of 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """softmax(q k^T / sqrt(D / H)) v in H heads, by torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = linear(width, width), linear(width, width)
        self.v_proj, self.o_proj = linear(width, width), linear(width, width)

    def forward(self, z: Tensor) -> Tensor:
        q, k, v = (part(z).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q_proj, self.k_proj, self.v_proj))
        return self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """W_2 gelu(W_1 z), with dropout after each of the two layers."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1, self.fc2 = linear(width, hidden), linear(hidden, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, z: Tensor) -> Tensor:
        return self.drop(self.fc2(self.drop(F.gelu(self.fc1(z)))))


class Layer(nn.Module):
    """z' = z + MSA(LN(z)), z'' = z' + MLP(LN(z')): equations 2 and 3."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, eps: float) -> None:
        super().__init__()
        self.layernorm_before = nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads)
        self.layernorm_after = nn.LayerNorm(width, eps)
        self.mlp = MLP(width, hidden, dropout)
        self.drop = nn.Dropout(dropout)

    def forward(self, z: Tensor) -> Tensor:
        z = z + self.drop(self.attention(self.layernorm_before(z)))
        return z + self.mlp(self.layernorm_after(z))


class ViT(nn.Module):
    """Embeddings, L layers, a norm, and the head on the class token (equation 4) or on the mean of the patches (D.3)."""

    def __init__(
        self,
        grid: tuple[int, int],
        patch: int,
        channels: int,
        classes: int,
        sizes: tuple[int, int, int, int],
        dropout: float,
        token: bool,
        positions: bool,
        eps: float,
    ) -> None:
        super().__init__()
        width, depth, heads, hidden = sizes
        self.image, self.token = (grid[0] * patch, grid[1] * patch), token
        self.embeddings = Embeddings(channels, patch, grid[0] * grid[1], width, token, positions)
        self.drop = nn.Dropout(dropout)
        self.layers = nn.ModuleList(Layer(width, heads, hidden, dropout, eps) for _ in range(depth))
        self.layernorm = nn.LayerNorm(width, eps)
        self.classifier = linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[2:] != self.image:
            raise ValueError(f"Images need {self.image} pixels. Received {tuple(images.shape[2:])}. Resize them.")
        z = self.drop(self.embeddings(images))
        for layer in self.layers:
            z = layer(z)
        z = self.layernorm(z)
        return self.classifier(z[:, 0] if self.token else z.mean(1))


def build(
    size: str = "base",
    image_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    channels: int = 3,
    classes: int = 1000,
    hidden_size: int | None = None,
    depth: int | None = None,
    heads: int | None = None,
    mlp_size: int | None = None,
    dropout: float = 0.0,
    pool: str = "cls",
    positions: bool = True,
    eps: float = 1e-12,
) -> ViT:
    """The network with the initial weights of the authors' code; a value that is given replaces that of table 1."""
    if size not in SIZES:
        raise ValueError(f"size is 'base', 'large' or 'huge'. Received {size!r}. Use size='base'.")
    if pool not in ("cls", "mean"):
        raise ValueError(f"pool is 'cls' or 'mean'. Received {pool!r}. Use pool='cls'.")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height % patch_size or width % patch_size:
        raise ValueError(f"patch_size divides both sides of the image. Received {patch_size} and {(height, width)}.")
    d, n, h, m = SIZES[size]
    sizes = (
        d if hidden_size is None else hidden_size,
        n if depth is None else depth,
        h if heads is None else heads,
        m if mlp_size is None else mlp_size,
    )
    grid = (height // patch_size, width // patch_size)
    return ViT(grid, patch_size, channels, classes, sizes, dropout, pool == "cls", positions, eps)


def loss(model: ViT, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats."""
    return F.cross_entropy(model(images), labels)
