"""Paths that are no regular file, files that claim too much, and named sets whose files were changed: one sentence each."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import signal
import socket
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from nnatomy.cli import main
from nnatomy.data import load, load_inputs
from nnatomy.data.kinds.image.idx import read_idx, write_idx
from nnatomy.data.npz import read_arrays
from nnatomy.errors import UserError
from nnatomy.files import read_unpacked
from nnatomy.interchange.files import read as read_weights

pytestmark = [pytest.mark.any_kernels, pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")]


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    """Fail, rather than wait for ever, where a pipe is opened or a device is read."""

    def late(*_: object) -> None:
        raise AssertionError("it waits, or reads without an end")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's path has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(here)


SPECIAL: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (pipe, "is a pipe"),
    "socket": (bound_socket, "is a socket"),
    "endless device": (lambda path: path.symlink_to("/dev/zero"), "is a device"),
    "empty device": (lambda path: path.symlink_to("/dev/null"), "is a device"),
    "dangling link": (lambda path: path.symlink_to("gone"), "a link to gone, which does not. Correct the link"),
    "link to itself": (lambda path: path.symlink_to(path.name), "Received .*x.*symbolic links"),
}
NAMES = ("x.csv", "x.tsv", "x.txt", "x.npz", "x.npy", "x.png", "x-ubyte.gz", "x.de.gz", "x.json", "x.parquet", "x")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("special", SPECIAL)
def test_what_is_no_file_is_refused_as_data(special: str, name: str, tmp_path: Path) -> None:
    make, says = SPECIAL[special]
    make(tmp_path / name)
    with pytest.raises(UserError, match=says):
        load(tmp_path / name)
    with pytest.raises(UserError, match=says):
        load_inputs(tmp_path / name, load("iris").preprocessing)


READERS: dict[str, Callable[[Path], object]] = {
    "text": read_unpacked, "idx": read_idx, "npz": read_arrays, "weights": read_weights,
}  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("special", SPECIAL)
def test_every_reader_opens_regular_files_alone(special: str, reader: str, tmp_path: Path) -> None:
    make, says = SPECIAL[special]
    make(tmp_path / "x")
    with pytest.raises(UserError, match=says):
        READERS[reader](tmp_path / "x")


@pytest.mark.parametrize("reader", [name for name in READERS if name != "weights"])  # a folder may hold weights
def test_a_folder_where_a_file_is_expected(reader: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"A file is needed here.*is a folder"):
        READERS[reader](tmp_path)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/fd/0", "a\0b.csv", "n" * 300 + ".csv"])
def test_devices_and_impossible_names_by_the_command_line(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    if path == "/dev/fd/0" and not os.path.exists(path):
        pytest.skip("this system has no /dev/fd")
    assert main(["train", "mlp", "--data", path]) == 2
    said = capsys.readouterr().err
    assert "Received" in said
    assert "Did you mean" not in said


def test_a_special_file_inside_a_folder_of_data(tmp_path: Path) -> None:
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((4, 2, 2), np.uint8))
    os.mkfifo(tmp_path / "train-labels-idx1-ubyte")
    with pytest.raises(UserError):
        load(tmp_path, ("image",))


def test_a_dangling_json_next_to_a_series_is_passed_over(tmp_path: Path) -> None:
    hours = np.datetime64("2024-01-01T00") + np.arange(200)
    rows = "\n".join(f"{str(hour).replace('T', ' ')}:00:00,{np.sin(n / 3):.4f}" for n, hour in enumerate(hours))
    (tmp_path / "s.csv").write_text(f"time,x\n{rows}\n")
    (tmp_path / "gone.json").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    assert load(tmp_path / "s.csv", ("series",), window=8, horizon=2).kind == "series"


def idx(shape: tuple[int, ...], content: bytes) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape) + content


def zipped(**members: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return made.getvalue()


def npy(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def claiming(shape: str) -> bytes:
    """An .npy file whose header claims a shape, with eight bytes behind it."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(8)


MIB = 1 << 20
FALSE_CLAIMS: dict[str, tuple[Callable[[Path], object], bytes, str]] = {
    "idx, more than its header says": (read_idx, gzip.compress(idx((10, 28, 28), bytes(100 * MIB))), "as long as its header"),
    "idx, less than its header says": (read_idx, gzip.compress(idx((9999, 999, 99), bytes(9))), "as long as its header"),
    "idx, plain": (read_idx, idx((2, 2), bytes(5)), "as long as its header"),
    "idx, 64 bits of sizes": (read_idx, idx((2**32 - 1,) * 4, bytes(5)), "as long as its header"),
    "idx, cut gzip": (read_idx, gzip.compress(idx((10, 28, 28), bytes(7840)))[:-9], "gzip file must be whole"),
    "npy, a large claim": (read_arrays, claiming("(1000000000000,)"), "claims another size"),
    "npz, a large claim": (read_arrays, zipped(X=claiming("(100000, 100000)")), "claims another size"),
    "npz, a negative claim": (read_arrays, zipped(X=claiming("(-1,)")), "claims another size"),
    "npz, Python objects": (read_arrays, zipped(X=npy(np.array([{}], object))), "Python objects"),
    "npz, junk": (read_arrays, b"PK\x03\x04" + bytes(90), "is damaged"),
    "npz, empty": (read_arrays, b"", "is damaged"),
    "npz, a member that is no array": (read_arrays, zipped(X=b"hello"), "is damaged"),
    "npz, a flipped byte": (read_arrays, zipped(X=npy(np.arange(999.0)))[:300] + b"\xff" * 40, "is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", FALSE_CLAIMS)
def test_claims_are_compared_with_what_is_there_before_memory_is_taken(name: str, tmp_path: Path) -> None:
    reader, content, says = FALSE_CLAIMS[name]
    (tmp_path / "x").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(UserError, match=says):
        reader(tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MIB


BOMBS: dict[str, tuple[Callable[[Path], object], str, Callable[[bytes], bytes]]] = {
    "gzip": (read_unpacked, "are read in one call", gzip.compress),
    "npz": (read_arrays, "claims", lambda zeros: zipped(X=zeros)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_where_its_size_is_not_plausible(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnatomy.files.FREE", 4 * MIB)
    reader, says, pack = BOMBS[name]
    (tmp_path / "x").write_bytes(pack(bytes(64 * MIB)))
    tracemalloc.start()
    with pytest.raises(UserError, match=says):
        reader(tmp_path / "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 * MIB


def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path) -> None:
    arrays = {"X": np.arange(12.0).reshape(3, 4), "y": np.array(["a", "ü", "b"]), "f": np.asfortranarray(np.eye(3, 4))}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        read = read_arrays(tmp_path / "a.npz")
        assert list(read) == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(read[name], array)
    np.save(tmp_path / "b.npy", arrays["f"])
    np.testing.assert_array_equal(read_arrays(tmp_path / "b.npy")[""], arrays["f"])


CHANGED = {
    "mnist": "mnist/t10k-labels-idx1-ubyte.gz", "cifar10": "cifar10/cifar10_small_test.npz",
    "cora": "graph/cora.npz", "camvid": "segmentation/camvid_96x128.npz", "multi30k": "translation/multi30k.val.de.gz",
    "sst2": "text/sst2_test.tsv", "rt_polarity": "text/rt-polarity.neg.txt", "titanic": "tabular/titanic.csv",
    "nab_machine_temperature": "timeseries/nab_labels.json", "tinyshakespeare": "text/tinyshakespeare.txt",
}  # fmt: skip


@pytest.mark.parametrize("junk", [b"", b"junk" * 99, b"PK\x03\x04" + bytes(99), b"\x1f\x8b" + bytes(99)])
@pytest.mark.parametrize("name", CHANGED)
def test_named_sets_are_the_published_files(
    name: str, junk: bytes, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / CHANGED[name]
    shutil.copytree(real_data / file.parent.name, file.parent, copy_function=os.symlink)
    file.unlink()
    file.write_bytes(junk)
    monkeypatch.setenv("NNATOMY_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"content differs|gzip file must be whole"):
        load(name, offline=True)


@pytest.mark.parametrize("name", ["d\udce9.csv", "d\udce9"])
def test_names_that_are_not_utf_8_are_refused_before_training(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reports, run.json and predictions hold such names: they would end the training at its end."""
    (tmp_path / name).write_text("a,b\n" + "1,2\n" * 30)
    (tmp_path / "plain.csv").write_text("a,b\n" + "".join(f"{n},{n % 3}\n" for n in range(60)))
    plain = ["--data", str(tmp_path / "plain.csv")]
    for words in (["--data", str(tmp_path / name)], [*plain, "--out", str(tmp_path / "r\udce9")]):
        assert main(["train", "mlp", *words, "--epochs", "1"]) == 2
        assert r"\xe9" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path)) == sorted([name, "plain.csv"])
