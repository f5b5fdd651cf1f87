"""`benchmarks/gpu.py`: our training steps beside PyTorch's, eager and compiled, on one CUDA device.

    workloads.py    the networks, their sizes, and what they are fed with
    operations.py   what a step of them computes
    sides.py        what a library must be able to do; ours.py and pytorch.py do it
    worker.py       a process that holds one of them
    measure.py      compares answers, then lets one worker after the other run
    card.py         what the device can do at most
    page.py         the tables, the page and its picture
"""
