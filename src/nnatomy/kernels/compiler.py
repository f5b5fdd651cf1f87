"""From a kernel in Python to object code, by Numba and LLVM. Where object code is kept and loaded is in library.py."""

from __future__ import annotations

import importlib
import re
from typing import Any


def compile_kernel(module: str, name: str, entry: str) -> bytes:
    """Object code with one entry, `entry(arguments, thread, threads)`."""
    from llvmlite import binding as llvm
    from numba import njit, types

    from nnatomy.kernels.vectors import FAST_MATH

    function = getattr(importlib.import_module(f"nnatomy.kernels.sources.{module}"), name)
    signature = (types.CPointer(types.int64), types.int64, types.int64)
    function = getattr(function, "py_func", function)
    dispatcher = njit(signature, error_model="numpy", fastmath=FAST_MATH, nogil=True, no_cpython_wrapper=True,
                      no_cfunc_wrapper=True)(function)  # fmt: skip
    result = dispatcher.overloads[signature]
    compiled = result.fndesc.llvm_func_name
    quoted = compiled if re.fullmatch(r"[\w.$]+", compiled) else f'"{compiled}"'
    text = result.library.get_llvm_str() + (
        f"\ndefine void @{entry}(ptr %a, i64 %t, i64 %n) {{\n"
        "  %r = alloca ptr\n  %e = alloca ptr\n"
        f"  %s = call i32 @{quoted}(ptr %r, ptr %e, ptr %a, i64 %t, i64 %n)\n  ret void\n}}\n"
    )
    whole = llvm.parse_assembly(text)
    for thing in (*whole.functions, *whole.global_variables):
        if not thing.is_declaration and thing.name != entry:
            thing.linkage = "internal"
    return bytes(target().emit_object(whole))


def target() -> Any:
    """The processor of this machine, as LLVM knows it."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, codemodel="jitdefault", jit=True
    )
