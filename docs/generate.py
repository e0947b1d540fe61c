"""Write the parts of the documentation that come from the program: `python docs/generate.py`, or `--check` them.

A page has such a part between two comments, `<!-- generated: NAME -->` and `<!-- end of NAME -->`; NAME is a function
of this module. `--check` exits with 1 and names the pages whose parts are not what the program says.
"""

from __future__ import annotations

import ast
import html
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

import fastserve
import fastserve.compat
import fastserve.metrics
from fastserve.cli import main
from fastserve.logging import access_format, formatters, json_lines
from fastserve.metrics import prometheus
from fastserve.metrics import table as metrics_table
from fastserve.middleware import asgi2, message_logger, proxy_headers, wsgi
from fastserve.operations import ctl, verbs
from fastserve.options.table import GROUPS, OPTIONS, TABLE, Option
from fastserve.options.values import Choice, Flag, Switch
from fastserve.process.signals import FORK_SIGNALS
from fastserve.supervisors.signal_queue import NAMES
from fastserve.translate.gunicorn import HOOKS

DOCS = Path(__file__).parent
SOURCE = DOCS.parent / "src" / "fastserve"
SEPARATORS = {None: "spaces, without spaces in them", ":": "colons (semicolons on Windows)"}
ENTITIES = {ord(each): f"&#{ord(each)};" for each in "|[]"}  # what Markdown would take for its own
REGION = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def prose(text: str) -> str:
    """Return a help text for a cell: options as code, and no links by accident."""
    return re.sub(r"(?<![\w`-])(--[a-z][a-z0-9-]+)", r"`\1`", cell(text).replace("[", "\\[").replace("*", "\\*"))


def code(text: str) -> str:
    if "|" in text:  # some Markdowns show a backslash before it, and in others it ends the cell without one
        shown = html.escape(" ".join(text.split()))
        return f"<code>{shown.translate(ENTITIES)}</code>"
    return f"`{cell(text)}`"


def table(*head: str, rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


# Options


def default_of(option: Option) -> str:
    """Return the default as the command has it, in words where the help says it in words."""
    words = re.search(r"\[default: (.*?)\]$", option.help)
    if words:
        return prose(words[1])
    default = option.default if option.command_default is None else option.command_default
    if isinstance(option.kind, Flag):
        return "off"
    if isinstance(option.kind, Switch):
        return "on" if default else "off"
    return "" if default in (None, "") else code(str(default))


def spelled(option: Option) -> str:
    if isinstance(option.kind, Flag):
        return code(option.name)
    if isinstance(option.kind, Switch):
        return f"{code(option.name)}<br>{code(f'--no-{option.name[2:]}')}"
    return code(f"{option.name} {'NAME' if isinstance(option.kind, Choice) else option.kind.metavar}")


def choices(option: Option) -> str:
    if not isinstance(option.kind, Choice):
        return ""
    return " One of " + ", ".join(code(name) for name in option.kind.metavar.split("|")) + "."


def options() -> str:
    parts = []
    for group in GROUPS:
        rows = (
            (
                f'<span id="{each.name[2:]}"></span>{spelled(each)}',
                default_of(each),
                prose(re.sub(r"\s*\[default: .*\]$", "", each.help))
                + choices(each)
                + ("" if each.param == each.name[2:].replace("-", "_") else f" Parameter: {code(each.param)}.")
                + (" Can be given more than once." * (each.kind.repeatable and "many times" not in each.help)),
            )
            for each in OPTIONS
            if each.group == group
        )
        parts.append(f"## {group}\n\n{table('Option', 'Default', 'What it does', rows=rows)}")
    own = {each.param for each in OPTIONS}
    alone = [each for each in main.params if isinstance(each, click.Option) and each.name not in own]
    theirs = ((code(" ".join((each.opts[0], each.metavar or "")).strip()), prose(each.help or "")) for each in alone)
    parts.append(f"## Of the command alone\n\n{table('Option', 'What it does', rows=theirs)}")
    return "\n".join(parts)


def environment() -> str:
    rows = (
        (
            code(each.environment),
            f"[{code(each.name)}](options.md#{each.name[2:]})",
            f"values separated by {SEPARATORS[each.kind.separator]}"
            if each.kind.repeatable
            else "`1` or `0`"
            if isinstance(each.kind, Switch)
            else "",
        )
        for each in OPTIONS
    )
    return table("Variable", "Option", "Form", rows=rows)


def parameters() -> str:
    """The parameters that the command does not have."""
    meanings = {
        "timeout_notify": "Seconds between two calls of `callback_notify`.",
        "callback_notify": "An async function without arguments that is awaited while the server runs.",
        "ssl_context_factory": "A function that gets the configuration and a function without arguments that makes the"
        " default `ssl.SSLContext`, and returns the context to use.",
    }
    rows = (
        (code(each.param), "" if each.default is None else code(str(each.default)), meanings[each.param])
        for each in TABLE.values()
        if not each.group
    )
    return table("Parameter", "Default", "What it does", rows=rows)


def help_text() -> str:
    import click

    context = click.Context(main, info_name="fastserve", terminal_width=100)
    return f"```text\n{main.get_usage(context)}\n```\n"


# Signals

SIGNAL_EFFECTS = {  # one process; the parent of workers; with --reload
    "INT": (
        "Stop after the requests under way; the second one stops at once.",
        "The same, for all workers.",
        "The same.",
    ),
    "TERM": ("Stop after the requests under way.", "The same, for all workers.", "The same."),
    "BREAK": ("Windows: as SIGINT.", "The same.", "The same."),
    "HUP": (
        "With TLS: read certificate and key again. Without: the process ends.",
        "Replace all workers one by one, each ready before the one it replaces stops.",
        "Restart the server process.",
    ),
    "QUIT": ("The system's default: the process ends at once.", "Ignored.", "The system's default."),
    "TTIN": ("The system's default: the process is suspended.", "Add a worker.", "The system's default."),
    "TTOU": (
        "The system's default: the process is suspended.",
        "Remove a worker, never the last one.",
        "The system's default.",
    ),
    "USR1": ("Open log files again.", "The same, in all workers too.", "The same, in the server process too."),
    "USR2": (
        "Ignored, with a line in the log.",
        "Start a successor with the listening sockets, and stop without losing a request once it serves.",
        "Ignored, with a line in the log.",
    ),
    "WINCH": ("Ignored, the system's default.", "Ignored.", "Ignored."),
}


def signals() -> str:
    known = {*NAMES, *(each.name.removeprefix("SIG") for each in FORK_SIGNALS)}
    if known != set(SIGNAL_EFFECTS):
        raise SystemExit(f"signals that are handled and not described, or the reverse: {known ^ set(SIGNAL_EFFECTS)}")
    rows = ((code(f"SIG{name}"), *SIGNAL_EFFECTS[name]) for name in NAMES)
    return table("Signal", "One process", "With workers, to the parent", "With `--reload`, to the parent", rows=rows)


# Log lines

LEVELS = ("debug", "info", "warning", "error", "exception")
AREAS = {  # a heading for each part of the source, the first whose prefix fits
    "Starting and stopping": ("server", "serving/", "main", "lifespan/", "net/listeners", "application", "logging/"),
    "Configuration": ("config", "options/"),
    "Addresses, files and TLS": ("net/",),
    "Workers and reloading": ("supervisors/",),
    "Requests and WebSockets": ("_core/", "protocols/", "proxies/"),
    "Topics": ("topics/",),
    "Metrics": ("metrics/",),
    "Control socket": ("operations/",),
    "Under gunicorn": ("workers/",),
}
MEANINGS = {  # what to make of a line, by its beginning
    "Control: POST … from": "A verb that came by the control socket, with the process and the user that asked.",
    "Control: POST … refused": "The mode of the socket lets this user read, but not change anything.",
    "… and aborting the restart": "A new worker did not get ready after SIGHUP. The line begins with which, and why;"
    " all workers that serve are kept.",
    "…, starting the next one": "A worker that was to be replaced is kept for now: the new one did not get ready.",
    "Application startup failed": "The lifespan startup raised or said that it failed. The line before it has the"
    " reason; the exit code is 3.",
    "ASGI 'lifespan' protocol appears unsupported": "With `--lifespan auto` the application is served without"
    " startup and shutdown. Its exception is logged at debug level.",
    "Certificate not reloaded": "SIGHUP found a file that cannot be used. New connections get the certificate in use.",
    "Certificate reloaded": "New connections get it; those that are open keep theirs.",
    "… certificates reloaded": "The same for several.",
    "ASGI app factory detected": "APP was called without arguments, and what it returned is served.",
    "ASGI callable returned without completing": "The application returned before the end of its response. The"
    " connection is closed, so that the client can see that the response is not complete.",
    "ASGI callable returned without … response": "The client got a 500.",
    "Already reached one process": "SIGTTOU never removes the last worker.",
    "Cancel …": "`--timeout-graceful-shutdown` has passed. A line for each of the first ten says where it stood.",
    "Cancelling …": "A stop without `--timeout-graceful-shutdown` ends streams of unknown length after 3 seconds.",
    "Child process … died": "The worker ended by itself, by a signal or by an exception. The next one is started at"
    " once, later if several in a row fail.",
    "Child process … failed to start": "No worker of this start has served yet, so the next one would fail as well."
    " The exit code is 3.",
    "Child process … has an event loop": "The application blocks the loop, and all requests of this worker wait."
    " The stack says where. The worker is killed only with `--timeout-worker-blocked`.",
    "Child process … takes over": "A replacement is ready; the previous worker finishes its requests and ends.",
    "Child process … …. Killing": "No part of the process has responded for `--timeout-worker-healthcheck` seconds.",
    "connection closed": "A WebSocket has ended. Not with `--ws wsproto`.",
    "connection open": "A WebSocket was accepted. Not with `--ws wsproto`.",
    "connection rejected": "A WebSocket's handshake was denied. Not with `--ws wsproto`.",
    "Dropped the hop-by-hop": "WSGI applications may not set these headers (PEP 3333).",
    "Error while serving the static file": "The file could not be opened (500), or became shorter while it was sent"
    " (the connection is closed).",
    "Exceeded concurrency limit": "A request got a 503: `--limit-concurrency`.",
    "Exception in ASGI application": "The application raised. The traceback follows; the client got a 500 if the"
    " response had not begun, else a closed connection.",
    "Invalid HTTP request received": "The client sent what HTTP forbids, and got a 400 or another status of the"
    " 4xx. At debug level the next line has the reason and the client.",
    "Log file not reopened": "SIGUSR1 found that a file cannot be opened.",
    "Metrics are served to every host": "The address of `--metrics-bind` is not a loopback one, and the listener has"
    " neither TLS nor a password.",
    "Maximum request limit": "`--limit-max-requests` of a single process. It ends, for what started it to start it"
    " again.",
    "Not watching for changes": "A program runs a Server of its own with `reload`. Under `fastserve.compat` nothing is"
    " said, as by uvicorn.",
    "Options from": "The file that was read: see [Options from a file](../how-to/configuration.md).",
    "Out of file descriptors": "Raise the limit (`ulimit -n`, `LimitNOFILE=`), or close what holds them.",
    "Received SIGUSR1": "For log rotation: see [Logs](../how-to/logging.md).",
    "Reached the limit of": "`--limit-connections`.",
    "Received SIGUSR2, which": "Only the parent of workers can start a successor.",
    "Redirecting to HTTPS": "`--ssl-redirect`.",
    "Replacing worker": "`--limit-max-requests`, `--workers-lifetime` or `--workers-max-rss`; the reason is in the"
    " line.",
    "The logging configuration names only": "A configuration written for uvicorn is used as it is.",
    "Serving on for": "`--shutdown-delay`.",
    "Slow request": "`--log-slow`: once when it has passed, with the stack of the request's task, and once at the end.",
    "Successor … …; this": "SIGUSR2 failed; the lines before say why. This server goes on unchanged.",
    "Successor … serves": "The workers of this server finish their requests, and its parent ends after them.",
    "Taken over from": "Logged by the successor: pid file, metrics and control socket are its own from here on.",
    "Template process … died": "`--preload`: a new template is started, and its workers replace the present ones.",
    "Unsupported upgrade request": "An upgrade to something other than WebSocket, or with `--ws none`. It is served"
    " as a plain request.",
    "…; keeping the workers and aborting": "`--preload`: after SIGHUP, the code on the disk could not be imported. The"
    " line names the process and how it ended; the lines before say why.",
    "Waiting for connections to close": "Requests are under way.",
    "Waiting for background tasks": "Responses are complete, but applications still run.",
    "… running on": "The sockets are bound. Tools wait for this line. With workers, the first `Application startup"
    " complete.` says that one serves.",
    "WEB_CONCURRENCY=": "Workers import the application by themselves, so they need `module:attribute`.",
    "You must pass the application as an import string": "Workers and the reloader import the application by"
    " themselves: give `module:attribute`, not an object.",
}


class Line(NamedTuple):
    area: str
    level: str
    text: str


def shape(text: str) -> str:
    """Return a line's text with an ellipsis in place of what is filled in."""
    text = re.sub(r"\[%d\]|%[.\d]*[dfgrs]|\{[^}]*\}", "…", text)
    return re.sub("…+", "…", text).strip().rstrip(":")


def area_of(path: str) -> str:
    for name, prefixes in AREAS.items():
        if path.startswith(prefixes):
            return name
    raise SystemExit(f"{path} logs, and docs/generate.py has no area for it")


def literal(node: ast.expr, constants: dict[str, str]) -> str:
    """Return the text that an expression stands for, "" if that cannot be seen."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values)
    if isinstance(node, ast.Name):
        return constants.get(node.id, "")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return literal(node.func.value, constants)
    return ""


def lines_of_module(path: Path) -> Iterator[tuple[str, str]]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    functions = [each for each in ast.walk(module) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        yield from lines_of_function(function, constants_of(module.body) | constants_of(function.body))


def constants_of(body: list[ast.stmt]) -> dict[str, str]:
    """Return the texts that are assigned to names in a block and those within, but not in functions within."""
    found: dict[str, str] = {}
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        pending += ast.iter_child_nodes(node)
        if isinstance(node, ast.Assign):
            found |= {each.id: literal(node.value, {}) for each in node.targets if isinstance(each, ast.Name)}
    return found


def lines_of_function(function: ast.AST, constants: dict[str, str]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and node.args):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        level = {"_log_process": "info", "log_process": "info", "fail": "error"}.get(name, name)
        if level in LEVELS and (level != name or owner.rpartition(".")[2] in ("logger", "log")):
            yield level, literal(node.args[0], constants)


def lines_of_core(path: Path) -> Iterator[tuple[str, str]]:
    call = re.compile(r'(?:\.report\(|logger\.(\w+)\()f?"((?:[^"\\]|\\.)*)"(?:, [\w()]+(?:, (\w+)\b(?!=))?)?')
    for own, text, level in call.findall(path.read_text(encoding="utf-8")):
        yield (own or level or "error").lower(), text.replace("\\n", "")


def log_lines() -> str:
    found: list[Line] = []
    for path in sorted([*SOURCE.rglob("*.py"), *SOURCE.rglob("*.pyx")]):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(("demo/", "compat/", "middleware/")):
            continue
        for level, text in lines_of_module(path) if path.suffix == ".py" else lines_of_core(path):
            if len(shape(text).replace("…", "").split()) > 1:
                found.append(Line(area_of(name), level.replace("exception", "error"), shape(text)))
    unknown = [start for start in MEANINGS if not any(line.text.startswith(start) for line in found)]
    if unknown:
        raise SystemExit(f"meanings of lines that nothing logs: {unknown}")
    parts = []
    for area in AREAS:
        lines = sorted({line for line in found if line.area == area})
        lines.sort(key=lambda line: line.text.lstrip("…' ").lower())
        rows = ((line.level, code(line.text), meaning(line.text)) for line in lines)
        parts.append(f"## {area}\n\n{table('Level', 'Line', 'What it means', rows=rows)}")
    return "\n".join(parts)


def meaning(text: str) -> str:
    return next((cell(words) for start, words in MEANINGS.items() if text.startswith(start)), "")


# The access log

CODES = {  # what a code of the core gives, for the fields of JSON
    "CLIENT_HOST": "IP address of the client", "CLIENT_PORT": "port of the client", "METHOD": "method",
    "RAW_PATH": "path as sent", "QUERY_STRING": "query", "URL": "the whole URL", "SUMMARY": "method, path and status",
    "PROTOCOL": "`HTTP/` and the version", "VERSION": "version of HTTP", "SCHEME": "scheme", "HOST": "Host",
    "HOST_NAME": "Host, without the port", "STATUS": "status", "REFERER": "Referer", "USER_AGENT": "User-Agent",
    "REQUEST_ID": "request id", "TRACE_ID": "trace id of `traceparent`", "PID": "process id of the worker",
    "WORKER": "place of the worker among all, from 0",
    "WAIT": "wait before the application", "DURATION": "duration", "BYTES_IN": "bytes of the request",
    "BYTES_OUT": "bytes of the response", "ABORTED": "`true`: the client did not get all of it",
    "ROUTE": "the framework's route", "MESSAGES_IN": "messages of a WebSocket's client",
    "MESSAGES_OUT": "messages to it", "CLOSE_CODE": "close code", "TIME_ISO": "time of the line, UTC",
}  # fmt: skip
UNITS = {"DURATION": {0: "s", 9: "ns"}, "WAIT": {0: "s", 9: "ns"}}


def access_log_atoms() -> str:
    atoms = [(f"%({name})s", each.meaning, each.servers) for name, each in access_format.ATOMS.items()]
    atoms += [(f"%({name})s", meaning, "") for name, meaning in access_format.PARAMETRIC.items()]
    return table("Atom", "Value", "As in", rows=((code(name), cell(text), who) for name, text, who in atoms))


def access_log_fields() -> str:
    parts = []
    for preset, fields in access_format.PRESETS.items():
        rows = ((code(path), value_of(field)) for path, field in access_format.flat(fields))
        parts.append(f"## {code(preset)}\n\n{table('Field', 'Value', rows=rows)}")
    return "\n".join(parts)


def value_of(field: access_format.Field) -> str:
    if not field.code:
        return code(field.kind)
    unit = UNITS.get(field.code, {}).get(field.scale, "")
    kind = "a string" if field.code.startswith("BYTES") and field.kind == "string" else ""
    return ", ".join(filter(None, [CODES[field.code], unit and (f"`…{unit}`" if field.unit else unit), kind]))


# The control socket


def control_verbs() -> str:
    rows = (
        (
            code(ctl.usage(each)),
            code(f"{each.method} {each.path}" + (f"?{each.parameter}=" if each.parameter else "")),
            prose(each.help),
        )
        for each in verbs.VERBS
    )
    return table("`fastserve ctl`", "Request", "What it does", rows=rows)


# gunicorn's hooks


def hooks() -> str:
    """The hooks by what does their work here."""
    named: dict[str, list[str]] = {}
    for name, instead in HOOKS.items():
        named.setdefault(instead, []).append(code(name))
    rows = ((", ".join(names), prose(f"{instead[0].upper()}{instead[1:]}.")) for instead, names in named.items())
    return table("Hook of gunicorn", "With fastserve", rows=rows)


# Extensions of ASGI


def extensions() -> str:
    """The names in the source of the scopes, each with what the frameworks' authors need to know."""
    texts = {
        "http.response.early_hint": ("HTTP/1.1", "`links` as the Link header of a 103 response, before the final one."),
        "http.response.pathsend": ("with `--sendfile`", "`path`, a file that is the whole body, sent by sendfile(2)."),
        "http.response.trailers": (
            "to clients that send `TE: trailers`",
            "`headers` after the body, once `http.response.start` had `trailers: True`.",
        ),
        "fastserve.proxy_protocol": (
            "with `--proxy-protocol`, where the proxy names a client",
            "`version`, `destination`; of version 2 `authority`, `alpn`, `unique_id`, `ssl`, `netns`, `aws_vpce_id`.",
        ),
        "http.response.zerocopysend": (
            "not on Windows",
            "`file` (a file object or descriptor), `offset`, `count`: a part of a file as part of the body.",
        ),
        "tls": (
            "on TLS connections",
            "the certificates of both sides, `tls_version` and `cipher_suite`, as the TLS extension has them.",
        ),
        "websocket.http.response": (
            "in every WebSocket scope",
            "a response in place of the handshake's, until it is accepted.",
        ),
    }
    source = (SOURCE / "_core" / "http" / "scope.pyx").read_text(encoding="utf-8")
    announced = set(re.findall(r'"((?:http|websocket)\.[a-z_.]+)"', source)) | {"tls", "fastserve.proxy_protocol"}
    announced -= {"http.request", "http.disconnect"}
    if announced != set(texts):
        raise SystemExit(f"extensions announced and not described, or the reverse: {announced ^ set(texts)}")
    rows = ((code(name), where, what) for name, (where, what) in sorted(texts.items()))
    return table("Extension", "Announced", "What it takes or says", rows=rows)


# The Python API

CONFIG = (
    "load load_app configure_logging bind_socket get_loop_factory reload_certificates is_ssl should_reload"
    " use_subprocess"
)
SERVER = (
    "started should_exit force_exit run serve startup main_loop on_tick shutdown handle_exit capture_signals"
    " reload_certificates retire"
)


TOPICS = "publish publish_stored subscribe stream listen count members history require connect publisher metrics"


def documentation(thing: Any) -> str:
    """Return a docstring as Markdown."""
    text = inspect.getdoc(thing) or ""
    return re.sub(r"(?<![`\w.])((?:\w+\.)?\w+(?:\(\)|\[\"\w+\"\]))(?!`)", r"`\1`", text)


def signature(thing: Any) -> str:
    text = str(inspect.signature(thing))
    text = re.sub(r"'([^']*)'", r"\1", text) if "->" in text or ":" in text else text
    return text.replace("(self, ", "(").replace("(self)", "()").replace("/, ", "")


def call(thing: Any) -> str:
    """Return how something is called, without types."""
    found = inspect.signature(thing)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in found.parameters.values()]
    return str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def member(kind: type, name: str) -> str:
    """Return an attribute or a method as an item of a definition list."""
    value: Any = inspect.getattr_static(kind, name)
    heading = name
    if inspect.isfunction(value):
        prefix = "async " if inspect.iscoroutinefunction(value) else ""
        heading = f"{prefix}{name}{signature(inspect.unwrap(value))}"
    return f"`{heading}`\n:   {textwrap.indent(documentation(value), '    ').strip()}\n"


def entry(name: str, thing: Any, shown: str = "", members: str = "") -> str:
    module, _, last = name.rpartition(".")
    heading, origin = (name, "") if module == "fastserve" else (last, f"In `{module}`. ")
    prefix = "async " if inspect.iscoroutinefunction(thing) else ""
    parts = [f"### `{prefix}{heading}{shown}`\n\n{origin}{documentation(thing)}\n"]
    return "\n".join(parts + [member(thing, each) for each in members.split()])


def python_api() -> str:
    from fastserve import topics
    from fastserve.topics.starlette import EventStream
    from fastserve.workers import worker

    parts = [
        "## Serving\n",
        entry("fastserve.run", fastserve.run, "(app, **options)"),
        entry("fastserve.Config", fastserve.Config, "(app, **options)", CONFIG),
        entry("fastserve.Server", fastserve.Server, "(config)", SERVER),
        "## Logging\n",
        entry("fastserve.logging.DefaultFormatter", formatters.DefaultFormatter),
        entry("fastserve.logging.AccessFormatter", formatters.AccessFormatter),
        entry("fastserve.logging.ColourizedFormatter", formatters.ColourizedFormatter),
        entry("fastserve.logging.JsonFormatter", json_lines.JsonFormatter, '(form="json")'),
        "## Middleware\n",
        entry("fastserve.middleware.proxy_headers.ProxyHeadersMiddleware", proxy_headers.ProxyHeadersMiddleware),
        entry("fastserve.middleware.wsgi.WSGIMiddleware", wsgi.WSGIMiddleware),
        entry("fastserve.middleware.asgi2.ASGI2Middleware", asgi2.ASGI2Middleware),
        entry("fastserve.middleware.message_logger.MessageLoggerMiddleware", message_logger.MessageLoggerMiddleware),
        "## Topics\n",
        *(
            entry(f"fastserve.topics.{name}", getattr(topics, name), call(getattr(topics, name)))
            for name in TOPICS.split()
        ),
        entry("fastserve.topics.starlette.EventStream", EventStream, call(EventStream)),
        entry("fastserve.topics.Subscription", topics.Subscription, members="active cancel"),
        "## gunicorn's workers\n",
        entry("fastserve.workers.FastserveWorker", worker.FastserveWorker),
        entry("fastserve.workers.FastserveH11Worker", worker.FastserveH11Worker),
        entry("fastserve.workers.FastserveWSGIWorker", worker.FastserveWSGIWorker),
        "## For programs that import uvicorn\n",
        entry("fastserve.compat.install", fastserve.compat.install, "()"),
    ]
    return "\n".join(parts)


def own_metrics() -> str:
    parts = [
        entry("fastserve.metrics.counter", fastserve.metrics.counter, "(name, help='', /, **labels)"),
        entry("fastserve.metrics.gauge", fastserve.metrics.gauge, "(name, help='', /, merge='sum', **labels)"),
        entry("fastserve.metrics.histogram", fastserve.metrics.histogram, "(name, help='', /, buckets=..., **labels)"),
        entry("fastserve.metrics.prometheus.collect", prometheus.collect, "(registry=None)"),
    ]
    return "\n".join(parts)


def metrics() -> str:
    """The table of metrics."""
    rows = (
        (
            code(row.sample),
            row.kind,
            ", ".join(f"{code(label)}{values_of(row, label)}" for label in row.labels),
            prose(row.help) + (f" With {code(TABLE[row.option].name)}." if row.option else ""),
        )
        for row in metrics_table.TABLE
    )
    return table("Name", "Kind", "Labels", "What it is", rows=rows)


def values_of(row: metrics_table.Metric, label: str) -> str:
    found = list(dict.fromkeys(value for cell in row.cells for name, value in cell.labels if name == label))
    return f" ({', '.join(found)})" if found else ""


PARTS: dict[str, Callable[[], str]] = {
    "access-log-atoms": access_log_atoms,
    "access-log-fields": access_log_fields,
    "control-verbs": control_verbs,
    "environment": environment,
    "extensions": extensions,
    "hooks": hooks,
    "log-lines": log_lines,
    "metrics": metrics,
    "own-metrics": own_metrics,
    "options": options,
    "parameters": parameters,
    "python-api": python_api,
    "signals": signals,
    "usage": help_text,
}


def generated(text: str) -> str:
    """Return a page with its generated parts made anew."""
    return REGION.sub(lambda match: f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}", text)


def changed() -> dict[Path, str]:
    """Return the pages that are not as the program has them, and what they should be."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(DOCS.rglob("*.md"))}
    return {path: new for path, text in pages.items() if (new := generated(text)) != text}


if __name__ == "__main__":
    pages = changed()
    for path, text in pages.items():
        print(path.relative_to(DOCS.parent))
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    if pages and "--check" in sys.argv:
        sys.exit("These pages differ from the program: run python docs/generate.py")
