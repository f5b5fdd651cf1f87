"""Fast CPU kernels: compiled once per machine, kept as object code in the user's cache, run by one pool of threads.

`vectors` and `microkernels` are what kernels are written with, `sources/` are the kernels, `library` compiles and loads them,
`machine` runs lists of them, and `arrays` calls one on NumPy arrays. None of it is imported before the first use.
"""
