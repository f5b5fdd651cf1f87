"""The command line: one thin command for each verb. Each is a function that can be called from Python too."""

from nnatomy.cli.main import main

__all__ = ["main"]
