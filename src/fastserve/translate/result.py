"""What a command comes to: options of fastserve, and what is to be known of those without a counterpart."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple

from fastserve.options.table import TABLE
from fastserve.options.values import Directories, File, Flag, Switch

ON, OFF = "true", "false"
REFERENCE = "fastserve"


class Untranslatable(ValueError):
    """The command cannot be one of the server that it names; the text says why. Exit code 2."""


class Result:
    """A command of fastserve in the making."""

    def __init__(self) -> None:
        self.app = ""
        self.interface = ""  # "wsgi" or "asgi" where the command says which
        self.options: dict[str, list[str]] = {}  # by parameter; of a flag ON or OFF
        self.origins: dict[str, str] = {}  # what the option was there, by parameter
        self.words: list[str] = []  # options that are not rows of the table
        self.variables: dict[str, str] = {}  # to run the command with
        self.notes: list[str] = []

    def set(self, param: str, theirs: str, *values: str) -> None:
        """Give an option of fastserve its values. Raises Untranslatable for one that is not valid."""
        kind = TABLE[param].kind
        self.origins[param] = theirs
        for value in values:
            if not isinstance(kind, File | Directories):  # which may be on another machine
                try:
                    kind.parsed(value)
                except (TypeError, ValueError) as exc:
                    raise Untranslatable(f"{theirs}: {exc}") from None
        if kind.repeatable:
            self.options.setdefault(param, []).extend(values)
        else:
            self.options[param] = [values[-1]]

    def note(self, theirs: str, why: str) -> None:
        """Say why something of theirs is not in the command."""
        text = f"{theirs}: {why}"
        if text not in self.notes:
            self.notes.append(text)

    def drop(self, param: str, why: str) -> None:
        if self.options.pop(param, None) is not None:
            self.note(self.origins[param], why)

    def bind(self, theirs: str, text: str, prefix: str = "") -> None:
        """Add an address written as gunicorn and hypercorn have it, where the port may be missing."""
        text = text.removeprefix("tcp://").replace("unix://", "unix:")
        if not text.startswith(("unix:", "fd://")):
            host, colon, port = text.rpartition(":")
            if text.endswith("]") or not colon:
                host, port = text, "8000"
            elif not port.isdecimal():
                raise Untranslatable(f"{theirs}: {text!r} is not an address")
            if ":" in host and not host.startswith("["):
                host = f"[{host}]"
            text = f"{host}:{port}"
        self.set("bind", theirs, f"{prefix}{text}")

    def name_app(self, text: str, attribute: str) -> None:
        """Serve what other servers call MODULE, MODULE:ATTRIBUTE or PATH:ATTRIBUTE."""
        module, _, given = text.partition(":")
        folder, slash, name = module.rpartition("/")
        if slash or module.endswith(".py"):
            module = name.removesuffix(".py")
            if slash and not self.options.get("app_dir"):
                self.set("app_dir", text, folder or "/")
        self.app = f"{module}:{given or attribute}" if module else ""

    @property
    def binds_unix(self) -> bool:
        return "uds" in self.options or any(":unix:" in f":{text}" for text in self.options.get("bind", []))

    def umask(self, theirs: str, mask: int) -> None:
        """Give UNIX sockets the permissions that a umask leaves."""
        if self.binds_unix:
            self.set("uds_permissions", theirs, f"{0o777 & ~mask:o}")
        else:
            self.note(theirs, "without a UNIX socket it is for files that the application makes: set it in the shell")

    def command(self) -> str:
        """Return the command line."""
        words = [REFERENCE, *([self.app] if self.app else [])]
        for param, values in self.options.items():
            kind, name = TABLE[param].kind, TABLE[param].name
            for value in values:
                if not isinstance(kind, Switch):
                    words += [name, value]
                elif value == ON:
                    words.append(name)
                elif not isinstance(kind, Flag):
                    words.append(f"--no-{name[2:]}")
        before = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        return " ".join([*before, shlex.join([*words, *self.words])])


Action = Callable[[Result, str, str], None]  # of the result, what theirs is called where it was given, and its value


class Row(NamedTuple):
    """An option of another server, or a setting of its configuration file."""

    names: str  # on the command line, between spaces; "" for a setting that is in files alone
    action: Action
    takes: str = "value"  # "flag", "maybe" for a value that may be left out, "values" or "paths" if it can be repeated
    setting: str = ""  # in files and variables
    constant: str = ON  # the value of a flag


def same(param: str) -> Action:
    """Give the option of fastserve the same value."""
    return lambda result, theirs, value: result.set(param, theirs, value)


def fixed(param: str, value: str) -> Action:
    """Give the option of fastserve one value, whatever theirs is."""
    return lambda result, theirs, _: result.set(param, theirs, value)


def changed(param: str, change: Callable[[str], str]) -> Action:
    """Give the option of fastserve a value made from theirs."""

    def action(result: Result, theirs: str, value: str) -> None:
        try:
            made = change(value)
        except (ValueError, KeyError):
            raise Untranslatable(f"{theirs}: {value!r} is not a value of it") from None
        result.set(param, theirs, made)

    return action


def none(why: str) -> Action:
    """Say why there is no counterpart, unless the option is a flag that is off."""

    def action(result: Result, theirs: str, value: str) -> None:
        if value != OFF:
            result.note(theirs, why)

    return action


def access_log(result: Result, theirs: str, value: str) -> None:
    """Write the access log, to a file unless it is -."""
    result.set("access_log", theirs, ON)
    if value != "-":
        result.set("access_log_file", theirs, value)


def error_log(result: Result, theirs: str, value: str) -> None:
    """Say that the general log is not written to a file, unless it is -."""
    if value != "-":
        result.note(theirs, "the log goes to standard error: write to a file by --log-config")


def nothing(result: Result, theirs: str, value: str) -> None:
    """Leave it out: fastserve does that anyway."""


def with_note(action: Action, why: str) -> Action:
    """Translate, and add what is to be known."""

    def noting(result: Result, theirs: str, value: str) -> None:
        action(result, theirs, value)
        result.note(theirs, why)

    return noting


def pair(name: str, param: str) -> list[Row]:
    """Return the rows of --name and --no-name."""
    return both(name, same(param), param)


def both(name: str, action: Action, setting: str = "") -> list[Row]:
    """Return the rows of --name and --no-name, which `action` is told by ON and OFF."""
    return [Row(f"--{name}", action, "flag", setting), Row(f"--no-{name}", action, "flag", setting, OFF)]


def is_on(value: str) -> bool:
    return value.strip().lower() in ("1", "true", "t", "yes", "y", "on")


def settle(result: Result) -> None:
    """Take out what contradicts in fastserve, and say so."""
    if result.options.get("reload") == [ON]:
        for param in ("workers", "workers_lifetime", "workers_max_rss", "timeout_worker_blocked"):
            result.drop(param, "reloading is for one process")
    if result.options.get("reload") == [OFF]:
        del result.options["reload"]
    if not result.options.get("ssl_certfile"):
        for param in (
            "ssl_keyfile",
            "ssl_keyfile_password",
            "ssl_ca_certs",
            "ssl_ciphers",
            "ssl_cert_reqs",
            "ssl_version",
        ):
            result.drop(param, "without a certificate there is no TLS")
    if not result.options.get("control_socket"):
        result.drop("control_socket_mode", "the control socket is off unless --control-socket names its path")
    binds = result.options.get("bind", [])
    if not result.binds_unix:
        result.drop("uds_permissions", "there is no UNIX socket")
    elif result.options.get("reuse_port") == [ON]:
        result.drop("reuse_port", "only a host and port can have many sockets")
    if not result.options.get("ssl_certfile") and any(text.startswith("http://") for text in binds):
        result.options["bind"] = [text.removeprefix("http://") for text in binds]
