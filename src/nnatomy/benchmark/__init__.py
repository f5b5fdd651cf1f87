"""`nnatomy bench`: our training and inference next to PyTorch, torch.compile, JAX and Keras on this machine's CPU.

The harness, which any benchmark of several libraries can use:

    implementation.py   the interface of a library that is measured
    worker.py           a process that holds one implementation, and its handle
    team.py             the workers of one workload, which take turns while they are timed
    agreement.py        whether losses, gradients and outputs are the same
    machine.py          the machine's properties and its other load
    report.py           files, tables, sentences and the picture of a report

The benchmark of this machine's CPU:

    workloads.py        the networks and their data
    implementations/    one file for each library: training and inference of such a network
    server.py           the requests that its worker takes
    measure.py          compares outputs, then times them
    roofline.py         the machine's limits
    libraries.py        sizes and import costs of the libraries
    tables.py, page.py  the report for a terminal, and for a page
"""
