"""A trained run as a small HTTP service. Requests are read here, answers are computed in their own processes."""

from nnatomy.serving.service import Limits, application, serve

__all__ = ["Limits", "application", "serve"]
