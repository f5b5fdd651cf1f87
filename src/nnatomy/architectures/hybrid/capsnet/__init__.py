"""CapsNet (2017): capsules, and routing by agreement."""

from nnatomy.architectures.hybrid.capsnet.model import CapsNet, build, couplings, loss, margin_loss, squash

__all__ = ["CapsNet", "build", "couplings", "loss", "margin_loss", "squash"]
