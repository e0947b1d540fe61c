"""Formats of the access log: their atoms and fields, and their compilation for the core.

Sources of names and meanings. Atoms: the documentation of gunicorn's and hypercorn's `access_log_format`, of granian's
`--access-log-fmt`. JSON for Elasticsearch: the ECS field reference (elastic.co/guide/en/ecs/current) and ecs-logging's
specification, which wants `@timestamp`, `log.level`, `message` and `ecs.version`, with dots in the keys. For Google
Cloud: "Structured logging" and the type `HttpRequest` of Cloud Logging (cloud.google.com/logging/docs), whose sizes are
int64, so strings in JSON, and whose latency is a duration in seconds with an "s". For Datadog: "Default Standard
Attributes" (docs.datadoghq.com/standard-attributes), where `duration` is in nanoseconds, and the reserved attributes
`timestamp`, `status`, `message` and `trace_id`; `http.url_details.queryString` is an object there, so the query is in
`http.url`.

Compared on 2026-11-29 with schemas/http.yml and url.yml of elastic/ecs (since ECS 1.6.0 the method keeps its case;
bytes are those of head and body; a query has no question mark), with google/logging/type/http_request.proto of
googleapis/googleapis, and with the source of Datadog's page in DataDog/documentation: no difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from fastserve.process import place

if TYPE_CHECKING:
    from fastserve._core.http.access_format import AccessFormat
    from fastserve._core.http.access_steps import Step

DEFAULT = "default"
COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(B)s "%(f)s" "%(a)s"'
LOGGER = "fastserve.access"


class Atom(NamedTuple):
    """What `%(name)s` stands for."""

    code: str  # "" for a constant
    meaning: str
    servers: str  # that have the same atom
    scale: int = 0  # of a time, as of a Step
    digits: int = 0


G, H, R, OURS = "gunicorn", "hypercorn", "granian", "fastserve"
ATOMS: dict[str, Atom] = {
    "h": Atom("CLIENT_HOST", "IP address of the client", f"{G}, {H} (with the port there)"),
    "l": Atom("", "`-`", f"{G}, {H}"),
    "u": Atom("USER", "User of basic authentication", G),
    "t": Atom("TIME_CLF", "Time of the line, `[28/Nov/2026:13:04:05 +0000]`", f"{G}, {H}"),
    "r": Atom("REQUEST_LINE", "Request line: method, target as sent, version", f"{G}, {H} (without query there)"),
    "R": Atom("REQUEST_LINE", "The same", H),
    "s": Atom("STATUS", "Status", f"{G}, {H}"),
    "st": Atom("PHRASE", "Reason phrase of the status", H),
    "S": Atom("SCHEME", "Scheme", H),
    "m": Atom("METHOD", "Method", f"{G}, {H}"),
    "U": Atom("PATH_DECODED", "Path, decoded, without query", f"{G}, {H}"),
    "q": Atom("QUERY_STRING", "Query", f"{G}, {H}"),
    "Uq": Atom("TARGET", "Path and query as sent", H),
    "H": Atom("PROTOCOL", "`HTTP/1.1`, `HTTP/2`", f"{G}, {H} (without `HTTP/` there)"),
    "b": Atom("BODY_BYTES", "Bytes of the response's body", f"{G}, {H} (Content-Length there)"),
    "B": Atom("BODY_BYTES", "The same", f"{G}, {H} (Content-Length there)"),
    "f": Atom("REFERER", "Referer", f"{G}, {H}"),
    "a": Atom("USER_AGENT", "User-Agent", f"{G}, {H}"),
    "T": Atom("DURATION", "Duration in whole seconds", f"{G}, {H}"),
    "D": Atom("DURATION", "Duration in microseconds", f"{G}, {H}", scale=6),
    "M": Atom("DURATION", "Duration in milliseconds", G, scale=3),
    "L": Atom("DURATION", "Duration in seconds with six decimals", f"{G}, {H}", digits=6),
    "p": Atom("", "Process id of the worker, `<7>`", f"{G}, {H}"),
    "addr": Atom("CLIENT_HOST", "IP address of the client", R),
    "time": Atom("TIME_BEGAN", "Time of the request, `2026-11-28 13:04:05 +0000`", R),
    "dt_ms": Atom("DURATION", "Duration in milliseconds; `%(dt_ms).3f` says how many decimals", R, scale=3, digits=3),
    "status": Atom("STATUS", "Status", R),
    "path": Atom("RAW_PATH", "Path as sent", R),
    "query_string": Atom("QUERY_STRING", "Query", R),
    "method": Atom("METHOD", "Method", R),
    "scheme": Atom("SCHEME", "Scheme", R),
    "protocol": Atom("PROTOCOL", "`HTTP/1.1`, `HTTP/2`", R),
    "rbl": Atom("BODY_BYTES", "Bytes of the response's body", R),
    "rid": Atom("REQUEST_ID", "Request id, with `--request-id-header`", OURS),
    "tid": Atom("TRACE_ID", "Trace id of the client's `traceparent`", OURS),
    "w": Atom("WAIT", "Wait from the end of the request's head to the application, microseconds", OURS, scale=6),
    "fb": Atom("FIRST_BYTE", "Time to the first byte of the response, microseconds", OURS, scale=6),
    "I": Atom("BYTES_IN", "Bytes of the request, head and body, as they came", OURS),
    "O": Atom("BYTES_OUT", "Bytes of the response, head and framing, as given to the connection", OURS),
    "X": Atom("ENDING", "`X`: the client did not get all of it; `+`: the connection is kept; `-`: it is closed", OURS),
    "route": Atom("ROUTE", "The framework's route, `/items/{id}`", OURS),
    "wk": Atom("", "Place of the worker among all, from 0, as in the metrics", OURS),
    "mi": Atom("MESSAGES_IN", "Messages of the client, of a WebSocket", OURS),
    "mo": Atom("MESSAGES_OUT", "Messages to the client, of a WebSocket", OURS),
    "code": Atom("CLOSE_CODE", "Close code, of a WebSocket", OURS),
}
PARAMETRIC = {  # atoms with a name in them
    "{x}i": "Header x of the request",
    "{x}o": "Header x of the response, if the application set it",
    "{x}e": "Environment variable x, read once at the start",
    "header{x}": "Header x of the request",
}
PATTERN = re.compile(r"%(?:%|\(([^)]*)\)([^a-zA-Z%]*)([a-zA-Z]))")


class Field(NamedTuple):
    """A field of JSON: a code of the core, how the value is written, a constant in place of a value."""

    code: str
    kind: str = "string"  # or number, or a constant's JSON
    unit: str = ""  # what follows a string
    scale: int = 0
    digits: int = 0


Fields = dict[str, "Field | dict[str, Field | dict[str, Field]]"]

METHOD, PATH, QUERY = Field("METHOD"), Field("RAW_PATH"), Field("QUERY_STRING")
STATUS, VERSION, SCHEME = Field("STATUS", "number"), Field("VERSION"), Field("SCHEME")
CLIENT, PORT, HOST = Field("CLIENT_HOST"), Field("CLIENT_PORT", "number"), Field("HOST_NAME")
BYTES_IN, BYTES_OUT = Field("BYTES_IN", "number"), Field("BYTES_OUT", "number")
SECONDS, WAIT = Field("DURATION", "number", digits=6), Field("WAIT", "number", digits=6)
NANOSECONDS, WAIT_NANOSECONDS = Field("DURATION", "number", scale=9), Field("WAIT", "number", scale=9)
AGENT, REFERER = Field("USER_AGENT"), Field("REFERER")
REQUEST_ID, TRACE_ID, ROUTE = Field("REQUEST_ID"), Field("TRACE_ID"), Field("ROUTE")
PID, WORKER = Field("PID", "number"), Field("WORKER", "number")
ABORTED, TIME = Field("ABORTED", "number"), Field("TIME_ISO")
IN, OUT, CODE = Field("MESSAGES_IN", "number"), Field("MESSAGES_OUT", "number"), Field("CLOSE_CODE", "number")
SUMMARY, URL = Field("SUMMARY"), Field("URL")


def constant(text: str) -> Field:
    return Field("", kind=f'"{text}"')


PRESETS: dict[str, Fields] = {
    "json": {
        "time": TIME, "level": constant("INFO"), "logger": constant(LOGGER),
        "client": CLIENT, "method": METHOD, "path": PATH, "query": QUERY, "http": VERSION, "status": STATUS,
        "bytes_in": BYTES_IN, "bytes_out": BYTES_OUT, "duration": SECONDS, "wait": WAIT,
        "user_agent": AGENT, "referer": REFERER, "host": Field("HOST"), "scheme": SCHEME,
        "request_id": REQUEST_ID, "trace_id": TRACE_ID, "route": ROUTE, "worker": WORKER,
        "messages_in": IN, "messages_out": OUT, "close_code": CODE, "aborted": ABORTED,
    },
    "json:ecs": {
        "@timestamp": TIME, "log.level": constant("info"), "message": SUMMARY, "ecs.version": constant("8.11.0"),
        "log.logger": constant(LOGGER), "event.duration": NANOSECONDS, "client.ip": CLIENT, "client.port": PORT,
        "http.request.method": METHOD, "http.request.bytes": BYTES_IN, "http.request.referrer": REFERER,
        "http.request.id": REQUEST_ID, "http.response.status_code": STATUS, "http.response.bytes": BYTES_OUT,
        "http.version": VERSION, "url.path": PATH, "url.query": QUERY, "url.domain": HOST, "url.scheme": SCHEME,
        "user_agent.original": AGENT, "trace.id": TRACE_ID, "process.pid": PID,
        "fastserve.worker": WORKER, "fastserve.wait": WAIT_NANOSECONDS, "fastserve.route": ROUTE,
        "fastserve.messages_in": IN, "fastserve.messages_out": OUT, "fastserve.close_code": CODE,
        "fastserve.aborted": ABORTED,
    },
    "json:gcp": {
        "time": TIME, "severity": constant("INFO"),
        "httpRequest": {
            "requestMethod": METHOD, "requestUrl": URL, "requestSize": Field("BYTES_IN"), "status": STATUS,
            "responseSize": Field("BYTES_OUT"), "userAgent": AGENT, "remoteIp": CLIENT, "referer": REFERER,
            "latency": Field("DURATION", unit="s", digits=6), "protocol": Field("PROTOCOL"),
        },
        "logging.googleapis.com/trace": TRACE_ID,
        "logger": constant(LOGGER), "request_id": REQUEST_ID, "wait": WAIT, "route": ROUTE, "worker": WORKER,
        "messages_in": IN, "messages_out": OUT, "close_code": CODE, "aborted": ABORTED,
    },
    "json:datadog": {
        "timestamp": TIME, "status": constant("info"), "message": SUMMARY, "duration": NANOSECONDS,
        "logger": {"name": constant(LOGGER)},
        "http": {
            "method": METHOD, "url": URL, "url_details": {"host": HOST, "path": PATH, "scheme": SCHEME},
            "status_code": STATUS, "version": VERSION, "useragent": AGENT, "referer": REFERER, "request_id": REQUEST_ID,
        },
        "network": {
            "client": {"ip": CLIENT, "port": PORT}, "bytes_read": BYTES_IN, "bytes_written": BYTES_OUT,
        },
        "trace_id": TRACE_ID,
        "fastserve": {
            "worker": WORKER, "wait": WAIT_NANOSECONDS, "route": ROUTE, "messages_in": IN, "messages_out": OUT,
            "close_code": CODE, "aborted": ABORTED,
        },
    },
}  # fmt: skip
NAMES = (DEFAULT, "combined", *PRESETS)


def check(text: str) -> None:
    """Raise ValueError, with the choices, for a text that is not a format."""
    if text in NAMES:
        return
    parts = list(pieces(text))
    if not any(name is not None for _, name, _ in parts):
        raise ValueError(f"{text!r} is not one of {', '.join(NAMES)} or a format with atoms like %(h)s")
    for _, name, digits in parts:
        if name is not None:
            step(name, b"", digits)


def compiled(text: str) -> AccessFormat | None:
    """Return the core's form of a format that has been checked, None for the default one."""
    if text == DEFAULT:
        return None
    from fastserve._core.http.access_format import AccessFormat

    if text in PRESETS:
        return AccessFormat([*fields_steps(PRESETS[text])], True)
    return AccessFormat([*text_steps(COMBINED if text == "combined" else text)], False)


# Formats with atoms


def pieces(text: str) -> Iterator[tuple[str, str | None, int | None]]:
    """Yield (text before, atom, decimals) for each atom; at the end what follows the last, with None."""
    before, at = "", 0
    for match in PATTERN.finditer(text):
        before += text[at : match.start()]
        at = match.end()
        if match[0] == "%%":
            before += "%"
            continue
        yield before, match[1], decimals(match[0], match[2], match[3])
        before = ""
    rest = text[at:]
    if "%" in rest or "%" in PATTERN.sub("", text):
        raise ValueError(f"{text!r}: a % is followed by (atom)s, or by another %")
    yield before + rest, None, None


def decimals(whole: str, flags: str, conversion: str) -> int | None:
    """Return the decimals that a conversion asks for, None where it leaves that open."""
    if flags == "" and conversion in "sd":
        return None
    match = re.fullmatch(r"\.([0-6])", flags)
    if match is None or conversion != "f":
        raise ValueError(f"{whole!r}: a conversion is s, d or, for a time, .0f to .6f")
    return int(match[1])


def step(name: str, before: bytes, digits: int | None) -> Step:
    """Return the step of an atom. Raises ValueError, with the choices, for an unknown one."""
    from fastserve._core.http.access_steps import CODE as CODES

    atom = ATOMS.get(name)
    if atom is not None and not atom.code:
        constant = f"<{os.getpid()}>" if name == "p" else str(own_place()) if name == "wk" else "-"
        return CODES["LITERAL"], before + constant.encode(), b"", None, 0, 0
    if atom is not None and digits is not None and atom.code not in ("DURATION", "WAIT", "FIRST_BYTE"):
        raise ValueError(f"%({name}).{digits}f: {name} is not a time")
    if atom is not None:
        decimals = atom.digits if digits is None else min(digits, 9 - atom.scale)
        return CODES[atom.code], before, b"", None, atom.scale, decimals
    kind, parameter = parametric(name)
    if kind == "e":
        found = {key.lower(): value for key, value in os.environ.items()}.get(parameter)
        return CODES["LITERAL"], before + ("-" if found is None else harmless(found)).encode(), b"", None, 0, 0
    return CODES["RESPONSE_HEADER" if kind == "o" else "HEADER"], before, b"", parameter.encode("latin-1"), 0, 0


def own_place() -> int:
    """Return the place of this worker; a server without workers is at 0, as in its metrics."""
    return place.own() or 0


def parametric(name: str) -> tuple[str, str]:
    """Return the kind of an atom with a name in it, i, o or e, and the name in lower case."""
    match = re.fullmatch(r"\{([!-z|~]+)\}([ioe])|header\{([!-z|~]+)\}", name)
    if match is None:
        choices = ", ".join([*ATOMS, *PARAMETRIC])
        raise ValueError(f"unknown atom %({name})s; choose from {choices}")
    return match[2] or "i", (match[1] or match[3]).lower()


def harmless(text: str) -> str:
    """Return a text as the core writes it in formats with atoms."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}" for byte in raw)[:256]


def text_steps(text: str) -> Iterator[Step]:
    from fastserve._core.http.access_steps import CODE as CODES

    for before, name, digits in pieces(text):
        if name is None:
            yield CODES["LITERAL"], harmless_text(before), b"", None, 0, 0
        else:
            yield step(name, harmless_text(before), digits)


def harmless_text(text: str) -> bytes:
    """Return the user's own text between atoms, which may not end the line."""
    return text.replace("\n", "\\x0a").replace("\r", "\\x0d").encode("utf-8", "surrogateescape")


# JSON


def fields_steps(fields: Fields) -> Iterator[Step]:
    from fastserve._core.http.access_steps import CODE as CODES

    yield CODES["LITERAL"], b"{", b"", None, 0, 0
    yield from merged(object_steps(fields))
    yield CODES["LITERAL"], b"}", b"", None, 0, 0


def merged(steps: Iterator[Step]) -> Iterator[Step]:
    """Let constants be the ends of the values before them that no line lacks."""
    from fastserve._core.http.access_steps import CODE as CODES

    always = {CODES[name] for name in ("TIME_ISO", "BYTES_IN", "BYTES_OUT", "DURATION")}
    held: Step | None = None
    for each in steps:
        if held is not None and held[0] in always and each[0] == CODES["CONSTANT"]:
            code, before, after, *rest = held
            held = (code, before, after + b"," + each[1], *rest)  # type: ignore[assignment]
            continue
        if held is not None:
            yield held
        held = each
    if held is not None:
        yield held


def object_steps(fields: Fields) -> Iterator[Step]:
    from fastserve._core.http.access_steps import CODE as CODES

    for name, field in fields.items():
        key = f'"{name}":'
        if isinstance(field, dict):
            yield CODES["OPEN"], f"{key}{{".encode(), b"", None, 0, 0
            yield from object_steps(field)  # type: ignore[arg-type]
            yield CODES["CLOSE"], b"}", b"", None, 0, 0
        elif field in (PID, WORKER) or not field.code:
            constant = str(os.getpid()) if field is PID else str(own_place()) if field is WORKER else field.kind
            yield CODES["CONSTANT"], (key + constant).encode(), b"", None, 0, 0
        else:
            yield field_step(name, field)


def field_step(name: str, field: Field) -> Step:
    from fastserve._core.http.access_steps import CODE as CODES

    quote = '"' if field.kind == "string" else ""
    before, after = f'"{name}":{quote}', f"{field.unit}{quote}"
    if name == "logging.googleapis.com/trace":
        before += google_trace()
    return CODES[field.code], before.encode(), after.encode(), None, field.scale, field.digits


def google_trace() -> str:
    """Return what the resource name of a trace has before its id: the project, which Google's runtimes name."""
    project = os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    return f"projects/{project}/traces/" if re.fullmatch(r"[a-z][a-z0-9-]{1,61}[a-z0-9]", project) else ""


def flat(fields: Fields, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Yield the path of each field in an object, dotted, with the field."""
    for name, field in fields.items():
        if isinstance(field, dict):
            yield from flat(field, f"{prefix}{name}.")  # type: ignore[arg-type]
        else:
            yield prefix + name, field
