"""The code and the commands of the documentation, to run them as they stand."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Block(NamedTuple):
    """What stands between two fences."""

    language: str
    code: str
    line: int  # of the page, where the code begins

    @property
    def commands(self) -> list[str]:
        """The lines of a bash block, continued ones joined."""
        return self.code.replace("\\\n", " ").splitlines()


def blocks(page: Path, section: str | None = None) -> list[Block]:
    """The fenced blocks of a page, in order, or those under one of its `##` headings."""
    text = page.read_text()
    begin, end = 0, len(text)
    if section is not None:
        begin = text.index(f"\n## {section}\n")
        end = text.find("\n## ", begin + 1) % (len(text) + 1)
    found = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE).finditer(
        text, begin, end
    )
    return [Block(m[1], m[2], text.count("\n", 0, m.start(2)) + 1) for m in found]


def code(page: Path, section: str | None = None) -> list[str]:
    """Its Python blocks."""
    return [block.code for block in blocks(page, section) if block.language == "python"]


def commands(page: Path, section: str | None = None) -> list[str]:
    """The lines of its bash blocks."""
    found = [block.commands for block in blocks(page, section) if block.language == "bash"]
    return [line for lines in found for line in lines]


def run(block: Block, page: Path, names: dict) -> None:
    """Execute a Python block in `names`; an error shows the line of the page."""
    source = "\n" * (block.line - 1) + block.code
    exec(compile(source, page, "exec"), names)
