"""The machinery of kernels: the pool of threads and programs, the cache of object code, and the messages about them."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

import nnatomy as nn
from nnatomy.cli import doctor
from nnatomy.cli.main import main
from nnatomy.kernels import compiler, library, machine


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = nn.get_num_threads()
    yield
    nn.set_num_threads(before)


def counting(*parallel: bool) -> tuple[machine.Program, np.ndarray[Any, Any]]:
    """A program with one instruction for each of `parallel`, and where each thread counts those that it took part in."""
    lines = machine.aligned(8 * 64, np.float64)
    program = machine.Program()
    for each in parallel:
        program.add("control", "nothing", [machine.address(lines)], parallel=each)
    return program, lines.reshape(64, 8)[:, 0]


# Programs and threads


def test_every_thread_takes_part_in_parallel_instructions_only() -> None:
    program, counts = counting(True, False, True, True, False)
    for threads in (1, 2, 3, 4, 2, 7, 3, 1, 4):  # more than processors, fewer again, and more again
        nn.set_num_threads(threads)
        counts[:] = 0
        for _ in range(50):
            program.run()
        assert counts[:8].tolist() == [250.0] + [150.0] * (threads - 1) + [0.0] * (8 - threads)


def test_an_empty_program_runs() -> None:
    machine.Program().run()


def test_arguments_can_be_changed_before_and_after_the_first_run() -> None:
    first, second = (machine.aligned(8, np.float64) for _ in range(2))
    program = machine.Program()
    at = program.add("control", "nothing", [0])
    program.patch(at, [machine.address(first)])
    program.run()
    program.patch(at, [machine.address(second)])
    program.run()
    program.run()
    program.add("control", "nothing", [machine.address(first)])
    program.run()
    assert (first[0], second[0]) == (2.0, 3.0)


def test_programs_from_several_python_threads_run_one_at_a_time() -> None:
    nn.set_num_threads(3)
    program, counts = counting(True, False)
    serial, serial_counts = counting(False)

    def work() -> None:
        for _ in range(200):
            program.run()
            serial.run()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert counts[:4].tolist() == [1600.0, 800.0, 800.0, 0.0]
    assert serial_counts[0] == 800.0


def test_a_run_is_one_python_call() -> None:
    program, _ = counting(False)
    program.run()
    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        program.run()
    finally:
        sys.setprofile(None)
    assert calls == ["run"]


def test_idle_workers_use_no_processor() -> None:
    nn.set_num_threads(3)
    program, _ = counting(True)
    program.run()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1  # three spinning ones would use 0.6 s


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")  # of JAX, where another test has loaded it
def test_a_forked_child_has_threads_of_its_own() -> None:
    nn.set_num_threads(2)
    program, counts = counting(True)
    program.run()  # the parent's worker, which the child does not have
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def child() -> None:
        for _ in range(10):
            program.run()
        sender.send(counts[:3].tolist())

    process = context.Process(target=child)
    with library._lock, machine.pool().lock:  # held elsewhere at the moment of the fork
        process.start()
    assert receiver.poll(60), "the child hangs"
    assert receiver.recv() == [11.0, 11.0, 0.0]
    process.join(60)
    assert process.exitcode == 0
    program.run()
    assert counts[:3].tolist() == [2.0, 2.0, 0.0]


START = """
import signal, sys, time, numpy as np, nnatomy as nn
from nnatomy.kernels import machine
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background of a shell ignore it
lines = machine.aligned(64, np.float64)
program = machine.Program()
program.add("control", "nothing", [machine.address(lines)], parallel=True)
nn.set_num_threads(2)
for _ in range(20):
    program.run()
"""


@pytest.mark.parametrize(
    "end, code, message",
    [
        ("", 0, ""),
        ("time.sleep(0.05)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("signal.raise_signal(signal.SIGINT)", -signal.SIGINT, "KeyboardInterrupt"),
        ("import atexit; atexit.register(program.run)", 0, ""),
    ],
    ids=["at once", "asleep", "sys.exit", "Ctrl-C", "once more at exit"],
)
def test_waiting_workers_let_the_interpreter_end(end: str, code: int, message: str) -> None:
    found = subprocess.run([sys.executable, "-c", START + end], capture_output=True, text=True, timeout=60)
    assert found.returncode == code
    assert message in found.stderr
    assert bool(found.stderr) == bool(message)


# The number of threads


@pytest.mark.parametrize("wrong", [0, -1, 65, 1.5, True, "2", None])
def test_a_wrong_number_of_threads_is_refused_in_a_sentence(wrong: Any) -> None:
    with pytest.raises(nn.UserError, match=r"The number of threads must be a whole number from 1 to 64\. Received"):
        nn.set_num_threads(wrong)


def test_the_number_of_threads_is_kept() -> None:
    nn.set_num_threads(np.int64(3))  # type: ignore[arg-type]
    assert nn.get_num_threads() == 3
    assert type(nn.get_num_threads()) is int


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Return the output of a fresh process that runs `code`."""
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)


def test_threads_are_set_without_importing_the_compiler() -> None:
    code = """if True:
        import sys
        sys.modules["numba"] = sys.modules["llvmlite"] = None  # as if they were not installed
        import nnatomy as nn
        first = nn.get_num_threads()
        nn.set_num_threads(5)
        print(first, nn.get_num_threads())"""
    assert python(code, NNATOMY_THREADS="3", NNATOMY_KERNELS="reference").stdout.split() == ["3", "5"]


@pytest.mark.parametrize("wrong", ["0", "many", "-2", "1e3"])
def test_a_wrong_nnatomy_threads_is_refused_in_a_sentence(wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("NNATOMY_THREADS", wrong)
    monkeypatch.setattr(machine, "_threads", None)
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err.startswith("nnatomy: NNATOMY_THREADS must be a whole number from 1 to 64. Received")
    monkeypatch.setattr(machine, "_threads", 1)


def test_wrong_nnatomy_kernels_is_refused_in_a_sentence() -> None:
    wrong = {"NNATOMY_KERNELS": "bogus"}
    found = python("import sys; from nnatomy.cli.main import main; sys.exit(main(['list']))", **wrong)
    assert found.returncode == 2
    assert found.stderr.startswith('nnatomy: NNATOMY_KERNELS must be "auto", "fast" or "reference". Received \'bogus\'')
    assert found.stderr.count("\n") == 1
    for use in ("nn.tensor([1.0])", "nn.use('numpy')"):
        found = python(f"import nnatomy as nn; {use}", **wrong)
        assert found.returncode == 1
        assert "UserError: NNATOMY_KERNELS must be" in found.stderr


# The cache


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the compiled kernels; object code is replaced by a text that starts with its address."""
    done: list[str] = []

    def compile_kernel(module: str, name: str, entry: str) -> bytes:
        done.append(f"{module}.{name}")
        return f"{len(done)} {entry}".encode()

    monkeypatch.setenv("NNATOMY_CACHE", str(tmp_path))
    monkeypatch.setattr(compiler, "compile_kernel", compile_kernel)
    monkeypatch.setattr(library, "_link", lambda code, entry: int(code.split()[0]))
    for name, value in (("_announced", False), ("_tidied", False), ("announce", None)):
        monkeypatch.setattr(library, name, value)
    return done


def load() -> int:
    """The address of a kernel in a process that has not seen it."""
    library._addresses.pop("copies.copy", None)
    try:
        return library._load("copies", "copy")
    finally:
        library._addresses.pop("copies.copy", None)


def only(folder: Path) -> Path:
    (found,) = (folder / "kernels").iterdir()
    return found


def test_code_is_compiled_once_and_kept_for_this_user(compiled: list[str], tmp_path: Path) -> None:
    assert [load(), load(), load()] == [1, 1, 1]
    assert compiled == ["copies.copy"]
    assert only(tmp_path).name == f"copies-copy-{library.fingerprint('copies')}.o"
    if os.name == "posix":
        assert only(tmp_path).stat().st_mode & 0o777 == 0o600
        assert only(tmp_path).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:40] + b"x" + b[41:], lambda b: b"", lambda b: b[:20]])
def test_a_damaged_file_is_noticed_and_replaced(damage: Callable[[bytes], bytes], compiled: list[str], tmp_path: Path) -> None:
    load()
    path = only(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert [load(), load()] == [2, 2]


def test_changed_sources_change_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in [*library.SOURCES.glob("*.py"), *library.SOURCES.glob("sources/*.py")]:
        copy = tmp_path / path.relative_to(library.SOURCES)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "sources" / "user.py").write_text("from nnatomy.kernels.sources.control import run\n")
    monkeypatch.setattr(library, "SOURCES", tmp_path)

    def keys() -> tuple[str, str, str]:
        library.fingerprint.cache_clear()
        return library.fingerprint("control"), library.fingerprint("user"), library.fingerprint("copies")

    first = keys()
    assert keys() == first
    change(tmp_path / "sources" / "control.py")
    second = keys()
    assert second[0] != first[0]
    assert second[1] != first[1], "what a kernel imports counts as well"
    assert second[2] == first[2]
    change(tmp_path / "vectors.py")
    assert all(new != old for new, old in zip(keys(), second, strict=True))
    library.fingerprint.cache_clear()


def change(source: Path) -> None:
    source.write_text(source.read_text() + "# changed\n")


def test_only_what_is_old_and_of_another_version_is_removed(compiled: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir(mode=0o700)
    now, current = time.time(), library.fingerprint("control")
    ages = {
        "control-run-0123456789abcdef.o": 31, "gone-run-0123456789abcdef.o": 31, "control-run-0123.part": 31,
        "control-work-0123456789abcdef.o": 29, f"control-run-{current}.o": 99, "notes.txt": 99,
    }  # fmt: skip
    for name, days in ages.items():
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (now, now - days * 86400))
    load()
    assert {p.name for p in folder.iterdir()} == {*list(ages)[3:], f"copies-copy-{library.fingerprint('copies')}.o"}


def test_what_is_used_stays_young(compiled: list[str], tmp_path: Path) -> None:
    load()
    os.utime(only(tmp_path), (0, time.time() - 29 * 86400))
    assert load() == 1
    assert time.time() - only(tmp_path).stat().st_mtime < 3600


def test_without_a_folder_code_stays_in_memory(compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NNATOMY_CACHE", str(tmp_path / "file"))
    assert [load(), load()] == [1, 2]
    monkeypatch.delenv("NNATOMY_CACHE")
    monkeypatch.setattr(library, "folder", _no_home)
    assert load() == 3


def _no_home(kind: str) -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_full_disk_leaves_nothing_behind(compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*names: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert [load(), load()] == [1, 2]
    assert list((tmp_path / "kernels").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_code_that_others_could_have_written_is_not_run(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load()
    folder = tmp_path / "kernels"
    for mode in (0o777, 0o770):
        folder.chmod(mode)
        assert library.usable_folder() is None
        assert load() == len(compiled)
    folder.chmod(0o755)
    assert library.usable_folder() == folder
    only(tmp_path).chmod(0o666)
    assert load() == 4
    only(tmp_path).chmod(0o600)
    assert load() == 4
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    if folder.stat().st_uid != 0:
        assert library.usable_folder() is None


def test_two_processes_may_fill_one_folder_at_once(tmp_path: Path) -> None:
    code = """if True:
        import numpy as np
        from nnatomy.kernels import machine
        lines = machine.aligned(8, np.float64)
        program = machine.Program()
        program.add("control", "nothing", [machine.address(lines)])
        program.run()
        print(lines[0])"""
    command = [sys.executable, "-c", code]
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, env={**os.environ, "NNATOMY_CACHE": str(tmp_path)}, **options) for _ in range(2)]
    assert [process.communicate(timeout=120) for process in both] == [("1.0\n", "")] * 2
    names = sorted(path.name for path in (tmp_path / "kernels").iterdir())
    assert names == [f"control-{name}-{library.fingerprint('control')}.o" for name in ("nothing", "run")]
    again = "import sys; sys.modules['numba'] = None  # what is kept is loaded without it\n" + code
    assert python(again, NNATOMY_CACHE=str(tmp_path)).stdout == "1.0\n"


def test_the_kernel_in_the_documentation_computes_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).parents[2] / "docs" / "kernels.md"
    lines = page.read_text(encoding="utf-8").partition("## Writing a kernel")[2].splitlines()
    module = types.ModuleType("nnatomy.kernels.sources.axpy")
    exec("\n".join(line[4:] for line in lines if line.startswith("    ")), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(library._addresses, "axpy.axpy", library._link(compiler.compile_kernel("axpy", "axpy", "axpy"), "axpy"))
    rng = np.random.default_rng(0)
    x, y = (machine.aligned(480, np.float32) for _ in range(2))
    x[:], y[:] = rng.normal(size=(2, 480))
    expected = y + np.float32(0.3) * x
    program = machine.Program()
    program.add("axpy", "axpy", [machine.address(x), machine.address(y), 480, machine.number(0.3)], parallel=True)
    nn.set_num_threads(3)
    program.run()
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-7)


# Messages to the user


def test_compiling_is_announced_once_and_not_in_json(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def examine() -> list[doctor.Check]:
        library._compile("copies", "copy", "")
        library._compile("copies", "fill", "")
        return [doctor.Check("python", True, "")]

    monkeypatch.setattr(doctor, "examine", examine)
    assert main(["doctor", "--json"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "nnatomy: Compiling fast kernels: once per machine, some seconds in all.\n"
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err == ""


def test_doctor_tells_of_kernels(compiled: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    load()
    nn.set_num_threads(3)
    monkeypatch.setenv("NNATOMY_KERNELS", "fast")
    assert main(["doctor", "--json"]) == 0
    found = {check["name"]: check["detail"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert found["kernels"].startswith("fast, 3 threads, vectors of ")
    assert "1 compiled kernel, " in found["kernel cache"]
