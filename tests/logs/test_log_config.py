"""Logging configurations in every form, uvicorn's own among them, and files that cannot be used."""

from __future__ import annotations

import copy
import io
import json
import logging
from collections.abc import Callable
from configparser import ConfigParser, RawConfigParser
from pathlib import Path
from typing import Any

import pytest
import support

import fastserve
from fastserve.config import LOGGING_CONFIG, ConfigError
from fastserve.logging import formatters

INI = """\
[loggers]
keys=root,server

[handlers]
keys=console

[formatters]
keys=plain

[logger_root]
handlers=

[logger_server]
qualname={name}
level=WARNING
handlers=console
propagate=0

[handler_console]
class=StreamHandler
formatter=plain
args=(sys.stderr,)

[formatter_plain]
format=mine %(levelprefix)s %(message)s
class={package}.{module}.DefaultFormatter
"""
OURS = INI.format(name="fastserve", package="fastserve", module="logging")
UVICORNS = INI.format(name="uvicorn", package="uvicorn", module="logging")

TRANSLATED = "The logging configuration names only uvicorn's loggers: it is applied to fastserve's."


def own_config() -> dict[str, Any]:
    config = copy.deepcopy(LOGGING_CONFIG)
    config["loggers"]["fastserve"]["level"] = "WARNING"
    return config


def as_uvicorns(config: dict[str, Any]) -> dict[str, Any]:
    """The same configuration as its author wrote it for uvicorn."""
    changed: dict[str, Any] = json.loads(json.dumps(config).replace("fastserve.logging", "uvicorn.logging"))
    changed["loggers"] = {name.replace("fastserve", "uvicorn"): each for name, each in changed["loggers"].items()}
    return changed


def check(made: Callable[[], fastserve.Config]) -> None:
    logger = logging.getLogger("fastserve")
    logger.setLevel(logging.NOTSET)
    logger.handlers = []
    made()
    assert logger.level == logging.WARNING
    assert [type(handler.formatter) for handler in logger.handlers] == [formatters.DefaultFormatter]


def test_dict() -> None:
    check(lambda: fastserve.Config("a:b", log_config=own_config()))


def test_json_file(tmp_path: Path) -> None:
    file = tmp_path / "log.json"
    file.write_text(json.dumps(own_config()))
    check(lambda: fastserve.Config("a:b", log_config=str(file)))
    check(lambda: fastserve.Config("a:b", log_config=file))


@pytest.mark.parametrize("suffix", ["yaml", "yml"])
def test_yaml_file(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("yaml")
    file = tmp_path / f"log.{suffix}"
    file.write_text(json.dumps(own_config()))  # JSON is YAML
    check(lambda: fastserve.Config("a:b", log_config=str(file)))


def test_ini_file(tmp_path: Path) -> None:
    file = tmp_path / "log.ini"
    file.write_text(OURS)
    check(lambda: fastserve.Config("a:b", log_config=str(file)))
    check(lambda: fastserve.Config("a:b", log_config=file))


@pytest.mark.parametrize("parser_class", [RawConfigParser, ConfigParser])
def test_parser(parser_class: type[RawConfigParser]) -> None:
    parser = parser_class()
    parser.read_string(OURS)
    check(lambda: fastserve.Config("a:b", log_config=parser))


def test_open_file() -> None:
    check(lambda: fastserve.Config("a:b", log_config=io.StringIO(OURS)))


def test_none_changes_nothing() -> None:
    logger = logging.getLogger("fastserve")
    logger.handlers = [logging.NullHandler()]
    before = (logger.level, logger.propagate, list(logger.handlers))
    fastserve.Config("a:b", log_config=None)
    assert (logger.level, logger.propagate, logger.handlers) == before


def test_changed_default(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """LOGGING_CONFIG["formatters"]["access"]["fmt"] = ... is how people change the access line."""
    monkeypatch.setitem(
        fastserve.config.LOGGING_CONFIG["formatters"]["access"], "fmt", "mine %(client_addr)s %(status_code)s"
    )
    fastserve.Config("a:b")
    logging.getLogger("fastserve.access").info('%s - "%s %s HTTP/%s" %d', "me", "GET", "/", "1.1", 200)
    assert capsys.readouterr().out == "mine me 200 OK\n"


def test_default_under_uvicorns_names() -> None:
    """LOGGING_CONFIG["loggers"]["uvicorn.access"][...] = ... is how programs change a logger."""
    config = copy.deepcopy(LOGGING_CONFIG)
    loggers = config["loggers"]
    loggers["uvicorn.access"]["level"] = "ERROR"
    loggers["uvicorn"] = {"level": "WARNING"}
    loggers.update({"uvicorn.error": {"level": "CRITICAL"}}, other={"level": "INFO"})
    assert "uvicorn.access" in loggers and "uvicorn.asgi" not in loggers
    assert loggers.get("uvicorn") == {"level": "WARNING"} and loggers.get("uvicorn.asgi", 5) == 5
    assert loggers.setdefault("uvicorn.asgi", {"level": "DEBUG"}) is loggers["fastserve.asgi"]
    assert list(loggers) == ["fastserve", "fastserve.error", "fastserve.access", "other", "fastserve.asgi"]
    fastserve.Config("a:b", log_config=config)
    for name, level in (("", "WARNING"), (".error", "CRITICAL"), (".access", "ERROR"), (".asgi", "DEBUG")):
        assert logging.getLevelName(logging.getLogger(f"fastserve{name}").level) == level
    assert loggers.pop("uvicorn.asgi") == {"level": "DEBUG"}
    del loggers["uvicorn.error"]
    assert list(loggers) == ["fastserve", "fastserve.access", "other"]


@pytest.mark.parametrize("colors", [True, False])
def test_use_colors_leaves_the_callers_dict_alone(colors: bool) -> None:
    before = copy.deepcopy(LOGGING_CONFIG)
    fastserve.Config("a:b", use_colors=colors)
    assert before == LOGGING_CONFIG
    for name in ("fastserve", "fastserve.access"):
        formatter = logging.getLogger(name).handlers[0].formatter
        assert isinstance(formatter, formatters.ColourizedFormatter)
        assert formatter.use_colors is colors


def test_use_colors_with_other_formatters() -> None:
    """A dict without the formatters `default` and `access` has none to colour."""
    config = {"version": 1, "disable_existing_loggers": False, "loggers": {"fastserve": {"level": "WARNING"}}}
    fastserve.Config("a:b", log_config=config, use_colors=True)
    assert logging.getLogger("fastserve").level == logging.WARNING


def test_uvicorns_dict_is_applied_to_fastserve(capsys: pytest.CaptureFixture[str]) -> None:
    config = as_uvicorns(own_config())
    before = copy.deepcopy(config)
    check(lambda: fastserve.Config("a:b", log_config=config))
    assert capsys.readouterr().err == f"INFO:     {TRANSLATED}\n"
    assert config == before


def test_uvicorns_ini_file_is_applied_to_fastserve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log.ini"
    file.write_text(UVICORNS)
    check(lambda: fastserve.Config("a:b", log_config=str(file)))
    assert TRANSLATED not in capsys.readouterr().err  # at this level it has no place
    file.write_text(UVICORNS.replace("WARNING", "INFO"))
    fastserve.Config("a:b", log_config=str(file))
    assert capsys.readouterr().err == f"mine INFO:     {TRANSLATED}\n"


def test_configuration_that_names_both_is_left_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    config = own_config()
    config["loggers"] = {**config["loggers"], "uvicorn": {"level": "ERROR"}}
    check(lambda: fastserve.Config("a:b", log_config=config))
    assert logging.getLogger("uvicorn").level == logging.ERROR
    assert TRANSLATED not in capsys.readouterr().err


def test_uvicorns_configuration_of_a_command(start: support.StartCommand, tmp_path: Path) -> None:
    config = as_uvicorns(LOGGING_CONFIG)
    config["formatters"]["access"]["fmt"] = "mine %(request_line)s %(status_code)s"
    file = tmp_path / "log.json"
    file.write_text(json.dumps(config))
    server = start("app", "--log-config", str(file))
    server.get("/a")
    server.stop()
    assert server.stderr[0] == f"INFO:     {TRANSLATED}"
    assert server.stdout == ["mine GET /a HTTP/1.1 200 OK"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("log.json", "{", "JSONDecodeError: Expecting property name"),
        ("log.json", '{"version": 7}', "ValueError: Unsupported version: 7"),
        ("log.json", "[]", "AttributeError: "),
        (
            "log.json",
            '{"version": 1, "handlers": {"a": {"class": "nope.X"}}}',
            "ValueError: Unable to configure handler 'a': Cannot resolve 'nope.X'",
        ),
        ("log.yaml", "a: [", "ParserError: "),
        ("log.ini", "nonsense", "MissingSectionHeaderError: "),
        ("log.ini", "[loggers]\n", "KeyError: 'formatters'"),
        ("log.ini", None, "FileNotFoundError: "),
    ],
)
def test_unusable_file(tmp_path: Path, name: str, content: str | None, reason: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=f"^log_config '{file}' cannot be used: {reason}"):
        fastserve.Config("a:b", log_config=str(file))


def test_yaml_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    file = tmp_path / "log.yaml"
    file.write_text("version: 1")
    with pytest.raises(ConfigError, match=r"install PyYAML, or fastserve\[standard\], to read YAML$"):
        fastserve.Config("a:b", log_config=str(file))
