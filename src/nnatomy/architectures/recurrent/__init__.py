"""Networks that carry a state from step to step."""
