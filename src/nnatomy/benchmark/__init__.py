"""`nnatomy bench`: our training and inference next to PyTorch, torch.compile, JAX and Keras on this machine's CPU.

The harness, which any benchmark of several libraries can use:

    implementation.py   what a library must be able to do to be measured
    worker.py           a process that holds one implementation, and its handle
    team.py             the workers of one workload, which take turns while they are timed
    agreement.py        whether losses, gradients and outputs are the same
    machine.py          what figures depend on, and what else the machine did
    report.py           files, tables, sentences and the picture of a report

The benchmark of this machine's CPU:

    workloads.py        the networks and what they are fed with
    implementations/    one file for each library: training and inference of such a network
    server.py           the requests that its worker takes
    measure.py          compares outputs, then times them
    roofline.py         what the machine could do at best
    libraries.py        sizes and import costs of the libraries
    tables.py, page.py  what it says on a terminal, and on a page
"""
