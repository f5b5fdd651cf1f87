"""Compiles kernels, keeps their object code in the user's cache, and loads it again without Numba."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_lock = threading.RLock()
_addresses: dict[str, int] = {}
_engine: Any = None
announce: Callable[[str], None] | None = None
"""Called once before the first compilation, with a sentence for the user."""
_announced = False

SOURCES = Path(__file__).parent
ENTRY = "kernel_"


def address(module: str, name: str) -> int:
    """The address of kernel `name` of kernels/`module`.py, compiled now if no cache holds it."""
    key = f"{module}.{name}"
    found = _addresses.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _addresses:
            _addresses[key] = _load(module, name)
        return _addresses[key]


def _load(module: str, name: str) -> int:
    path = folder() / f"{module}-{name}-{fingerprint(module)}.o"
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    code = kept[32:]
    if hashlib.sha256(code).digest() != kept[:32]:  # none, or a damaged one
        code = compile_kernel(module, name)
        _keep(path, hashlib.sha256(code).digest() + code)
    return _link(code, ENTRY + f"{module}_{name}")


def folder() -> Path:
    """Where object code is kept: NNATOMY_CACHE, else the platform's folder for caches."""
    given = os.environ.get("NNATOMY_CACHE")
    if given:
        return Path(given) / "kernels"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nnatomy" / "kernels"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "nnatomy" / "kernels"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nnatomy" / "kernels"


def fingerprint(module: str) -> str:
    """What object code depends on: the sources, the compiler, the processor."""
    import llvmlite
    import llvmlite.binding as llvm

    digest = hashlib.sha256()
    for path in (SOURCES / "vectors.py", SOURCES / "microkernels.py", SOURCES / "library.py", *_imported(module)):
        digest.update(path.read_bytes())
    digest.update(f"{llvmlite.__version__} {llvm.get_host_cpu_name()} {sys.version_info[:2]}".encode())
    digest.update(llvm.get_host_cpu_features().flatten().encode())
    return digest.hexdigest()[:16]


def _imported(module: str) -> list[Path]:
    """The module's file and those of the kernels' modules that it imports from, in order."""
    found: list[str] = []
    left = [module]
    while left:
        name = left.pop()
        if name not in found:
            found.append(name)
            text = (SOURCES / "kernels" / f"{name}.py").read_text()
            left += re.findall(r"^from nnatomy\.backends\.fast\.kernels\.(\w+) import", text, re.M)
    return [SOURCES / "kernels" / f"{name}.py" for name in sorted(found)]


def compile_kernel(module: str, name: str) -> bytes:
    """Object code with one entry, `kernel_<name>(arguments, thread, threads)`."""
    global _announced
    if announce is not None and not _announced:
        _announced = True
        announce("Compiling fast kernels: once per machine, a few seconds each.")
    from llvmlite import binding as llvm
    from numba import njit, types

    from nnatomy.backends.fast.vectors import FAST_MATH

    function = getattr(importlib.import_module(f"nnatomy.backends.fast.kernels.{module}"), name)
    signature = (types.CPointer(types.int64), types.int64, types.int64)
    function = getattr(function, "py_func", function)
    dispatcher = njit(signature, error_model="numpy", fastmath=FAST_MATH, nogil=True, no_cpython_wrapper=True,
                      no_cfunc_wrapper=True)(function)  # fmt: skip
    result = dispatcher.overloads[signature]
    entry = result.fndesc.llvm_func_name
    text = result.library.get_llvm_str() + (
        f"\ndefine void @{ENTRY}{module}_{name}(ptr %a, i64 %t, i64 %n) {{\n"
        "  %r = alloca ptr\n  %e = alloca ptr\n"
        f"  %s = call i32 @{_quoted(entry)}(ptr %r, ptr %e, ptr %a, i64 %t, i64 %n)\n  ret void\n}}\n"
    )
    module_ = llvm.parse_assembly(text)
    for thing in (*module_.functions, *module_.global_variables):
        if not thing.is_declaration and thing.name != ENTRY + f"{module}_{name}":
            thing.linkage = "internal"
    return bytes(_target().emit_object(module_))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.$]+", name) else f'"{name}"'


def _target() -> Any:
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, codemodel="jitdefault", jit=True
    )


def _link(code: bytes, entry: str) -> int:
    """Loads object code into the process."""
    global _engine
    from llvmlite import binding as llvm

    if _engine is None:
        machine = _target()
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    found = int(_engine.get_function_address(entry))
    if not found:
        raise RuntimeError(f"The object code has no {entry}.")
    return found


def _keep(path: Path, code: bytes) -> None:
    """Writes atomically; a cache that cannot be written is no error, the kernel runs from memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(code)
        os.replace(temporary, path)
    except OSError:
        return
