"""`nnatomy bench`: our training steps and answers beside those of PyTorch, torch.compile, JAX and Keras on this machine's CPU.

    workloads.py    the networks and what they are fed with
    sides/          one file for each library: how it trains such a network, and how it answers with it
    worker.py       a process that holds one side, and its handle
    measure.py      compares answers, then lets one worker after the other run
    roofline.py     what the machine could do at best
    libraries.py    what the libraries weigh
    report.py       the table, the page and its picture
"""

from nnatomy.benchmark.measure import bench

__all__ = ["bench"]
