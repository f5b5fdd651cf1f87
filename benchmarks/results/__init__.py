"""`benchmarks/results.py`: what architectures reach by their recipes, next to PyTorch twins and predictors without a network.

    measure.py  trains both, and fits the baselines
    twin.py     trains a PyTorch twin by a recipe
    table.py    docs/results.md: reading, writing, and what is missing
    against.py  the second table of docs/results.md: networks next to the baselines of their tasks
    steps.py    its third table: the time of a training step, next to the twin's
    readme.py   README's tables
"""
