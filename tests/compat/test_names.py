"""Every public name of uvicorn's modules is there under compat, or stands in the table of those left out, with why."""

from __future__ import annotations

import ast
import http.client
import importlib
import importlib.util
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn._ansi
import uvicorn.config
import uvicorn.middleware.wsgi
from support import Serve

import fastserve._ansi
import fastserve.config
from fastserve.middleware.wsgi import WSGIResponder, build_environ
from fastserve.protocols.http import h11_impl, httptools_impl

# `fastserve.main` is the command, as `uvicorn.main` is.
OUR_MAIN, THEIR_MAIN = importlib.import_module("fastserve.main"), importlib.import_module("uvicorn.main")
ROOT = Path(str(importlib.util.find_spec("uvicorn").origin)).parent  # type: ignore[union-attr]
SOURCES = sorted(path for path in ROOT.rglob("*.py") if path.name != "__main__.py")

# Modules of uvicorn that are not here.
MODULES_LEFT_OUT = {
    "protocols.http.auto_zttp_impl": "the package zttp, an implementation of HTTP in uvicorn's place, is not used",
    "protocols.http.zttp_impl": "the same",
    "protocols.http.zttp_h2_impl": "the same",
}

FRAMES = "a part of how that class makes frames: WebSockets are the core's here, whichever package makes the frames"
MISSING = "uvicorn has it there only where the package that it prefers is not installed"
LEFT_OUT = {
    "protocols.http.auto": {"H11Protocol": MISSING, "HttpToolsProtocol": "what `auto` means is the core here"},
    "protocols.http.httptools_impl": {
        "HEADER_RE": "the core checks header names by RFC 9110's token, not by this pattern",
        "HEADER_VALUE_RE": "the core checks header values itself",
    },
    "protocols.websockets.auto": {"WSProtocol": MISSING, "WebSocketsSansIOProtocol": "as above"},
    "protocols.websockets.websockets_impl": {"Server": FRAMES},
    "protocols.websockets.wsproto_impl": {"FrameTooLargeError": FRAMES, "WebsocketBuffer": FRAMES},
    "server": {"asyncio_run": "Server.run() does not call it; programs find it in uvicorn._compat"},
}


def name_of(path: Path) -> str:
    parts = [*path.relative_to(ROOT).parent.parts, *([] if path.stem == "__init__" else [path.stem])]
    return ".".join(parts)


def at_module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported, and not those for type checkers."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from at_module_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from at_module_level([*node.body, *node.orelse])
            yield from at_module_level([each for handler in node.handlers for each in handler.body])


def is_uvicorns(module: str) -> bool:
    return module.partition(".")[0] == "uvicorn" and module != "uvicorn._types"


def public_names(path: Path) -> set[str]:
    """Return the names that a module defines or takes from another module of uvicorn: programs import both.

    What it imports from elsewhere is not of uvicorn, and the types for annotations are looked for where they are
    defined.
    """
    found: set[str] = set()
    for node in at_module_level(ast.parse(path.read_text("utf-8")).body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {each.id for target in node.targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom) and is_uvicorns(str(node.module)):
            found |= {alias.asname or alias.name for alias in node.names}
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: name_of(path) or "uvicorn")
def test_module(path: Path) -> None:
    name = name_of(path)
    if name in MODULES_LEFT_OUT:
        assert importlib.util.find_spec(f"fastserve.{name}") is None
        return
    module = importlib.import_module(f"fastserve.{name}" if name else "fastserve")
    missing = {each for each in public_names(path) if not hasattr(module, each)}
    assert missing == LEFT_OUT.get(name, {}).keys()


@pytest.mark.parametrize("name", ["LEVEL_CHOICES", "LIFESPAN_CHOICES", "INTERFACE_CHOICES"])
def test_choices_for_command_lines(name: str) -> None:
    ours, theirs = getattr(OUR_MAIN, name), getattr(THEIR_MAIN, name)
    assert isinstance(ours, click.Choice)
    assert ours is getattr(OUR_MAIN, name)
    assert list(ours.choices) == list(theirs.choices)


def test_name_of_an_older_uvicorn() -> None:
    """It was there until not long ago, and programs import it."""
    assert OUR_MAIN.ServerState is importlib.import_module("fastserve.server").ServerState


def test_version_option_of_another_command(capsys: pytest.CaptureFixture[str]) -> None:
    option = click.Option(
        ["--version"], is_flag=True, callback=OUR_MAIN.print_version, expose_value=False, is_eager=True
    )
    with pytest.raises(SystemExit):
        click.Command("other", params=[option]).main(["--version"])
    assert capsys.readouterr().out.startswith("Running fastserve ")


@pytest.mark.parametrize("colour", [None, *uvicorn._ansi._ANSI_COLORS])
@pytest.mark.parametrize("bold", [False, True])
def test_style(colour: str | None, bold: bool) -> None:
    assert fastserve._ansi.style("text", fg=colour, bold=bold) == uvicorn._ansi.style("text", fg=colour, bold=bold)


def test_reload_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/b", "ab", "c"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a.py").touch()
    monkeypatch.chdir(tmp_path)
    for patterns, directories in [(["a*", "*.py", "a*"], ["c", "a/b"]), (["a", ".*"], ["nowhere"]), ([], [])]:
        ours, theirs = (
            (set(names), set(paths))
            for names, paths in (
                fastserve.config.resolve_reload_patterns(patterns, directories),
                uvicorn.config.resolve_reload_patterns(patterns, directories),
            )
        )
        assert ours == theirs
    for path in (Path("a"), tmp_path / "a", Path("a.py"), Path("nowhere")):
        assert fastserve.config.is_dir(path) == uvicorn.config.is_dir(path)


def test_request_response_cycle(serve: Serve) -> None:
    """Programs tell by its class what serves them, and reach the scope through it."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(receive.__self__)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    for name, module in (("httptools", httptools_impl), ("h11", h11_impl)):
        server = serve(app, http=name)
        assert server.fetch()[0] == 204
        assert isinstance(seen.pop(), module.RequestResponseCycle)
        server.stop()


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    start_response("201 Created", [("X-Name", environ["HTTP_X_NAME"])])
    yield b""
    yield environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/broken":
        try:
            raise ValueError("broken")
        except ValueError:
            start_response("500 Internal Server Error", [], sys.exc_info())


def test_wsgi_responder(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    body = b"abc" * 30_000
    with ThreadPoolExecutor(1) as pool:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await WSGIResponder(wsgi, pool, scope)(receive, send)

        server = serve(app)
        status, headers, content = server.fetch("/", "POST", body, {"X-Name": "value"})
        with pytest.raises(http.client.IncompleteRead):
            server.fetch("/broken", "POST", body, {"X-Name": "value"})
    assert (status, headers["x-name"], content) == (201, "value", body)
    assert "ValueError: broken" in caplog.text


def test_environ_is_uvicorns_or_better() -> None:
    scope = {
        "type": "http", "method": "POST", "path": "/below/\xe4", "raw_path": b"/below/%C3%A4", "root_path": "/below",
        "query_string": b"a=1", "http_version": "1.1", "scheme": "https", "server": ("host", 8000),
        "client": ("127.0.0.1", 5), "headers": [(b"content-type", b"text/plain"), (b"x-a", b"1"), (b"x-a", b"2")],
    }  # fmt: skip
    body = io.BytesIO()
    message = {"type": "http.request", "body": b"", "more_body": False}
    expected: dict[str, Any] = {**uvicorn.middleware.wsgi.build_environ(scope, message, body)}  # type: ignore[arg-type]
    # PEP 3333 wants the port as a string, and errors not among what a program prints.
    expected |= {"SERVER_PORT": "8000"}
    found = build_environ(scope, message, body)
    ignored = {"wsgi.errors"}
    assert {key: found.get(key) for key in expected.keys() - ignored} == {
        key: value for key, value in expected.items() if key not in ignored
    }
