"""What a release stands on: the requirements of the wheels' tests, the workflows, the changelog, the name."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

try:
    tomllib: Any = importlib.import_module("tomllib")
except ImportError:  # Python 3.10, where pytest needs this one
    tomllib = importlib.import_module("tomli")

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WHEELS: dict[str, Any] = SETTINGS["tool"]["cibuildwheel"]
# In the archive of a release's suite there are no workflows.
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def normal(requirement: str) -> str:
    """The name of a requirement's distribution, as names of distributions are compared."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def imported(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, with what follows `from` added to its module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "importorskip":
            found |= {str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)}
    return found


def local(module: str) -> Iterator[Path]:
    """The files below tests/ that importing this module loads."""
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        base = TESTS.joinpath(*parts[:count])
        for candidate in (base.with_suffix(".py"), base / "__init__.py", base / "conftest.py"):
            if candidate.is_file():
                yield candidate


def third_party(folders: list[str]) -> dict[str, str]:
    """Each module that is neither Python's nor the tests' own, with a file that imports it or leads to that."""
    unread = [path for folder in folders for path in (ROOT / folder).rglob("*.py")] + [TESTS / "conftest.py"]
    seen = set(unread)
    found: dict[str, str] = {}
    while unread:
        path = unread.pop()
        for module in imported(path):
            top = module.partition(".")[0]
            files = list(local(module))
            if files or (TESTS / top).is_dir():
                unread += set(files) - seen
                seen |= set(files)
            elif top not in {*sys.stdlib_module_names, "test"}:  # which CPython has for itself
                found[top] = path.relative_to(ROOT).as_posix()
    return found


def test_the_wheels_tests_have_what_they_import() -> None:
    folders = [word for word in WHEELS["test-command"].split() if word.startswith("tests/")]
    assert len(folders) >= 3
    modules = third_party(folders)
    distributions = importlib.metadata.packages_distributions()
    # The version of HTTP that is compiled from the tree imports this, in tests that the command leaves out.
    modules.pop("Cython", None)
    given = {normal(each) for each in SETTINGS["project"]["dependencies"]} | {normal(SETTINGS["project"]["name"])}
    listed = {normal(each) for each in WHEELS["test-requires"]}
    needed: dict[str, str] = {}
    for module, path in modules.items():
        assert importlib.util.find_spec(module) is not None, f"{path} imports {module}"
        names = {normal(each) for each in distributions.get(module, (module,))}  # CPython 3.10 does not know all
        if module != "fastserve" and not names & given:
            needed |= dict.fromkeys(names, path)
    assert {name: path for name, path in needed.items() if name not in listed} == {}
    # A plugin, and what fastserve itself imports for `--ws wsproto`.
    assert listed - needed.keys() == {"pytest-timeout", "wsproto"}


def test_the_wheels_tests_leave_out_what_needs_the_tree() -> None:
    assert "not tree" in WHEELS["test-command"]
    for path in (TESTS / "core").rglob("test_*.py"):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if line.startswith("def test_") and "other_version" in line:
                marks = [mark for mark in lines[max(0, number - 4) : number] if mark.startswith("@")]
                assert "@pytest.mark.tree" in marks, f"{path.name}: {line}"


def test_the_steps_of_a_release_count_the_pythons_that_have_wheels() -> None:
    number = {5: "five", 6: "six", 7: "seven"}[len(WHEELS["build"].split())]
    assert f"{number} Pythons" in (ROOT / "RELEASING.md").read_text("utf-8")


def test_the_index_is_told_who_and_where() -> None:
    """What pyroma asks for, so that it gives 10 of 10: here, because its rating may change."""
    project = SETTINGS["project"]
    assert all({"name", "email"} <= author.keys() for author in project["authors"])
    assert {"Documentation", "Repository", "Changelog", "Issues"} <= project["urls"].keys()
    assert all(url.startswith("https://") for url in project["urls"].values())
    assert all(project[field] for field in ("description", "readme", "requires-python", "license", "keywords"))
    assert sum(each.startswith("Programming Language :: Python :: 3.") for each in project["classifiers"]) == 5


def installed_from_an_index() -> Iterator[tuple[str, str]]:
    """Yield the place of each line of the documentation that installs fastserve from an index, and the name there."""
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*")]:
        if path.is_file() and path.suffix in {".md", ".txt", ".toml", ""}:
            for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
                told = re.findall(r"pip3? install\b[^`|&;]*?['\"\s](fastserve[\w-]*)", line)
                if path.name == "requirements.txt":
                    told += re.findall(r"^(fastserve[\w-]*)", line)
                yield from ((f"{path.relative_to(ROOT)}:{number}", name) for name in told)


def test_the_distribution_is_called_the_same_everywhere() -> None:
    """What people are told to install is the name of the project; the command and the package keep theirs."""
    name = SETTINGS["project"]["name"]
    assert [(where, told) for where, told in installed_from_an_index() if told != name] == []
    for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]:
        extras = re.findall(r"(?<![/\w-])(fastserve[\w-]*)\[[a-z]+\]", path.read_text("utf-8"))
        assert set(extras) <= {name}, path


def test_nothing_is_installed_from_an_index_that_has_another_project_of_the_name(release: Any) -> None:
    if release.unreleased():
        assert list(installed_from_an_index()) == []


def steps() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text("utf-8"))["jobs"].values():
            for step in job.get("steps", []):
                yield path.name, step


def test_actions_are_pinned_by_hash_and_keep_no_credentials() -> None:
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for line in path.read_text("utf-8").splitlines():
            if used := re.search(r"uses: (\S+)(.*)", line):
                pin = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40})", used[1])
                assert pin is not None, f"{path.name}: {line.strip()}"
                assert re.fullmatch(r" # v\d+\.\d+\.\d+", used[2]), f"{path.name}: {line.strip()}"
                pins.setdefault(pin[1], set()).add(used[1] + used[2])
    assert {action: pinned for action, pinned in pins.items() if len(pinned) > 1} == {}
    for name, step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, name


def test_only_publishing_may_write() -> None:
    """Nothing that a build downloads and runs can publish: those jobs have no such permission."""
    if not WORKFLOWS:
        return
    granted = {}
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text("utf-8"))
        for name, job in workflow["jobs"].items():
            permissions = {**workflow["permissions"], **job.get("permissions", {})}
            if writes := {kind for kind, access in permissions.items() if access == "write"}:
                granted[path.name, name] = writes
                if path.name == "wheels.yml":
                    assert job["if"] == "github.event_name == 'push'"
                    assert all("pip" not in step.get("run", "") for step in job["steps"])
    granted = {key: writes for key, writes in granted.items() if key[0] == "wheels.yml"}
    assert granted == {("wheels.yml", "publish"): {"id-token"}, ("wheels.yml", "release"): {"contents"}}


@pytest.fixture
def release() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree that is ready for v1.2.3."""
    (tmp_path / "src/fastserve").mkdir(parents=True)
    (tmp_path / "src/fastserve/_version.py").write_text('"""What."""\n\nVERSION = "1.2.3"\nother = "x"\n')
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- later\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- a thing\n"
        "\n## [1.2.2] - 2026-11-01\n\n- before\n"
    )
    return tmp_path


def test_a_release_has_its_section_of_the_changelog(release: Any, tree: Path) -> None:
    assert release.problems("v1.2.3", tree) == []
    assert release.notes("v1.2.3", tree) == "### Added\n\n- a thing"
    assert release.notes("v1.2.2", tree) == "- before"


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("1.2.3", ["not of the form", "does not fit VERSION"]),
        ("v1.2.4", ["does not fit VERSION", "no text under"]),
        ("v1.2.2", ["does not fit VERSION"]),
    ],
)
def test_a_tag_that_does_not_fit_is_not_released(release: Any, tree: Path, tag: str, words: list[str]) -> None:
    found = release.problems(tag, tree)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_a_release_does_not_say_that_there_is_none(release: Any, tree: Path) -> None:
    (tree / "docs").mkdir()
    (tree / "docs" / "index.md").write_text("It is installed from a checkout: nothing has been\nreleased yet.\n")
    assert release.problems("v1.2.3", tree) == ["docs/index.md still says that nothing has been released yet."]


def test_pages_install_from_a_checkout_before_the_first_release_alone(release: Any) -> None:
    pages = {"README.md", "docs/index.md", "docs/tutorial/first-application.md", "examples/README.md"}
    assert set(release.unreleased()) in ({"CHANGELOG.md", *pages}, set())


def test_the_tree_has_the_version_that_it_is_built_as(release: Any) -> None:
    from fastserve._version import VERSION

    assert release.version() == VERSION
