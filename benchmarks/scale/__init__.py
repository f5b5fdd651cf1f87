"""`benchmarks/scale.py`: what training costs on one device and on many, by arithmetic and as XLA compiles it; nothing is run.

    arithmetic.py   bytes for each parameter, operations for each token, bytes between devices
    compiled.py     what XLA makes of a GPT-2 step on many devices
    page.py         the tables and the page docs/scale.md
"""
