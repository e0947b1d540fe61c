"""A program that sets up uvicorn's loggers itself, before uvicorn is imported or before it is configured.

It prints, for each case, what the loggers are like once uvicorn is configured; logging is global: a process for each.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import logging
import logging.config
import os
import sys
from collections.abc import Callable
from configparser import ConfigParser
from typing import Any

NAMES = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi", "uvicorn.access.own")
HANDLERS: dict[str, Any] = {"own": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr"}}


class Own(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        print(f"  {record.name}: {record.getMessage()}", file=sys.stderr)


def quiet(record: logging.LogRecord) -> bool:
    return "/health" not in record.getMessage()


def filters() -> None:
    for name in NAMES:
        logging.getLogger(name).addFilter(quiet)


def handlers() -> None:
    for name in NAMES:
        logging.getLogger(name).addHandler(Own())


def levels() -> None:
    for name in NAMES:
        logging.getLogger(name).setLevel(logging.ERROR)


def propagation() -> None:
    for name in NAMES:
        logging.getLogger(name).propagate = False


def disabling() -> None:
    for name in NAMES:
        logging.getLogger(name).disabled = True


def child_first() -> None:
    logging.getLogger("uvicorn.access.own").addFilter(quiet)


def django() -> None:
    """What settings.LOGGING does, where disable_existing_loggers is not thought of."""
    loggers = {"uvicorn.access": {"handlers": ["own"], "level": "WARNING", "propagate": False}}
    logging.config.dictConfig({"version": 1, "handlers": HANDLERS, "loggers": loggers})


SETTINGS = [filters, handlers, levels, propagation, disabling, child_first, django]


def parser() -> ConfigParser:
    """What uvicorn takes as a file.ini as well."""
    made = ConfigParser()
    made.read_string("""
[loggers]
keys=root,uvicorn,access
[handlers]
keys=own
[formatters]
keys=
[logger_root]
handlers=own
[logger_uvicorn]
handlers=own
qualname=uvicorn
[logger_access]
level=WARNING
handlers=own
qualname=uvicorn.access
propagate=0
[handler_own]
class=StreamHandler
args=(sys.stderr,)
""")
    return made


CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"log_config": None},
    "level": {"log_config": None, "log_level": "warning", "access_log": False},
    "parent alone": {
        "log_config": {"version": 1, "handlers": HANDLERS, "loggers": {"uvicorn": {"handlers": ["own"]}}},
    },
    "parser": {"log_config": parser()},
    "others alone": {"log_config": {"version": 1, "handlers": HANDLERS, "root": {"handlers": ["own"]}}},
}


def configured(options: dict[str, Any]) -> None:
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    uvicorn.Config(app, **options)


def state() -> dict[str, Any]:
    """Return what can be seen of each logger, and of what it passes on."""
    found = {}
    for name in NAMES:
        logger = logging.getLogger(name)
        found[name] = {
            "name": logger.name,
            "filters": len(logger.filters),
            "handlers": [type(each).__name__ for each in logger.handlers],
            "level": logger.level,
            "effective": logger.getEffectiveLevel(),
            "propagate": logger.propagate,
            "disabled": logger.disabled,
            "parent": logger.parent.name if logger.parent else None,
        }
    return found


def case(setting: Callable[[], None], before_import: bool, options: dict[str, Any]) -> dict[str, Any]:
    held = logging.getLogger("uvicorn.access") if before_import else None
    if before_import:
        setting()
        import uvicorn
    else:
        import uvicorn  # noqa: F401

        setting()
    configured(options)
    found = state()
    if held is not None:
        held.addFilter(lambda record: True)
        found["a logger that was kept"] = len(logging.getLogger("uvicorn.access").filters)
    return found


def in_a_fork(work: Callable[[], Any]) -> Any:
    """Return what a function returns in a process of its own."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        with os.fdopen(writing, "w") as pipe:
            json.dump(work(), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        found = json.loads(pipe.read() or '"failed"')
    os.waitpid(pid, 0)
    return found


def needed() -> list[str]:
    """Return the modules that the server imports from elsewhere."""
    configured({})
    return [name for name in sys.modules if name.partition(".")[0] not in ("fastserve", "uvicorn")]


def main() -> None:
    for name in in_a_fork(needed):  # once, and not for each case
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    answers = {}
    for setting in SETTINGS:
        for before_import in (True, False):
            for name, options in CONFIGURATIONS.items():
                when = "before the import" if before_import else "before Config"
                found = in_a_fork(functools.partial(case, setting, before_import, options))
                answers[f"{setting.__name__}, {when}, {name}"] = found
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
