"""What the release workflow needs to know of the tree.

python .ci/release.py check v1.2.3     exit with 1 unless the tree is ready to be released under this tag
python .ci/release.py notes v1.2.3     print the section of CHANGELOG.md for this tag
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "othing has been released yet"


def version(root: Path = ROOT) -> str:
    """Return the version in the tree; read, not imported, because nothing is built where this runs."""
    (found,) = re.findall(r'^VERSION = "(.+)"$', (root / "src/fastserve/_version.py").read_text("utf-8"), re.MULTILINE)
    return str(found)


def notes(tag: str, root: Path = ROOT) -> str:
    """Return the text below the heading `## [1.2.3] - 2026-01-31` of the changelog; "" without one."""
    heading = rf"^## \[{re.escape(tag.removeprefix('v'))}\] - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)"
    found = re.search(heading, (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else ""


def unreleased(root: Path = ROOT) -> list[str]:
    """Return the files that tell their readers to install from a checkout because there is no release."""
    pages = [root / "README.md", root / "CHANGELOG.md", *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")]
    texts = {page.relative_to(root).as_posix(): page.read_text("utf-8") for page in pages if page.exists()}
    return sorted(name for name, text in texts.items() if UNRELEASED in " ".join(text.split()))


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Return what speaks against a release under this tag, a sentence each."""
    found = []
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", tag):
        found.append(f"The tag {tag} is not of the form v1.2.3 or v1.2.3rc1.")
    if tag != f"v{version(root)}":
        found.append(f"The tag {tag} does not fit VERSION in src/fastserve/_version.py, which is {version(root)}.")
    found += [f"{name} still says that nothing has been released yet." for name in unreleased(root)]
    if not notes(tag, root):
        found.append(f"CHANGELOG.md has no text under a heading `## [{tag.removeprefix('v')}] - YYYY-MM-DD`.")
    return found


def main(arguments: list[str]) -> int:
    if len(arguments) != 2 or arguments[0] not in {"check", "notes"}:
        print(__doc__, file=sys.stderr)
        return 2
    command, tag = arguments
    found = problems(tag)
    print("\n".join(found) if command == "check" else notes(tag), file=sys.stderr if found else sys.stdout)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
