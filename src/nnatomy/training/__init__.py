"""How a network learns: recipes, learners, the loop, batches. Nothing here knows a run's folder."""
