"""A trained run as a small HTTP service. Requests are read here, predictions are computed in separate processes."""

from nnatomy.serving.service import Limits, application, serve

__all__ = ["Limits", "application", "serve"]
