"""The kernels, by subject. Each is `kernel(a, thread, threads)`: its arguments are 64-bit integers, `a[0]`, `a[1]`, ..."""
