"""The command line beside that of uvicorn: names, types, defaults and environment, with every difference listed."""

from __future__ import annotations

import inspect
from typing import Any

import click
import pytest
import uvicorn
from uvicorn.main import main as their_command

import fastserve
from fastserve.cli import main

THEIRS = {param.name: param for param in their_command.params}
OURS = {param.name: param for param in main.params}

# Names and values that a string option of one side takes and the other does not.
CHOICES: dict[str, tuple[set[str], str]] = {
    "http": ({"zttp"}, "its implementation of HTTP/2 is not needed"),
}

# Where the kind of value or the default differs, and why.
DIFFERENCES = {
    "http2": "is on by default, and has --no-http2",
    "timeout_keep_alive": "takes fractions of a second",
    "timeout_graceful_shutdown": "takes fractions of a second",
    "ssl_certfile": "can be given many times",
    "ssl_keyfile": "can be given many times",
    "env_file": "has to exist, as there: said when the option is read",
}


def names_of(param: click.Parameter) -> set[str]:
    return {*param.opts, *param.secondary_opts}


def kind_of(param: Any) -> str:
    """Return the kind of value in words that both command lines share."""
    if getattr(param, "is_flag", False):
        return "flag"
    type_ = param.type
    if isinstance(type_, click.Choice) or "|" in getattr(type_, "name", ""):
        return "choice"
    name = str(type_.name).lower()
    return {"file": "path", "filename": "path", "seconds": "float", "name:value": "text", "pattern": "text"}.get(
        name, name
    )


@pytest.mark.parametrize("name", sorted(THEIRS))
class TestOption:
    def test_names(self, name: str) -> None:
        own = {"--no-http2"} if name == "http2" else set()
        assert names_of(OURS[name]) == names_of(THEIRS[name]) | own

    def test_default(self, name: str) -> None:
        if name == "http2":
            assert (default(OURS[name]), default(THEIRS[name])) == (None, False)
            return
        ours, theirs = default(OURS[name]), default(THEIRS[name])
        assert ours == theirs and type(ours) is type(theirs)

    def test_repetition(self, name: str) -> None:
        repeats = DIFFERENCES.get(name) == "can be given many times"
        assert OURS[name].multiple == (THEIRS[name].multiple or repeats)
        assert OURS[name].nargs == THEIRS[name].nargs

    def test_kind(self, name: str) -> None:
        ours, theirs = OURS[name], THEIRS[name]
        assert bool(getattr(ours, "is_flag", False)) == bool(getattr(theirs, "is_flag", False))
        if name not in DIFFERENCES and name not in ("headers", "loop", "http", "ws"):
            assert kind_of(ours) == kind_of(theirs)

    def test_choices(self, name: str) -> None:
        """Each value that uvicorn names is taken, those apart that are listed."""
        refused = set()
        for value in choices_of(THEIRS[name]):
            try:
                OURS[name].type.convert(value, OURS[name], None)
            except click.UsageError:
                refused.add(value)
        assert refused == CHOICES.get(name, (set(), ""))[0]

    def test_environment(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both read a variable of the parameter's name, and split one that repeats in the same way."""
        if name == "version":
            assert OURS[name].envvar is None  # it ends the command
            return
        seen: list[Any] = []
        for param, prefix, command in ((OURS[name], "FASTSERVE", main), (THEIRS[name], "UVICORN", their_command)):
            variable = f"{prefix}_{name.upper()}"
            monkeypatch.setenv(variable, "a:1 b:2")
            context = click.Context(command, auto_envvar_prefix=prefix if prefix == "UVICORN" else None)
            seen.append(param.value_from_envvar(context))
            monkeypatch.delenv(variable)
        if DIFFERENCES.get(name) == "can be given many times":
            assert (seen[0], seen[1]) == (["a:1 b:2"], "a:1 b:2")  # which is one path, as there is no file `a`
        elif OURS[name].multiple:
            assert [tuple(each) if not isinstance(each, str) else each for each in seen[0]] == list(seen[1])
        else:
            assert seen[0] == seen[1] == "a:1 b:2"


def default(param: click.Parameter) -> Any:
    """Return the default, () and None and click's mark for none alike."""
    found = param.to_info_dict()["default"]
    return found if isinstance(found, str | int | float | bool) else None


def choices_of(param: click.Parameter) -> list[str]:
    if isinstance(param.type, click.Choice):
        return [str(choice) for choice in param.type.choices]
    metavar = (param.metavar or "") if isinstance(param, click.Option) else ""
    return [part for part in metavar.strip("[]").split("|") if part.islower() and ":" not in part and "|" in metavar]


def test_nothing_is_missing() -> None:
    assert set(THEIRS) - set(OURS) == set()


def test_every_listed_difference_is_of_an_option() -> None:
    assert {*CHOICES, *DIFFERENCES} <= set(THEIRS)


def test_run_and_config_have_every_parameter() -> None:
    for theirs, ours in ((uvicorn.Config, fastserve.Config), (uvicorn.run, fastserve.run)):
        given = inspect.signature(ours).parameters
        for name, parameter in inspect.signature(theirs).parameters.items():
            assert name in given
            if name not in ("log_config", "app", "http2"):
                assert given[name].default == parameter.default, name


def test_config_has_every_attribute_and_method() -> None:
    """All that is public on a Config of uvicorn, before and after load()."""

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    theirs, ours = (module.Config(app, log_config=None) for module in (uvicorn, fastserve))
    theirs.load()
    ours.load()
    absent = {name for name in dir(theirs) if not name.startswith("_") and not hasattr(ours, name)}
    assert absent == set()
    with pytest.raises(AttributeError, match="get_loop_factory"):
        ours.setup_event_loop()


def test_server_has_every_attribute_and_method() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    theirs, ours = (module.Server(module.Config(app, log_config=None)) for module in (uvicorn, fastserve))
    assert {name for name in dir(theirs) if not hasattr(ours, name)} == set()
    assert {name for name in dir(theirs.server_state) if not hasattr(ours.server_state, name)} == set()
