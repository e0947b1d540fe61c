"""Import strings, and the applications that they do not lead to: exit code 3, what and where, whose fault."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import pytest
import support

from fastserve.application import looks_like_wsgi
from fastserve.importer import ImportFromStringError, blame, import_from_string, suggestion


def test_attribute() -> None:
    assert import_from_string("os.path:join.__name__") == "join"


def test_anything_but_a_string_is_returned() -> None:
    assert import_from_string(print) is print
    assert import_from_string(None) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", 'Import string "nothing" must be in format "<module>:<attribute>".'),
        (
            "./here.py:app",
            'Import string "./here.py:app" must be in format "<module>:<attribute>". Did you mean here:app?',
        ),
        (":app", 'Import string ":app" must be in format "<module>:<attribute>".'),
        ("os:", 'Import string "os:" must be in format "<module>:<attribute>".'),
        ("no_such_module:app", 'Could not import module "no_such_module".'),
        ("no_such_package.module:app", 'Could not import module "no_such_package.module".'),
        ("os.no_such:app", 'Could not import module "os.no_such".'),
        ("os:no.such", 'Attribute "no.such" not found in module "os".'),
    ],
)
def test_missing(name: str, message: str) -> None:
    with pytest.raises(ImportFromStringError) as caught:
        import_from_string(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("good.py", "good:app"),
        ("good.py:app", "good:app"),
        ("good.py:make", "good:make"),
        ("good/app:app", "good.app:app"),
        ("good/app.py", "good.app:app"),
        ("./good.py", "good:app"),
        ("good\\app.py:api", "good.app:api"),
        ("/srv/good.py:app", "good:app with --app-dir /srv"),
        ("/good.py", "good:app with --app-dir /"),
        ("../good.py", "good:app with --app-dir .."),
    ],
)
def test_path_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good.py").touch()
    (tmp_path / "good" / "app.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportFromStringError) as caught:
        import_from_string(name)
    assert str(caught.value).endswith(f'". Did you mean {meant}?')
    sys.modules.pop("good", None)


@pytest.mark.parametrize("name", ["/", ".", "", ":", "/:app", "good", "good:app.py"])
def test_no_guess(name: str) -> None:
    assert suggestion(name) == ""


def test_missing_import_of_the_module_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that is there but lacks one of its own imports is not taken for a missing one."""
    (tmp_path / "needs_more.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        import_from_string("needs_more:app")


def test_blame_is_put_on_the_users_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "divides.py").write_text("def work():\n    1 / 0\nwork()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        import_from_string("divides:app")
    error = caught.value
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # this test's own frame
    assert blame(error) == f"ZeroDivisionError: division by zero ({tmp_path / 'divides.py'}, line 2)"
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_filename == str(tmp_path / "divides.py")


def failure(command: support.StartCommand, folder: Path, source: str, *args: str) -> support.Command:
    (folder / "faulty.py").write_text(source)
    process = command("faulty:app", "--port", "0", *args, cwd=folder)
    assert process.wait() == 3
    return process


def test_missing_module_shows_one_line(command: support.StartCommand, tmp_path: Path) -> None:
    process = command("no_such_module:app", cwd=tmp_path)
    assert process.wait() == 3
    assert process.lines == ['ERROR:    Error loading ASGI app. Could not import module "no_such_module".']


def test_missing_attribute_shows_one_line(command: support.StartCommand, tmp_path: Path) -> None:
    process = failure(command, tmp_path, "")
    assert process.lines == ['ERROR:    Error loading ASGI app. Attribute "app" not found in module "faulty".']


def test_error_in_the_module_shows_its_traceback(command: support.StartCommand, tmp_path: Path) -> None:
    process = failure(command, tmp_path, "import json\napp = json.loads('{')\n")
    file = tmp_path / "faulty.py"
    assert process.lines[0].startswith(
        'ERROR:    Error loading ASGI app. Importing "faulty:app" raised JSONDecodeError: '
    )
    assert process.lines[1] == "Traceback (most recent call last):"
    assert process.lines[2] == f'  File "{file}", line 2, in <module>'
    assert process.lines[-1].startswith("json.decoder.JSONDecodeError: ")


def test_missing_dependency_of_the_module_shows_its_traceback(command: support.StartCommand, tmp_path: Path) -> None:
    process = failure(command, tmp_path, "import no_such_dependency\n")
    file = tmp_path / "faulty.py"
    what = f"ModuleNotFoundError: No module named 'no_such_dependency' ({file}, line 1)"
    assert process.lines[0] == f'ERROR:    Error loading ASGI app. Importing "faulty:app" raised {what}'
    assert f'  File "{file}", line 1, in <module>' in process.lines


WSGI = {
    "function": "def app(environ, start_response): ...",
    "class": "class app:\n    def __init__(self, environ, start_response): ...",
    "Flask": "import flask\napp = flask.Flask('x')",
    "factory": "import flask\ndef app(): return flask.Flask('x')",
    "Django": (
        "from django.conf import settings\nsettings.configure(SECRET_KEY='x')\n"
        "from django.core.wsgi import get_wsgi_application\napp = get_wsgi_application()"
    ),
}


@pytest.mark.parametrize("source", WSGI.values(), ids=WSGI)
def test_application_that_looks_like_wsgi(command: support.StartCommand, tmp_path: Path, source: str) -> None:
    process = failure(command, tmp_path, source)
    assert process.lines[-1] == (
        'ERROR:    Error loading ASGI app. "faulty:app" takes two arguments, as WSGI applications do: serve it with'
        " --interface wsgi, under gunicorn with -k fastserve.workers.FastserveWSGIWorker."
    )
    assert len(process.lines) == 1 + ("def app()" in source)  # which is said to be a factory


def test_applications_that_do_not_look_like_wsgi() -> None:
    def wsgi(environ: Any, start_response: Any) -> Any: ...

    @functools.wraps(wsgi)
    def adapting(*args: Any) -> Any: ...

    async def coroutine(scope: Any, receive: Any) -> None: ...

    def asgi2(scope: Any, more: Any = None) -> Any: ...

    def asgi3(scope: Any, receive: Any, send: Any = None) -> Any: ...

    assert looks_like_wsgi(wsgi)
    for app in (adapting, coroutine, asgi2, asgi3, 5, print):
        assert not looks_like_wsgi(app)


def test_app_dir_that_does_not_exist(command: support.StartCommand, tmp_path: Path) -> None:
    process = command("no_such_module:app", "--app-dir", "nowhere", cwd=tmp_path)
    assert process.wait() == 3
    assert process.lines == [
        "WARNING:  The directory 'nowhere' of app_dir does not exist.",
        'ERROR:    Error loading ASGI app. Could not import module "no_such_module".',
    ]


def test_syntax_error_shows_its_place(command: support.StartCommand, tmp_path: Path) -> None:
    process = failure(command, tmp_path, "app = (\n")
    file = tmp_path / "faulty.py"
    what = f"SyntaxError: '(' was never closed ({file}, line 1)"
    assert process.lines[0] == f'ERROR:    Error loading ASGI app. Importing "faulty:app" raised {what}'
    assert f'  File "{file}", line 1' in process.lines


@pytest.mark.parametrize(
    ("source", "kind"),
    [("app = 5", "int"), ("app = None", "NoneType"), ("def app():\n    pass", "NoneType")],
)
def test_not_callable(command: support.StartCommand, tmp_path: Path, source: str, kind: str) -> None:
    process = failure(command, tmp_path, source)
    assert process.lines[-1] == f'ERROR:    Error loading ASGI app. "faulty:app" is not callable, it is of type {kind}.'


def test_coroutine_function_as_factory(command: support.StartCommand, tmp_path: Path) -> None:
    process = failure(command, tmp_path, "async def app():\n    pass", "--factory")
    assert process.lines == ['ERROR:    Error loading ASGI app. "faulty:app" is not callable, it is of type coroutine.']


@pytest.mark.parametrize("args", [[], ["--factory"]])
def test_error_in_the_factory(command: support.StartCommand, tmp_path: Path, args: list[str]) -> None:
    """A factory's own TypeError is not taken for a sign that it is the application."""
    process = failure(command, tmp_path, "def app():\n    return 1 + ''\n", *args)
    file = tmp_path / "faulty.py"
    assert process.lines[0].startswith("ERROR:    Error loading ASGI app factory: TypeError: unsupported operand")
    assert process.lines[0].endswith(f"({file}, line 2)")
    assert process.lines[2] == f'  File "{file}", line 2, in app'
