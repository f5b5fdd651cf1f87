"""Many runs: comparisons and tunings."""
