"""`benchmarks/results.py`: what architectures reach by their recipes, next to PyTorch twins and predictors without a network.

    measure.py  trains both, and fits the baselines
    twin.py     trains a PyTorch twin by a recipe
    table.py    docs/results.md: reading, writing, and what is missing
    readme.py   README's tables
"""
