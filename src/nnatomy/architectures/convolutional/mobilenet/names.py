"""Names of MobileNet's weights in the files of transformers (versions 1 and 2) and Keras (all); torchvision's are ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnatomy.architectures.convolutional.mobilenet.model import TABLES
from nnatomy.interchange.names import Depthwise, Names, Pointwise, Reordered

Name = str | Reordered | None


def tables(version: str = "v2", blocks: int | None = None, **_: Any) -> dict[str, Names]:
    """Return the tables of transformers and of Keras's .keras or .weights.h5 and .h5 files, which have all blocks."""
    if blocks not in (None, len(TABLES[version])):
        return {}
    first = {} if version.startswith("v3") else {"transformers": transformers(version, len(TABLES[version]))}
    return {**first, **dict(_keras(version))}


def transformers(version: str, blocks: int) -> dict[str, str]:
    """Return the names of convolutions and normalizations by the part of transformers' model that holds them."""
    parts: dict[str, tuple[str, str]] = {}
    if version == "v1":
        parts["conv_stem"] = ("features.0.0", "features.0.1")
        for k in range(1, blocks + 1):
            parts[f"layer.{2 * k - 2}"] = (f"features.{k}.0", f"features.{k}.1")
            parts[f"layer.{2 * k - 1}"] = (f"features.{k}.3", f"features.{k}.4")
    else:
        parts["conv_stem.first_conv"] = ("features.0.0", "features.0.1")
        parts["conv_stem.conv_3x3"] = ("features.1.conv.0.0", "features.1.conv.0.1")
        parts["conv_stem.reduce_1x1"] = ("features.1.conv.1", "features.1.conv.2")
        for k in range(2, blocks + 1):
            parts[f"layer.{k - 2}.expand_1x1"] = (f"features.{k}.conv.0.0", f"features.{k}.conv.0.1")
            parts[f"layer.{k - 2}.conv_3x3"] = (f"features.{k}.conv.1.0", f"features.{k}.conv.1.1")
            parts[f"layer.{k - 2}.reduce_1x1"] = (f"features.{k}.conv.2", f"features.{k}.conv.3")
        parts["conv_1x1"] = (f"features.{blocks + 1}.0", f"features.{blocks + 1}.1")
    names = {"classifier": "classifier.1"}
    for theirs, (conv, norm) in parts.items():
        names |= {f"mobilenet_{version}.{theirs}.convolution": conv, f"mobilenet_{version}.{theirs}.normalization": norm}
    return names


def _keras(version: str) -> Iterator[tuple[str, dict[str, Name]]]:
    """A .keras file numbers the layers of each class in their order; an .h5 file has their names twice."""
    numbered: dict[str, Name] = {}
    named: dict[str, Name] = {}
    counts: dict[str, int] = {}
    for name, kind, ours in _layers(version):
        number = counts.get(kind, 0)
        counts[kind] = number + 1
        numbered[f"layers/{kind}_{number}" if number else f"layers/{kind}"] = ours
        named[f"model_weights/{name}"] = ours
    yield "keras", numbered
    yield "keras, .h5", named


def _layers(version: str) -> Iterator[tuple[str, str, Name]]:
    """Keras's name and class of each layer with weights, and our name."""

    def conv(name: str, norm: str, ours: str, ours_norm: str, depthwise: bool = False) -> Iterator[tuple[str, str, Name]]:
        yield name, "depthwise_conv2d" if depthwise else "conv2d", Depthwise(ours) if depthwise else ours
        yield norm, "batch_normalization", ours_norm

    if version == "v1":
        yield from conv("conv1", "conv1_bn", "features.0.0", "features.0.1")
        for k in range(1, 14):
            yield from conv(f"conv_dw_{k}", f"conv_dw_{k}_bn", f"features.{k}.0", f"features.{k}.1", True)
            yield from conv(f"conv_pw_{k}", f"conv_pw_{k}_bn", f"features.{k}.3", f"features.{k}.4")
        yield "conv_preds", "conv2d", Pointwise("classifier.1")
        return
    second = version == "v2"
    yield from conv(*(("Conv1", "bn_Conv1") if second else ("conv", "conv_bn")), "features.0.0", "features.0.1")
    norm = "BN" if second else "bn"
    for k, row in enumerate(TABLES[version]):
        prefix = ("block_" if second else "expanded_conv_") + f"{k}_" if k else "expanded_conv_"
        ours, part = f"features.{k + 1}.{'conv' if second else 'block'}", 0
        if row.expansion != 1:
            yield from conv(f"{prefix}expand", f"{prefix}expand_{norm}", f"{ours}.0.0", f"{ours}.0.1")
            part = 1
        depthwise = (f"{ours}.{part}.0", f"{ours}.{part}.1")
        yield from conv(f"{prefix}depthwise", f"{prefix}depthwise_{norm}", *depthwise, True)
        part += 1
        if row.squeeze:
            yield f"{prefix}squeeze_excite_conv", "conv2d", f"{ours}.{part}.fc1"
            yield f"{prefix}squeeze_excite_conv_1", "conv2d", f"{ours}.{part}.fc2"
            part += 1
        project = (f"{ours}.{part}", f"{ours}.{part + 1}") if second else (f"{ours}.{part}.0", f"{ours}.{part}.1")
        yield from conv(f"{prefix}project", f"{prefix}project_{norm}", *project)
    last = len(TABLES[version]) + 1
    theirs = ("Conv_1", "Conv_1_bn") if second else ("conv_1", "conv_1_bn")
    yield from conv(*theirs, f"features.{last}.0", f"features.{last}.1")
    if second:
        yield "predictions", "dense", "classifier.1"
        return
    yield "conv_2", "conv2d", Pointwise("classifier.0")
    yield "logits", "conv2d", Pointwise("classifier.3")
