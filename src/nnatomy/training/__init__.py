"""Training of a network: recipes, learners, the loop, batches. Nothing here knows a run's folder."""
