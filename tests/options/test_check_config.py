"""--check-config: OK, or one line with what keeps the server from starting; nothing is bound."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import support
import trustme

APPS: dict[str, str] = {
    "good": "async def app(scope, receive, send): ...\n",
    "factory": "def app():\n    async def made(scope, receive, send): ...\n    return made\n",
    "broken": "def f(:\n",
    "raising": "raise RuntimeError('no database\\nhere')\n",
    "leaving": "import sys\nsys.exit(7)\n",
    "number": "app = 5\n",
    "threaded": "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    "async def app(scope, receive, send): ...\n",
    "wsgi": "def app(environ, start_response): ...\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("check")
    for name, text in APPS.items():
        (made / f"{name}_app.py").write_text(text)
    authority = trustme.CA()
    for name in ("one", "two"):
        issued = authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(made / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(made / f"{name}.pem")
    (made / "bad.ini").write_text("nothing")
    (made / "bad.toml").write_text("prot = 1\n")
    (made / "good.toml").write_text('app = "good_app:app"\n')
    (made / "bad.env").write_bytes(b"A=\xff\n")
    return made


FINE = [
    "good_app:app",
    "factory_app:app --factory",
    "factory_app:app",
    "wsgi_app:app --interface wsgi",
    "threaded_app:app",
    "good_app:app --workers 2",
    "good_app:app --workers 2 --preload",
    "good_app:app --reload",
    "good_app:app --ssl-certfile one.pem --ssl-keyfile one.key",
    "--config good.toml",
]


@pytest.mark.parametrize("line", FINE)
def test_ok(command: support.StartCommand, folder: Path, line: str) -> None:
    process = command("--check-config", *line.split(), cwd=folder)
    assert process.wait() == 0
    assert process.lines == ["OK"] == process.stdout


WRONG: list[tuple[str, int, str]] = [
    ("good_app:app --uds x --fd 3", 2, "Error: uds and fd name two places to listen on: "),
    ("good_app:app --config bad.toml", 2, "Error: bad.toml: unknown key 'prot': did you mean 'port'?"),
    ("good_app:app --config nowhere", 3, "Error: config 'nowhere' cannot be read: no such file or directory"),
    ("good_app:app --log-config bad.ini", 3, "Error: log_config 'bad.ini' cannot be used: MissingSectionHeaderError: "),
    ("good_app:app --env-file bad.env", 3, "Error: env_file 'bad.env' cannot be read: 'utf-8' codec "),
    ("good_app:app --ssl-certfile no.pem", 3, "Error: ssl_certfile 'no.pem' cannot be read: no such file or directory"),
    (
        "good_app:app --ssl-certfile one.pem --ssl-keyfile two.key",
        3,
        "Error: ssl_keyfile 'two.key' cannot be used: it does not match ssl_certfile 'one.pem'",
    ),
    ("nowhere:app", 3, 'Error: cannot load ASGI app. Could not import module "nowhere".'),
    ("good_app:nothing", 3, 'Error: cannot load ASGI app. Attribute "nothing" not found in module "good_app".'),
    ("broken_app:app", 3, 'Error: cannot load ASGI app. Importing "broken_app:app" raised SyntaxError: '),
    (
        "raising_app:app",
        3,
        'Error: cannot load ASGI app. Importing "raising_app:app" raised RuntimeError: no database here (',
    ),
    ("leaving_app:app", 3, "Error: importing 'leaving_app:app' ended the process with 7"),
    ("number_app:app", 3, 'Error: cannot load ASGI app. "number_app:app" is not callable, it is of type int.'),
    ("wsgi_app:app", 3, 'Error: cannot load ASGI app. "wsgi_app:app" takes two arguments, as WSGI applications do: '),
    ("threaded_app:nothing", 3, 'Error: cannot load ASGI app. Attribute "nothing" not found in module "threaded_app".'),
    ("threaded_app:app --preload", 3, "Error: --preload: importing 'threaded_app:app' has started threads, which "),
    ("good_app:app --loop none:at", 3, "Error: cannot load custom loop setup function."),
    ("good_app:app --topics redis:host", 3, "Error: topics: redis://...: expected redis://host, rediss://host or "),
    ("good_app:app --topics redis://h:x", 3, "Error: topics: "),
    ("good_app:app --topics none:At", 3, 'Error: topics: Could not import module "none".'),
    ("good_app:app --http none:At", 3, 'Error: cannot load HTTP protocol. Could not import module "none".'),
]


@pytest.mark.parametrize(("line", "code", "text"), WRONG, ids=[line for line, _, _ in WRONG])
def test_what_is_wrong(command: support.StartCommand, folder: Path, line: str, code: int, text: str) -> None:
    process = command("--check-config", *line.split(), cwd=folder)
    assert process.wait() == code
    assert len(process.lines) == 1, process.output
    assert process.stderr[0].startswith(text)


def test_nothing_is_bound(command: support.StartCommand, folder: Path) -> None:
    """It is OK on a port that another server has, and leaves no socket file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = command("good_app:app", "--check-config", "--port", str(taken.getsockname()[1]), cwd=folder)
        assert process.wait() == 0
    process = command("good_app:app", "--check-config", "--uds", "app.sock", "--pid-file", "pid", cwd=folder)
    assert process.wait() == 0
    assert not {"app.sock", "pid"} & {path.name for path in folder.iterdir()}
