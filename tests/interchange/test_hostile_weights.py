"""Damaged and malicious weight files: a clear refusal or a load; no other exception, no code run, no memory without bound."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.any_kernels

MUTATED = 500
ARCHITECTURE = 256 * 2**20
"""Bytes that reading may take next to what the program takes by itself; the files are of a few kilobytes."""


# Good files, small


def torch_file(pickled: bytes, **members: bytes) -> bytes:
    """An archive as torch.save writes it, around any pickle."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, data in ({"byteorder": b"little", "version": b"3\n"} | members).items():
            archive.writestr(f"x/{name.replace('__', '/')}", data)
    return out.getvalue()


def state() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {"a.weight": rng.normal(size=(4, 3)).astype("float32"), "a.bias": rng.normal(size=4), "n": np.arange(5)}


def good_files() -> dict[str, bytes]:
    from safetensors.numpy import save

    files = {"plain.safetensors": save(state())}
    for name, write in (("plain.npz", np.savez), ("packed.npz", np.savez_compressed)):
        out = io.BytesIO()
        write(out, **state())
        files[name] = out.getvalue()
    out = io.BytesIO()
    np.save(out, state()["a.weight"])
    files["plain.npy"] = out.getvalue()
    torch = pytest.importorskip("torch")
    out = io.BytesIO()
    tensors = {name: torch.tensor(a) for name, a in state().items()}
    torch.save({"model": tensors | {"turned": tensors["a.weight"].T}, "epoch": 3}, out)
    files["torch.pt"] = out.getvalue()
    h5py = pytest.importorskip("h5py")
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        for name, a in state().items():
            file[f"layers/{name}/vars/0"] = a
        file.create_dataset("layers/packed/vars/0", data=np.zeros((64, 8)), compression="gzip")
    files["keras.weights.h5"] = out.getvalue()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", files["keras.weights.h5"])
    files["model.keras"] = out.getvalue()
    return files


# What is done to them


def flipped(data: bytes, other: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 40))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def lying(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A number is replaced by a huge, a negative or a nearly right one; more often near the ends, where headers are."""
    width = rng.choice((1, 2, 4, 8))
    end = max(1, len(data) - 8)
    place = rng.choice((rng.randrange(min(200, end)), rng.randrange(end), max(0, end - rng.randrange(200))))
    value = rng.choice((256**width - 1, 256**width // 2, 256**width // 2 - 1, 0, 1, rng.randrange(256**width)))
    return data[:place] + value.to_bytes(width, "little") + data[place + width :]


def spliced(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def repeated(data: bytes, other: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randrange(1, 300)]
    place = rng.randrange(len(data))
    return data[:place] + piece * rng.choice((1, 2, 50)) + data[place:]


def digits(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Decimal numbers and words in a header become others; lengths stay."""
    places = [i for i, byte in enumerate(data[:1000]) if chr(byte).isalnum()] or [0]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 10))):
        changed[rng.choice(places)] = rng.choice(b'0123456789[]{}",:F-\\')
    return bytes(changed)


CHANGES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (flipped, cut, lying, spliced, repeated, digits)


def inside(archive: bytes, change: Callable[[bytes], bytes], rng: random.Random) -> bytes:
    """One member, more often the largest, is changed and the archive written again, so that its checksums are right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        largest = max(old.infolist(), key=lambda member: member.file_size).filename
        chosen = rng.choice([largest, largest, *old.namelist()])
        for name in old.namelist():
            new.writestr(name, change(old.read(name)) if name == chosen else old.read(name))
    return out.getvalue()


def mutated(seed: int, files: dict[str, bytes]) -> tuple[str, bytes]:
    rng = random.Random(seed)
    name = sorted(files)[seed % len(files)]
    data, other, change = files[name], files[rng.choice(sorted(files))], rng.choice(CHANGES)
    if data.startswith(b"PK") and rng.random() < 0.6:
        return name, inside(data, lambda member: change(member, other, rng) if len(member) > 60 else member[::-1], rng)
    return name, change(data, other, rng)


# Malicious ones, by hand


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def storage(count: bytes = b"K\x04", key: bytes = b"0", kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return b"(" + text(b"storage") + kind + text(key) + text(b"cpu") + count + b"tQ"


def tensor(
    shape: bytes = b"K\x02K\x02\x86", strides: bytes = b"K\x02K\x01\x86", offset: bytes = b"K\x00", **kind: bytes
) -> bytes:  # fmt: skip
    arguments = b"(" + storage(**kind) + offset + shape + strides + b"\x89)t"
    return b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


def long(n: int) -> bytes:
    data = n.to_bytes(n.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def doubling(levels: int) -> bytes:
    """Each dictionary holds the one before it twice: 2^levels ways lead to the first."""
    steps = (b"}" + text(b"a") + b"h%c" % i + b"s" + text(b"b") + b"h%c" % i + b"sq%c" % (i + 1) for i in range(levels))
    return b"\x80\x02}q\x00" + b"".join(steps) + b"."


def malicious() -> dict[str, bytes]:
    """Files by name; each must be refused."""
    import os

    numbers = {"data__0": np.arange(4, dtype="<f4").tobytes()}
    pickles = {
        "system": pickle.dumps({"a": Call(os.system, "touch /tmp/owned")}, 2),
        "eval": pickle.dumps(Call(eval, "1+1"), 2),
        "stack_global": pickle.dumps(Call(os.system, "true"), 4),
        "instance": b"(S'true'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nX\x04\x00\x00\x00trueo.",
        "newobj": b"\x80\x02cbuiltins\nlist\n)\x81.",
        "extension": b"\x80\x02\x82\x01.",
        "getattr": b"\x80\x02cbuiltins\ngetattr\n(cos\nX\x06\x00\x00\x00systemtR.",
        "hidden_in_size": b"\x80\x02ctorch\nSize\n(cos\nsystem\ntR.",
        "setstate": b"\x80\x02ccollections\nOrderedDict\n)Rcbuiltins\neval\nb.",
        "import": b"\x80\x02ctorch.hub\nload\n.",
        "size_of_nothing": b"\x80\x02ctorch\nSize\nK\x05\x85R.",
        "deep_tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
        "deep_marks": b"\x80\x02" + b"(" * 500_000 + b".",
        "deep_dicts": b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 3000 + b"}" + b"s" * 3000 + b".",
        "itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        "doubling": doubling(30),
        "huge_text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.",
        "huge_text_4": b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"abc.",
        "huge_number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"abc.",
        "decimal": b"I" + b"9" * 100_000 + b"\n.",
        "memo": b"\x80\x02}r\xff\xff\xff\xffj\x01\x00\x00\x00.",
        "nothing": b"",
        "no_stop": b"\x80\x02}",
        "empty_stack": b"\x80\x02.",
        "popped_mark": b"\x80\x02(\x85.",
        "keys": b"\x80\x02}))s.",
        "storage_lies": tensor(count=long(10**12)),
        "storage_negative": tensor(count=long(-4)),
        "storage_truth": tensor(count=b"\x88"),
        "storage_elsewhere": tensor(key=b"../../../../etc/passwd"),
        "storage_absolute": tensor(key=b"/etc/passwd"),
        "storage_kind": tensor(kind=b"cbuiltins\neval\n"),
        "storage_size": tensor(kind=b"ctorch\nSize\n"),
        "shape_huge": tensor(shape=long(10**9) + long(10**9) + b"\x86", strides=b"K\x00K\x00\x86"),
        "shape_beyond": tensor(shape=b"K\x03K\x02\x86"),
        "shape_negative": tensor(shape=long(-2) + long(-2) + b"\x86"),
        "shape_huge_and_empty": tensor(shape=long(2**70) + b"K\x00\x86"),
        "shape_many": tensor(shape=b"(" + b"K\x01" * 100 + b"t", strides=b"(" + b"K\x01" * 100 + b"t"),
        "strides_huge": tensor(strides=long(2**63) + long(2**63) + b"\x86"),
        "strides_negative": tensor(strides=long(-1) + b"K\x01\x86"),
        "strides_few": tensor(strides=b"K\x01\x85"),
        "offset_beyond": tensor(offset=long(2**40)),
        "offset_negative": tensor(offset=long(-1)),
        "quantized": b"\x80\x02ctorch._utils\n_rebuild_qtensor\n.",
    }
    files = {f"{name}.pt": torch_file(pickled, **numbers) for name, pickled in pickles.items()}
    files["bare.pt"] = pickles["system"]
    files["protocol0.pt"] = b"cos\nsystem\n(S'true'\ntR."
    files["no_storage.pt"] = torch_file(tensor())

    def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", kind) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return out.getvalue()

    header = b"\x93NUMPY\x01\x00\x76\x00"

    def npy(text: str) -> bytes:
        return header + text.encode().ljust(117)[:117] + b"\n" + b"\x00" * 64

    files |= {
        "bomb.npz": zipped({"a.npy": npy("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000,)}") + bytes(10**8)}),
        "escape.npz": zipped({"../../a.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (16,)}")}),
        "absolute.npz": zipped({"/tmp/a.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (16,)}")}),
        "huge.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"),
        "negative.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -16)}"),
        "object.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (8,)}"),
        "wide.npy": npy("{'descr': '|V1000000000', 'fortran_order': False, 'shape': (0,)}"),
        "code.npy": npy("__import__('os').system('true')"),
        "deep.npy": npy("(" * 110),
        "truth.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 16)}"),
        "other.zip": zipped({"readme.txt": b"hello"}),
        "length.safetensors": struct.pack("<Q", 2**63) + b"{}",
        "longer.safetensors": struct.pack("<Q", 10**9) + b"{}",
        "deep.safetensors": struct.pack("<Q", 100_000) + b'{"a":' + b"[" * 99_995,
        "size.safetensors": safetensors_file({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}}),
        "overflow.safetensors": safetensors_file({"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 4]}}),
        "offsets.safetensors": safetensors_file({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}),
        "dtype.safetensors": safetensors_file({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}),
        "escape.index.json": json.dumps({"weight_map": {"a": "../../etc/passwd"}}).encode(),
        "itself.index.json": json.dumps({"weight_map": {"a": "itself.index.json"}}).encode(),
        "deep.json": b"[" * 100_000,
        "empty": b"",
    }
    return files | hdf5_files()


def safetensors_file(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


def hdf5_files() -> dict[str, bytes]:
    """Files that HDF5 itself finds in order."""
    h5py = pytest.importorskip("h5py")
    files = {}

    def made(fill: Callable[[Any], None]) -> bytes:
        out = io.BytesIO()
        with h5py.File(out, "w") as file:
            fill(file)
        return out.getvalue()

    def many_links(file: Any) -> None:
        inner = file
        for _ in range(40):
            inner = inner.create_group("a")

    files["external.h5"] = made(lambda f: f.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/")))
    files["soft.h5"] = made(lambda f: f.__setitem__("a", h5py.SoftLink("/a")))
    files["cycle.h5"] = made(lambda f: f.create_group("a").__setitem__("b", f))
    files["unwritten.h5"] = made(lambda f: f.create_dataset("a", (10**12,), "f4", chunks=(1000,)) and None)
    files["bomb.h5"] = made(lambda f: f.create_dataset("a", data=np.zeros(10**7), chunks=(10**6,), compression="gzip") and None)
    files["outside.h5"] = made(
        lambda f: f.create_dataset("a", (64,), "u1", external=[("/etc/passwd", 0, 64)]) and None
    )  # fmt: skip
    files["text.h5"] = made(lambda f: f.__setitem__("a", "text"))
    files["reference.h5"] = made(lambda f: f.__setitem__("a", f.ref))
    files["deep.h5"] = made(many_links)
    return files


# The tests


def read_all(folder: Path, bad: dict[str, bytes]) -> list[dict[str, str]]:
    for part, files in (("good", good_files()), ("bad", bad)):
        (folder / part).mkdir()
        for name, data in files.items():
            (folder / part / name).write_bytes(data)
    index = {"weight_map": dict.fromkeys(state(), "plain.safetensors")}  # the types of an index are evaluated once
    (folder / "good" / "whole.index.json").write_text(json.dumps(index))
    command = [sys.executable, str(Path(__file__).with_name("hostile_reader.py")), str(folder), str(ARCHITECTURE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (found[-1:], sorted(bad)[len(found) : len(found) + 1], done.stderr[-2000:])
    assert len(found) == len(bad)
    return found


def test_mutated_files(tmp_path: Path) -> None:
    good = good_files()
    made = [mutated(seed, good) for seed in range(MUTATED)]
    found = read_all(tmp_path, {f"{i:03}-{name}": data for i, (name, data) in enumerate(made)})
    other = [line for line in found if line["result"] not in ("loaded", "UserError")]
    assert not other, other[:5]
    refused = [line["message"] for line in found if line["result"] == "UserError"]
    assert all(
        text.startswith("Weights come from whole files") and ". Received " in text and "\n" not in text for text in refused
    )
    results = Counter(line["result"] for line in found)
    assert results["UserError"] > MUTATED // 2, results  # the rest had numbers changed, or bytes that carry nothing


def test_malicious_files_are_refused(tmp_path: Path) -> None:
    found = read_all(tmp_path, malicious())
    wrong = [line for line in found if line["result"] != "UserError"]
    assert not wrong, wrong
    messages = {line["file"]: line["message"] for line in found}
    assert "wants to run 'posix.system'" in messages["system.pt"]
    assert "wants to run '__builtin__.eval'" in messages["eval.pt"]
    assert "needs STRING" in messages["instance.pt"]
    assert "claims a wrong size for its storage" in messages["storage_lies.pt"]
    assert "32 times its size" in messages["bomb.npz"]
    assert "points elsewhere" in messages["external.h5"]
    assert "F8_E4M3" in messages["dtype.safetensors"]
    assert not Path("/tmp/owned").exists()
