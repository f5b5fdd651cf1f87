"""`python -m nnatomy` is `nnatomy`."""

from nnatomy.cli.main import entry

entry()
