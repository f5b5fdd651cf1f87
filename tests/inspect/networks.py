"""Networks from layers/ that the tests trace and draw."""

from __future__ import annotations

from typing import Any

import nnatomy as nn


class ResNet(nn.Module):
    """Bottleneck blocks in four stages, as in ResNet-50 and deeper, with fewer channels."""

    def __init__(self, blocks: tuple[int, ...] = (3, 4, 6, 3), width: int = 4) -> None:
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        channels = width
        self.stages = []
        for stage, count in enumerate(blocks):
            planes, inside = width * 2**stage, []
            for block in range(count):
                stride = 2 if stage and not block else 1
                shortcut = nn.Sequential(nn.Conv2d(channels, 4 * planes, 1, stride, bias=False), nn.BatchNorm2d(4 * planes))
                inside.append(nn.Bottleneck(channels, planes, stride, None if block else shortcut))
                channels = 4 * planes
            self.stages.append(nn.Sequential(*inside))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 10)

    def forward(self, x: Any) -> Any:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = stage(x)
        return self.fc(self.avgpool(x).flatten(1))


class Translator(nn.Module):
    """An encoder and a decoder with one embedding for both."""

    def __init__(self, layers: int = 3) -> None:
        self.embedding, self.position = nn.Embedding(20, 16), nn.SinusoidalPositionalEncoding(16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), layers)
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 2, 32, batch_first=True), layers)
        self.output = nn.Linear(16, 20)

    def forward(self, source: Any, target: Any) -> Any:
        memory = self.encoder(self.position(self.embedding(source)))
        return self.output(self.decoder(self.position(self.embedding(target)), memory))


class Dense(nn.Module):
    """Every layer sees what all before it gave, as in DenseNet."""

    def __init__(self, layers: int = 5) -> None:
        self.convs = [nn.Conv2d(2 * (k + 1), 2, 3, padding=1) for k in range(layers)]

    def forward(self, x: Any) -> Any:
        seen = [x]
        for conv in self.convs:
            seen.append(conv(nn.concatenate(seen, axis=1)))
        return seen[-1]
