"""The code of docs/architecture.md: its blocks by section, as files in a folder, and as it runs."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from nnatomy.cli import main

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"


@dataclass(frozen=True)
class Block:
    """One fenced block: the heading above it, its language, its code, and the file that its first line names."""

    heading: str
    language: str
    code: str

    @property
    def file(self) -> str | None:
        found = re.match(r"# (\S+\.py)\n", self.code)
        return found[1] if found else None


def blocks(heading: str = "") -> list[Block]:
    """Return the blocks of the page, or those below one heading."""
    found = []
    for part in re.split(r"^#{2,3} ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = part.partition("\n")[0]
        found += [Block(title, *pair) for pair in re.findall(r"^```(\w+)\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)]
    return [block for block in found if heading in ("", block.heading)]


def write_files(folder: Path) -> None:
    """Write every block that names a file into the folder."""
    for block in blocks():
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.code, encoding="utf-8")


def run_block(block: Block) -> None:
    """Run Python unchanged, and each line of a command line as a terminal would."""
    if block.language == "python":
        exec(compile(block.code, block.heading, "exec"), {"__name__": "page"})
        return
    for line in block.code.splitlines():
        assert command(line) == 0, line


def command(line: str) -> int:
    """Return the exit code of `nnatomy ...`."""
    program, *words = shlex.split(line)
    assert program == "nnatomy"
    return main(words)
