"""Networks that slide one set of weights over an image."""
