"""Networks that learn to give back their input through something narrower."""
