"""The same as `nnatomy bench`, from a checkout: our steps next to PyTorch's, torch.compile's, JAX's and Keras's on this CPU.

    python benchmarks/cpu.py --threads 2 --figures cpu.json --out docs/performance.md
    python benchmarks/cpu.py --only lenet,gpt --peers torch --what train
"""

import sys

from nnatomy.cli import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
