"""Run a list of kernels on several threads, which wait while there is nothing to run. No arithmetic is here.

A program is a list of instructions, each [kernel's address, length, flags, arguments ...] in int64. PARALLEL kernels run on
every thread, each with its part of the work; others on the first. Threads meet BEFORE a parallel kernel that follows others,
and after each parallel kernel: so results depend on the number of threads only through how kernels split their work, which is
fixed.

Threads share an array of int64 at `pool`, each entry in its own cache line: the job (128 times its number, and its threads, in
one word: a worker that a job leaves out may look late, and must not mistake the next job for it); its program, its length and
the number of meetings before it; `asleep`; a mutex; a condition; then for each thread the number of meetings it has reached.
"""


from __future__ import annotations

from numba import njit

from nnatomy.kernels.vectors import atomic_read, atomic_write, call_kernel, f64, foreign, i64, pause

JOB, PROGRAM, LENGTH, MEETINGS, ASLEEP, MUTEX, CONDITION, REACHED = 0, 64, 72, 80, 128, 192, 320, 448
PARALLEL, BEFORE = 1, 2  # flags
SPINS = 4_000  # of a worker before it sleeps: about 0.2 ms
PATIENCE = 2_000  # spins at a meeting before the processor is offered to others

_lock = foreign("pthread_mutex_lock", 1)
_unlock = foreign("pthread_mutex_unlock", 1)
_wait = foreign("pthread_cond_wait", 2)
_wake_all = foreign("pthread_cond_broadcast", 1)
_offer = foreign("sched_yield", 0)


@njit(inline="always")
def _meet(pool, thread, threads, meeting):
    """Wait until all threads have come to this meeting."""
    atomic_write(pool + REACHED + 64 * thread, meeting)
    for other in range(threads):
        spins = 0
        while atomic_read(pool + REACHED + 64 * other) < meeting:
            spins += 1
            if spins < PATIENCE:
                pause()
            else:
                _offer()


@njit(inline="never")
def _run(pool, program, length, thread, threads, meeting):
    """Execute the program; return the number of the last meeting."""
    p = i64(program)
    at = 0
    while at < length:
        following = at + p[at + 1]  # read before the last meeting: after it the caller may free the program
        flags = p[at + 2]
        if threads > 1 and flags & BEFORE:
            meeting += 1
            _meet(pool, thread, threads, meeting)
        if flags & PARALLEL:
            call_kernel(p[at], program + 8 * (at + 3), thread, threads)
            if threads > 1:
                meeting += 1
                _meet(pool, thread, threads, meeting)
        elif thread == 0:
            call_kernel(p[at], program + 8 * (at + 3), 0, 1)
        at = following
    return meeting


def run(a, thread, threads):
    """a: pool, program, length, threads, shared. Runs a program on the calling thread and on threads - 1 workers.

    The workers take part in the first `shared` words: what follows the last parallel kernel is not theirs.
    """
    pool, program, length, workers = a[0], a[1], a[2], a[3]
    if workers == 1:
        _run(pool, program, length, 0, 1, 0)
        return
    shared = i64(pool)
    meeting = shared[REACHED // 8]
    i64(pool + PROGRAM)[0] = program
    i64(pool + LENGTH)[0] = a[4]
    i64(pool + MEETINGS)[0] = meeting
    atomic_write(pool + JOB, (atomic_read(pool + JOB) // 128 + 1) * 128 + workers)
    if atomic_read(pool + ASLEEP) > 0:
        _lock(pool + MUTEX)
        _wake_all(pool + CONDITION)
        _unlock(pool + MUTEX)
    _run(pool, program, length, 0, workers, meeting)


def work(a, thread, threads):
    """a: pool, thread. What a worker does until the job's number is negative."""
    pool, me = a[0], a[1]
    done = a[2]
    while True:
        spins = 0
        job = atomic_read(pool + JOB)
        while job == done:
            spins += 1
            if spins < SPINS:
                pause()
            else:
                _lock(pool + MUTEX)
                i64(pool + ASLEEP)[0] += 1
                atomic_write(pool + ASLEEP, i64(pool + ASLEEP)[0])
                while atomic_read(pool + JOB) == done:
                    _wait(pool + CONDITION, pool + MUTEX)
                atomic_write(pool + ASLEEP, i64(pool + ASLEEP)[0] - 1)
                _unlock(pool + MUTEX)
            job = atomic_read(pool + JOB)
        if job < 0:
            return
        done = job
        if me < job % 128:
            _run(pool, i64(pool + PROGRAM)[0], i64(pool + LENGTH)[0], me, job % 128, i64(pool + MEETINGS)[0])


def nothing(a, thread, threads):
    """a: a cache line for each thread. Counts the thread's calls there: an instruction to time and to test the machine by."""
    f64(a[0] + 64 * thread)[0] += 1.0
