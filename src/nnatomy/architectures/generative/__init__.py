"""Generative architectures: models that make new examples."""
