"""The processor's abilities. Lowerings read them here: `vectors`, which kernels are written with, would import the compiler."""

from __future__ import annotations

import llvmlite.binding as llvm

FEATURES = llvm.get_host_cpu_features()
LANES = 16 if FEATURES.get("avx512f") else 8 if FEATURES.get("avx2") else 4
"""float32 in one register."""
REGISTERS = 32 if FEATURES.get("avx512f") or "aarch64" in llvm.get_process_triple() else 16
"""Vector registers."""
ROWS, VECTORS = (8, 3) if REGISTERS == 32 else (6, 2)
"""The tile of a product that fills the registers."""
