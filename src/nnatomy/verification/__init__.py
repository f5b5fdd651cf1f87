"""Architectures against their twins and references."""
