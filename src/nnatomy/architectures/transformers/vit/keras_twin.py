"""ViT in Keras: an independent twin, written from Dosovitskiy et al. (2020), equations 1 to 4 and appendices B.1, D.3, D.4.
Patches are cut by a transposition and mapped by a dense layer; `weight_map` says where each tensor of our state is."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

Array = np.ndarray


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[Array], Array]
    from_keras: Callable[[Array], Array]


def gelu(x: Any) -> Any:
    """x Phi(x), by the error function."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


class Layer(layers.Layer):
    """z' = z + MSA(LN(z)), z'' = z' + MLP(LN(z')): equations 2 and 3."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, eps: float, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.heads, self.features = heads, width // heads

        def dense(part: str, units: int) -> layers.Dense:
            return layers.Dense(units, dtype=dtype, name=f"{name}_{part}")

        self.before = layers.LayerNormalization(epsilon=eps, dtype=dtype, name=f"{name}_layernorm_before")
        self.q, self.k, self.v, self.o = (dense(f"attention_{part}_proj", width) for part in "qkvo")
        self.after = layers.LayerNormalization(epsilon=eps, dtype=dtype, name=f"{name}_layernorm_after")
        self.fc1, self.fc2 = dense("mlp_fc1", hidden), dense("mlp_fc2", width)
        self.drops = [layers.Dropout(dropout, dtype=dtype) for _ in range(3)]

    def cut(self, x: Any) -> Any:
        """(batch, tokens, D) -> (batch, tokens, heads, D / heads)"""
        return ops.reshape(x, (-1, x.shape[1], self.heads, self.features))

    def attention(self, x: Any) -> Any:
        q, k, v = (self.cut(part(x)) for part in (self.q, self.k, self.v))
        weights = ops.softmax(ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.features), axis=-1)
        mixed = ops.einsum("bhij,bjhd->bihd", weights, v)
        return self.o(ops.reshape(mixed, (-1, x.shape[1], self.heads * self.features)))

    def call(self, z: Any, training: bool = False) -> Any:
        z = z + self.drops[0](self.attention(self.before(z)), training=training)
        y = self.drops[1](gelu(self.fc1(self.after(z))), training=training)
        return z + self.drops[2](self.fc2(y), training=training)

    def named(self) -> dict[str, Any]:
        """The parts by their names within the layer."""
        return {
            "layernorm_before": self.before,
            "attention.q_proj": self.q,
            "attention.k_proj": self.k,
            "attention.v_proj": self.v,
            "attention.o_proj": self.o,
            "layernorm_after": self.after,
            "mlp.fc1": self.fc1,
            "mlp.fc2": self.fc2,
        }


class ViT(keras.Model):
    """Embeddings, L layers, a norm, and the head on the class token (equation 4) or on the mean of the patches (D.3)."""

    def __init__(
        self,
        grid: tuple[int, int],
        patch: int,
        channels: int,
        classes: int,
        sizes: tuple[int, int, int, int],
        dropout: float,
        pool: str,
        positions: bool,
        eps: float,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        width, depth, heads, hidden = sizes
        self.grid, self.patch, self.channels = grid, patch, channels
        tokens = grid[0] * grid[1] + (pool == "cls")
        normal = keras.initializers.RandomNormal(stddev=0.02)
        self.cls_token = self.position_embeddings = None
        if pool == "cls":
            self.cls_token = self.add_weight(shape=(1, 1, width), initializer=normal.clone(), name="cls_token")
        if positions:
            self.position_embeddings = self.add_weight(shape=(1, tokens, width), initializer=normal.clone(), name="positions")
        self.projection = layers.Dense(width, dtype=dtype, name="embeddings_patch_embeddings_projection")
        self.drop = layers.Dropout(dropout, dtype=dtype)
        self.blocks = [Layer(width, heads, hidden, dropout, eps, f"layers_{i}", dtype) for i in range(depth)]
        self.layernorm = layers.LayerNormalization(epsilon=eps, dtype=dtype, name="layernorm")
        self.classifier = layers.Dense(classes, dtype=dtype, name="classifier")

    def patches(self, images: Any) -> Any:
        """(batch, C, gh P, gw P) -> (batch, gh gw, C P P): x_p of equation 1, each patch in the order channel, row, column."""
        (rows, columns), c, p = self.grid, self.channels, self.patch
        cut = ops.reshape(images, (-1, c, rows, p, columns, p))
        return ops.reshape(ops.transpose(cut, (0, 2, 4, 1, 3, 5)), (-1, rows * columns, c * p * p))

    def call(self, images: Any, training: bool = False) -> Any:
        size = (self.grid[0] * self.patch, self.grid[1] * self.patch)
        if tuple(images.shape[2:]) != size:
            raise ValueError(f"Images need {size} pixels. Received {tuple(images.shape[2:])}. Resize them.")
        z = self.projection(self.patches(images))
        if self.cls_token is not None:
            z = ops.concatenate([ops.repeat(self.cls_token, ops.shape(z)[0], axis=0), z], axis=1)
        if self.position_embeddings is not None:
            z = z + self.position_embeddings
        z = self.drop(z, training=training)
        for block in self.blocks:
            z = block(z, training=training)
        z = self.layernorm(z)
        return self.classifier(ops.mean(z, axis=1) if self.cls_token is None else z[:, 0])


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
    """The network with Keras' own initial weights (Xavier uniform); a value that is given replaces that of table 1."""
    table = {"base": (768, 12, 12, 3072), "large": (1024, 24, 16, 4096), "huge": (1280, 32, 16, 5120)}
    if size not in table:
        raise ValueError(f"size is 'base', 'large' or 'huge'. Received {size!r}. Use size='base'.")
    if pool not in ("cls", "mean"):
        raise ValueError(f"pool is 'cls' or 'mean'. Received {pool!r}. Use pool='cls'.")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if height % patch_size or width % patch_size:
        raise ValueError(f"patch_size divides both sides of the image. Received {patch_size} and {(height, width)}.")
    given = (hidden_size, depth, heads, mlp_size)
    d, n, h, m = (own if new is None else new for own, new in zip(table[size], given, strict=True))
    grid, dtype = (height // patch_size, width // patch_size), keras.config.floatx()
    model = ViT(grid, patch_size, channels, classes, (d, n, h, m), dropout, pool, positions, eps, dtype)
    model(np.zeros((1, channels, height, width), dtype))
    return model


def loss(model: ViT, images: Any, labels: Any, training: bool = True) -> Any:
    """Mean cross-entropy in nats."""
    scores = model(images, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(labels), scores, from_logits=True))


def weight_map(model: ViT) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out), and the map of patches as (C P P, D)."""
    shape = (-1, model.channels, model.patch, model.patch)
    found = {
        "embeddings.patch_embeddings.projection.weight": Weight(
            model.projection.kernel, lambda a: a.reshape(len(a), -1).T, lambda a: a.T.reshape(shape)
        ),
        "embeddings.patch_embeddings.projection.bias": Weight(model.projection.bias, np.array, np.array),
    }
    for name, variable in (("cls_token", model.cls_token), ("position_embeddings", model.position_embeddings)):
        if variable is not None:
            found[f"embeddings.{name}"] = Weight(variable, np.array, np.array)
    parts = {"layernorm": model.layernorm, "classifier": model.classifier}
    parts |= {f"layers.{i}.{name}": part for i, block in enumerate(model.blocks) for name, part in block.named().items()}
    for name, part in parts.items():
        if isinstance(part, layers.Dense):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        else:
            found[f"{name}.weight"] = Weight(part.gamma, np.array, np.array)
            found[f"{name}.bias"] = Weight(part.beta, np.array, np.array)
    return found
