"""`benchmarks/gpu.py`: our training steps next to PyTorch's, eager and compiled, on one CUDA device.

    workloads.py        the networks, their sizes, and what they are fed with
    operations.py       what a step of them computes
    implementations.py  which libraries there are; ours.py and pytorch.py train with them
    server.py           the requests that a worker takes
    measure.py          compares results, then times them
    card.py             what the device can do at most
    page.py             the tables and the page
"""
