"""Several hosts as one run: their list, their connection through JAX, and the message when one of them dies."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from nnatomy.errors import UserError

PORT = 29417  # of the first host, where a hosts file names none
HEARTBEAT = 30  # seconds of silence after which a host counts as dead
PATIENCE = 300  # seconds in which all hosts must have come
LOST = 75  # exit code after another host died: "try again" (EX_TEMPFAIL of sysexits.h)
_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_ABOUT_HOSTS = re.compile("gloo|nccl|coordination|peer|heartbeat|socket|unavailable|deadline_exceeded", re.IGNORECASE)


class Hosts:
    """The hosts of a run and which of them this process is; here, the only one.

    The decisions of the first one hold for all: every host calls the methods below equally often and in the same order.
    """

    names: Sequence[str] = ("this host",)
    index = 0
    lost = ""
    """The message when another host dies."""

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def first(self) -> bool:
        """True if this is the host that writes and speaks."""
        return self.index == 0

    def broadcast(self, value: Any) -> Any:
        """The first host's plain value, on every host."""
        return value

    def same_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The first host's array, on every host, which has one of its shape and type."""
        return array

    def agreed(self, stop: bool, save: bool, seconds: float) -> tuple[bool, bool, float]:
        """Return True if any host wants to stop; whether the first wants to save, and its time."""
        return stop, save, seconds

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that all hosts enter and leave together, or not at all."""
        yield


class Joined(Hosts):
    """Hosts that have met through `jax.distributed`."""

    def __init__(self, names: Sequence[str], index: int, native: Path) -> None:
        self.names, self.index, self.native = names, index, native
        self.lost = "Start the command again on every host"
        self._ours: Any = None  # votes of the step before
        self._voted: Any = None

    def broadcast(self, value: Any) -> Any:
        mine = np.frombuffer(json.dumps(value).encode(), np.uint8)
        size = int(self.same_array(np.array(len(mine), np.int32)))
        return json.loads(bytes(self.same_array(np.resize(mine, size))))

    def same_array(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        from jax.experimental.multihost_utils import broadcast_one_to_all

        return np.asarray(broadcast_one_to_all(array))

    def agreed(self, stop: bool, save: bool, seconds: float) -> tuple[bool, bool, float]:
        """As they were one call ago, so that no device waits for a response."""
        before = self._ours
        self._ours = self._vote(np.array([stop, save and self.first, seconds if self.first else 0.0]))
        if before is None:
            return False, False, 0.0
        found = np.asarray(before)
        return bool(found[0]), bool(found[1]), float(found[2])

    def _vote(self, mine: np.ndarray[Any, Any]) -> Any:
        """The largest of each number over the hosts, not waited for."""
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        if self._voted is None:
            one_each = [next(d for d in jax.devices() if d.process_index == i) for i in range(self.count)]
            mesh = Mesh(np.array(one_each), ("hosts",))
            self._by_host = NamedSharding(mesh, PartitionSpec("hosts"))
            self._voted = jax.jit(lambda votes: votes.max(axis=0), out_shardings=NamedSharding(mesh, PartitionSpec()))
        votes = jax.make_array_from_process_local_data(self._by_host, mine[None], (self.count, len(mine)))
        return self._voted(votes)

    @contextmanager
    def together(self) -> Iterator[None]:
        import jax

        try:
            yield
            jax.distributed.shutdown()  # waits for the others
        except UserError:
            self._leave_at_exit(2)
            raise
        except Exception as problem:
            if isinstance(problem, RuntimeError | ValueError) and _ABOUT_HOSTS.search(str(problem)):
                self.give_up()
            self._leave_at_exit(1)
            raise
        except BaseException:
            self._leave_at_exit(130)
            raise

    def _leave_at_exit(self, code: int) -> None:
        """End the process when Python does, without waiting for the others, which would wait for this one."""

        def leave() -> None:
            self.native.unlink(missing_ok=True)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

        atexit.register(leave)

    def give_up(self) -> NoReturn:
        """Say in one sentence that another host is gone, and end this process: nothing can be computed without it."""
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        text = f"{show_cursor}\nnnatomy: {self._who()} has died or cannot be reached. {self.lost}.\n"
        os.write(_stderr(), text.encode())
        self.native.unlink(missing_ok=True)
        os._exit(LOST)

    def _who(self) -> str:
        """The host that died, where JAX has said which."""
        said = self.native.read_text(errors="replace")
        missing = re.search(r"unhealthy[^\n]*\n([\d, ]+)\n", said)
        numbers = [int(n) for n in re.findall(r"\d+", missing[1])] if missing else []
        if not numbers and self.index > 0 and "the leader" in said:
            numbers = [0]
        named = [f"{self.names[n]} (host {n})" for n in numbers if n < self.count]
        return "The host " + " and ".join(named) if named else "Another host of this run"


def join(hosts: str, index: int | None = None) -> Joined:
    """Meet the other hosts of a run. Must come before JAX computes anything.

    `hosts` is a file with one host[:port] a line, of which the first coordinates, or "auto": what the cluster's environment
    says (SLURM, Open MPI, Kubernetes, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID). `index` is this host's
    line, counted from 0; if None, the line that names this machine. Raises UserError where these cannot be determined, or where
    hosts do not connect.
    """
    import jax

    if hosts == "auto":
        where = _from_environment(index)
        names: list[str] = []
    else:
        names = read_hosts(hosts)
        index = which_host(names, index)
        where = {"coordinator_address": _with_port(names[0]), "num_processes": len(names), "process_id": index}
        where |= {"cluster_detection_method": "deactivate"}
        if re.match(r"(127\.|localhost)", names[0]):
            where |= {"coordinator_bind_address": _with_port(names[0])}
    native = _set_native_output_aside()
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # Ctrl-C and kill are agreed on by the loop
    met = Joined(names, index or 0, native)
    _on_abort(met)
    if names:
        print(f"Host {met.index} of {met.count}: waiting for the others at {names[0]}.", file=sys.stderr, flush=True)
    try:
        jax.distributed.initialize(
            **where, heartbeat_timeout_seconds=HEARTBEAT, initialization_timeout=PATIENCE, shutdown_timeout_seconds=PATIENCE
        )
        met.names = names or [f"number {i}" for i in range(jax.process_count())]
        met.index = jax.process_index()
    except (RuntimeError, ValueError) as problem:
        met._leave_at_exit(2)
        first = str(problem).strip().splitlines()[0]
        raise UserError(
            f"The hosts of a run must all be started within {PATIENCE} s and reach the first one. Received an error here "
            f"({first}). "
            "Check the hosts file, the port and the other hosts."
        ) from problem
    return met


def read_hosts(path: str) -> list[str]:
    """The hosts that a file lists, one host[:port] a line; what follows # is a comment."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UserError(
            f"--hosts needs a text file with one host[:port] a line, or auto. Received {path} ({type(problem).__name__}). "
            "Write one."
        ) from None
    names = [line.partition("#")[0].strip() for line in text.splitlines()]
    names = [name for name in names if name]
    if bad := next((name for name in names if not re.fullmatch(r"[\w.-]+(:\d{1,5})?", name)), None):
        raise UserError(f"A hosts file has one host[:port] a line. Received {bad!r} in {path}. Correct that line.")
    if len(names) < 2:
        raise UserError(
            f"A hosts file lists at least two hosts. Received {path}, which has {len(names)}. Add one, or leave --hosts out."
        )
    return names


def which_host(names: Sequence[str], index: int | None = None) -> int:
    """The line of the hosts file that is this machine, counted from 0: `index`, or the only one that names it."""
    if index is not None:
        if not 0 <= index < len(names):
            raise UserError(f"--host-index counts the {len(names)} hosts from 0. Received {index}. Give a smaller number.")
        return index
    mine = [i for i, name in enumerate(names) if _is_here(name.partition(":")[0])]
    if len(mine) != 1:
        found = f"{len(mine)} lines" if mine else "no line"
        raise UserError(
            f"One line of the hosts file must name this machine, {socket.gethostname()}. Received {found}. Add --host-index."
        )
    return mine[0]


def _from_environment(index: int | None) -> dict[str, Any]:
    given = [os.environ.get(name, "") for name in _VARIABLES]
    if all(given):
        if not (given[1].isdecimal() and given[2].isdecimal()):
            raise UserError(
                f"{_VARIABLES[1]} and {_VARIABLES[2]} must be whole numbers. Received {given[1]!r} and {given[2]!r}. "
                "Set them to whole numbers."
            )
        numbers = {"num_processes": int(given[1]), "process_id": int(given[2]) if index is None else index}
        return {"coordinator_address": _with_port(given[0]), "cluster_detection_method": "deactivate"} | numbers
    if not any(name in os.environ for name in ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri", "KUBERNETES_SERVICE_HOST")):
        raise UserError(
            "--hosts auto reads what SLURM, Open MPI or Kubernetes set, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and "
            "JAX_PROCESS_ID. Received none of them. Set these three, or give a hosts file."
        )
    return {}


def _with_port(name: str) -> str:
    return name if ":" in name else f"{name}:{PORT}"


def _is_here(name: str) -> bool:
    """Return True if a name is one of this machine's: only its own addresses can be listened at."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(name, None, family=socket.AF_INET)}
    except OSError:
        return False
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, 0))
            except OSError:
                continue
            return True
    return False


def _set_native_output_aside() -> Path:
    """Send what C++ libraries print (connections, stack traces) to a file, which is returned; Python's output stays."""
    with tempfile.NamedTemporaryFile(prefix="nnatomy-native-", suffix=".log", delete=False) as file:
        path = Path(file.name)
        for number, stream in ((1, "stdout"), (2, "stderr")):
            ours = getattr(sys, stream)
            ours.flush()
            if ours.fileno() == number:
                kept = os.fdopen(os.dup(number), "w", buffering=1, encoding=ours.encoding, errors=ours.errors)
                setattr(sys, stream, kept)
            os.dup2(file.fileno(), number)
    atexit.register(path.unlink, missing_ok=True)
    return path


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_kept: list[Any] = []


def _on_abort(met: Joined) -> None:
    """Print our message when JAX aborts the process because a host stopped responding.

    The signal comes in a thread of JAX's, where Python's own handlers never run: they wait for the main thread.
    """

    def aborted(number: int) -> None:
        said = met.native.read_text(errors="replace")
        if "distributed service" in said:
            met.give_up()
        os.write(_stderr(), said.encode())
        os._exit(128 + number)

    handler = _HANDLER(aborted)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, _HANDLER]
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGABRT, handler)
    _kept.append(handler)


def _stderr() -> int:
    """Return the file descriptor of Python's errors."""
    return sys.stderr.fileno()
