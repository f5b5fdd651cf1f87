"""Networks that find order in examples without targets."""
