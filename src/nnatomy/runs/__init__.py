"""One training run and its folder: train, resume, restore, evaluate, predict, report."""
