"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fastserve import cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# The options of the command.
COMMANDS = [cli.main, *(other.made() for other in cli.OTHERS.values())]
PARAMETERS = [each for command in COMMANDS for each in command.params]
OURS = {"--help", *(name for each in PARAMETERS for name in each.opts + each.secondary_opts)}

FENCE = re.compile(
    r"(?P<marks>(?:^[ ]*<!--[^\n]*-->\n\n?)*)"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>[\w-]*)(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.DOTALL | re.MULTILINE,
)
MARK = re.compile(r"<!--\s*([\w-]+)(?:: (.*?))?\s*-->")


class Block(NamedTuple):
    """A fenced block. Its marks are the comments right before it, such as `<!-- no-run: why -->`."""

    page: Path
    line: int
    language: str
    title: str  # the name of the file that it is
    text: str
    marks: dict[str, str]

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match["info"])
        indent = len(match["indent"])
        yield Block(
            page,
            text.count("\n", 0, match.start("fence")) + 1,
            match["language"],
            title[1] if title else "",
            "".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True)),
            dict(MARK.findall(match["marks"])),
        )


def prose(page: Path) -> str:
    """Return a page without its fenced blocks and comments."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def block(name: str, title: str) -> str:
    """Return the text of a page's block with this title."""
    (found,) = [each.text for each in blocks(ROOT / "docs" / name) if each.title == title]
    return found
