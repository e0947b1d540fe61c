"""What the documentation says of the program: generated parts, links, options, and the shell lines' options."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from docs.pages import OURS, PAGES, ROOT, blocks, prose

LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page: of its headings, and those that it has as elements."""
    text = page.read_text(encoding="utf-8")
    found = set(re.findall(r'id="([^"]+)"', text))
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", plain))
    return found


def repository() -> str:
    """Return the address of the repository, which zensical.toml has for the site."""
    (found,) = re.findall(r'^repo_url = "(.*)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


def test_packages_name_the_same_repository() -> None:
    listed = re.findall(r'^(?:Repository|Source) = "(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert all(url.rstrip("/") == repository() for url in listed)


def test_generated_parts_are_what_the_program_says() -> None:
    changed = runpy.run_path(str(ROOT / "docs" / "generate.py"))["changed"]()
    assert [str(page) for page in changed] == [], "run python docs/generate.py"


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    base = repository()
    for link in LINK.findall(prose(page)):
        in_tree = re.fullmatch(re.escape(base) + r"/(?:blob|tree|raw)/main/([^#]*)(?:#(.*))?", link)
        if in_tree:
            target, anchor = ROOT / in_tree[1], in_tree[2] or ""
        elif urlsplit(link).scheme:
            assert link.startswith("https://"), link
            continue
        else:
            assert name != "README.md" or link.startswith("#"), f"{link}: an index does not have the repository's files"
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
        if not (ROOT / "examples").exists() and target.is_relative_to(ROOT / "examples"):
            continue
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_each_page_is_in_the_navigation() -> None:
    listed = re.findall(r'= "([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES if page.name != "README.md")


@pytest.mark.parametrize("name", NAMES)
def test_options_of_commands_exist(name: str) -> None:
    """In whatever block, those that are not run too: shell lines, units, Dockerfiles, manifests."""
    for block in blocks(ROOT / name):
        text = re.sub(r"\\\n\s*", " ", block.text)
        for line in text.splitlines():
            command = re.search(r"(?:^|[/\s\[\"])fastserve[\"',]*\s(.*)", line)
            if command and not re.search(r"\b(?:pip|docker|useradd|systemctl|translate)\b", line):
                unknown = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", command[1])) - OURS
                assert not unknown, f"{block.where}: {unknown}"


@pytest.mark.parametrize("name", NAMES)
def test_options_in_the_text_exist(name: str) -> None:
    """Those in code, except in the tables of other servers' options, and options of other programs."""
    others = {"--stop-timeout", "--init", "--threads"}
    if "how-to/from-" in name or name == "docs/asgi-checklist.md":
        return
    text = re.sub(r"^## Compared.*?^## ", "", prose(ROOT / name), flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`(--[a-z][\w-]*)(?:[ =][^`]*)?`", text):
        assert code in OURS | others, f"{name}: {code}"


@pytest.mark.parametrize("name", NAMES)
def test_each_block_of_code_is_run_or_says_why_it_is_not(name: str) -> None:
    for block in blocks(ROOT / name):
        assert block.marks.get("no-run") != "", f"{block.where}: no-run needs a reason"
        assert block.language, f"{block.where}: name the language; `text` is one"
        if block.language == "text" and "output" not in block.marks:
            commands = r"^(?:fastserve [a-z_.]+:\w+|curl|pip|python|kill|export) "
            assert not re.search(commands, block.text, re.MULTILINE), f"{block.where}: it is for a shell"


@pytest.mark.parametrize("name", NAMES)
def test_text_names_the_files_that_blocks_are(name: str) -> None:
    """Not all that shows Markdown shows the titles of blocks."""
    text = prose(ROOT / name)
    for block in blocks(ROOT / name):
        assert not block.title or f"`{block.title}`" in text, block.where
