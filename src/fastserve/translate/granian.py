"""granian: its command and its GRANIAN_ variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fastserve.translate.arguments import Words, of_variables
from fastserve.translate.result import (
    OFF,
    ON,
    Result,
    Row,
    Untranslatable,
    both,
    changed,
    none,
    same,
    with_note,
)

VERSION = "2.8.9"
RSGI = "RSGI is granian's own interface: name the ASGI or WSGI application"
NO_RUNTIME = "there is no Rust runtime beside the event loop"
WINDOWS = "the server chooses windows, sizes and pings of HTTP/2 itself"
REPLACED = "a worker that ends is always replaced"
DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


class Collected:
    """Options of granian that mean something together."""

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}

    def keep(self, result: Result, theirs: str, value: str) -> None:
        self.values.setdefault(theirs.removeprefix("GRANIAN_").removeprefix("--").lower().replace("_", "-"), []).append(
            value
        )


def seconds(text: str) -> str:
    """Return granian's duration, like 90, 1h30m or 5m, in seconds."""
    if text.isdecimal():
        return text
    match = DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(text)
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return str(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def from_milliseconds(text: str) -> str:
    return f"{int(text) / 1000:g}"


def permissions(text: str) -> str:
    """Return octal digits: granian takes a number as decimal unless it begins with 0."""
    return f"{int(text, 8 if text.startswith('0') else 10):o}"


def interface(result: Result, theirs: str, value: str) -> None:
    result.interface = "wsgi" if value == "wsgi" else "asgi"
    if value == "wsgi":
        result.set("interface", theirs, "wsgi")
    elif value == "asginl":
        result.set("lifespan", theirs, "off")
    elif value == "rsgi":
        result.note(f"{theirs} rsgi", RSGI)
    elif value != "asgi":
        raise Untranslatable(f"{theirs}: {value!r} is not one of asgi, asginl, rsgi, wsgi")


def http(result: Result, theirs: str, value: str) -> None:
    if value == "1":
        return
    result.set("http2", theirs, ON)
    if value == "2":
        result.note(f"{theirs} 2", "HTTP/1.1 is served as well")


def websockets(result: Result, theirs: str, value: str) -> None:
    if value == OFF:
        result.set("ws", theirs, "none")


def loop(result: Result, theirs: str, value: str) -> None:
    if value in ("rloop", "winloop"):
        result.note(f"{theirs} {value}", "give its factory as --loop module:factory")
    else:
        result.set("loop", theirs, value)


def keep_alive(result: Result, theirs: str, value: str) -> None:
    if value == OFF:
        result.set("timeout_keep_alive", theirs, "0")


def log(result: Result, theirs: str, value: str) -> None:
    if value == OFF:
        result.set("log_level", theirs, "critical")
        result.set("access_log", theirs, OFF)


def minimum(result: Result, theirs: str, value: str) -> None:
    if value != "tls1.2":  # which is the least that Python's contexts take
        result.note(f"{theirs} {value}", "clients with TLS 1.2 are served too: OpenSSL's configuration can refuse them")


def client_verify(result: Result, theirs: str, value: str) -> None:
    if value == ON:
        result.set("ssl_cert_reqs", theirs, "2")


def one_env_file(result: Result, theirs: str, value: str) -> None:
    if "env_file" in result.options:
        result.note(f"{theirs} {value}", "there can be one: join the files")
    else:
        result.set("env_file", theirs, value)


def rows(kept: Collected) -> list[Row]:
    """Return granian's options; those of static files and metrics are kept, to be put together at the end."""
    return [
        Row("--host", same("host"), setting="host"),
        Row("--port", same("port"), setting="port"),
        Row("--uds", same("uds"), setting="uds"),
        Row("--uds-permissions", changed("uds_permissions", permissions), setting="uds_permissions"),
        Row("--interface", interface, setting="interface"),
        Row("--http", http, setting="http"),
        *both("ws", websockets, "websockets"),
        Row("--workers", same("workers"), setting="workers"),
        Row("--blocking-threads", kept.keep, setting="blocking_threads"),
        Row("--blocking-threads-idle-timeout", none("threads are kept"), setting="blocking_threads_idle_timeout"),
        Row("--runtime-threads", none(NO_RUNTIME), setting="runtime_threads"),
        Row("--runtime-blocking-threads", none(NO_RUNTIME), setting="runtime_blocking_threads"),
        Row("--runtime-mode", none(NO_RUNTIME), setting="runtime_mode"),
        Row("--loop", loop, setting="loop"),
        Row("--task-impl", none("the core has tasks of its own"), setting="task_impl"),
        Row("--backlog", same("backlog"), setting="backlog"),
        Row("--backpressure", same("limit_requests"), setting="backpressure"),
        Row("--http1-buffer-size", same("limit_request_head"), setting="http1_buffer_size"),
        Row(
            "--http1-header-read-timeout",
            changed("timeout_request_head", from_milliseconds),
            setting="http1_header_read_timeout",
        ),
        *both("http1-keep-alive", keep_alive, "http1_keep_alive"),
        *both("http1-pipeline-flush", none("pipelined responses are always joined"), "http1_pipeline_flush"),
        *both("http2-adaptive-window", none(WINDOWS), "http2_adaptive_window"),
        *(
            Row(f"--http2-{name}", none(WINDOWS), setting=f"http2_{name.replace('-', '_')}")
            for name in (
                *("initial-connection-window-size", "initial-stream-window-size", "keep-alive-interval"),
                *("keep-alive-timeout", "max-frame-size", "max-headers-size", "max-send-buffer-size"),
            )
        ),
        Row("--http2-max-concurrent-streams", same("limit_http2_streams"), setting="http2_max_concurrent_streams"),
        *both("log", log, "log_enabled"),
        Row(
            "--log-level",
            changed("log_level", lambda text: {"warn": "warning", "notset": "trace"}.get(text, text)),
            setting="log_level",
        ),
        Row(
            "--log-config",
            with_note(same("log_config"), "the loggers are fastserve.error and fastserve.access: rename them in it"),
            setting="log_config",
        ),
        *both("access-log", same("access_log"), "log_access_enabled"),
        Row("--access-log-fmt", same("access_log_format"), setting="log_access_fmt"),
        Row("--ssl-certificate", same("ssl_certfile"), setting="ssl_certificate"),
        Row("--ssl-keyfile", same("ssl_keyfile"), setting="ssl_keyfile"),
        Row("--ssl-keyfile-password", same("ssl_keyfile_password"), setting="ssl_keyfile_password"),
        Row("--ssl-protocol-min", minimum, setting="ssl_protocol_min"),
        Row("--ssl-ca", same("ssl_ca_certs"), setting="ssl_ca"),
        Row("--ssl-crl", none("revocation lists are for a program's ssl_context_factory"), "paths", "ssl_crl"),
        *both("ssl-client-verify", client_verify, "ssl_client_verify"),
        Row("--url-path-prefix", same("root_path"), setting="url_path_prefix"),
        *both("respawn-failed-workers", none(REPLACED), "respawn_failed_workers"),
        Row("--respawn-interval", none("workers are replaced one by one, each when the next is ready"),
            setting="respawn_interval"),
        Row("--rss-sample-interval", none("memory is looked at with the workers' signs of life"),
            setting="rss_sample_interval"),
        Row("--rss-samples", none("one sample beyond the limit is enough"), setting="rss_samples"),
        Row("--workers-lifetime", changed("workers_lifetime", seconds), setting="workers_lifetime"),
        Row("--workers-max-rss", changed("workers_max_rss", lambda text: f"{int(text)}M"), setting="workers_max_rss"),
        Row("--workers-kill-timeout", changed("timeout_graceful_shutdown", seconds), setting="workers_kill_timeout"),
        *both("factory", same("factory"), "factory"),
        Row("--working-dir", same("app_dir"), setting="working_dir"),
        Row("--env-files", one_env_file, "paths", "env_files"),
        Row("--static-path-route", kept.keep, "values", "static_path_route"),
        Row("--static-path-mount", kept.keep, "paths", "static_path_mount"),
        Row("--static-path-dir-to-file", none("a request names the file"), setting="static_path_dir_to_file"),
        Row("--static-path-expires", kept.keep, setting="static_path_expires"),
        *both("metrics", kept.keep, "metrics_enabled"),
        Row("--metrics-scrape-interval", none("figures are those of the moment of the scrape"),
            setting="metrics_scrape_interval"),
        Row("--metrics-address", kept.keep, setting="metrics_address"),
        Row("--metrics-port", kept.keep, setting="metrics_port"),
        *both("reload", same("reload"), "reload"),
        Row("--reload-paths", same("reload_dirs"), "paths", "reload_paths"),
        Row("--reload-ignore-dirs", same("reload_excludes"), "values", "reload_ignore_dirs"),
        Row("--reload-ignore-patterns", none("--reload-exclude takes glob patterns, not regular expressions"), "values",
            "reload_ignore_patterns"),
        Row("--reload-ignore-paths", same("reload_excludes"), "paths", "reload_ignore_paths"),
        Row("--reload-tick", changed("reload_delay", from_milliseconds), setting="reload_tick"),
        *both("reload-ignore-worker-failure", none("a reloader always waits for the next change"),
              "reload_ignore_worker_failure"),
        Row("--process-name", none("the command is the process's name"), setting="process_name"),
        Row("--pid-file", same("pid_file"), setting="pid_file"),
        Row("--version --help", none("it prints and ends"), "flag"),
    ]  # fmt: skip


def translate(result: Result, words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Add the command's options, and those of GRANIAN_ variables that it does not give."""
    kept = Collected()
    table = rows(kept)
    read = Words(f"granian {VERSION}", table, words)
    given = list(read.read())
    given += of_variables("GRANIAN", table, environ, {each.row.setting for each in given})
    for each in given:
        each.row.action(result, each.theirs, each.value)
    if len(read.positional) > 1:
        raise Untranslatable(f"{read.positional[1]!r} is one argument too many for granian {VERSION}")
    result.name_app(read.positional[0] if read.positional else environ.get("GRANIAN_APP", ""), "app")
    if not result.interface:
        result.note("no --interface", RSGI)
    if "access_log" not in result.options:
        result.set("access_log", "--access-log", OFF)  # granian's default
    put_together(result, kept.values)


def put_together(result: Result, kept: Mapping[str, list[str]]) -> None:
    for number in kept.get("blocking-threads", []):
        if result.interface == "wsgi":
            result.set("wsgi_threads", "--blocking-threads", number)
        else:
            result.note("--blocking-threads", "an ASGI application has the threads that it starts itself")
    if kept.get("metrics", kept.get("metrics-enabled")) == [ON]:
        host, port = kept.get("metrics-address", ["127.0.0.1"])[-1], kept.get("metrics-port", ["9090"])[-1]
        result.set("metrics_bind", "--metrics", f"{host}:{port}")
    else:
        for name in ("metrics-address", "metrics-port"):
            if name in kept:
                result.note(f"--{name}", "nothing is served there without --metrics")
    mounts = kept.get("static-path-mount", [])
    routes = kept.get("static-path-route", []) or ["/static"]
    for route, mount in zip(routes, mounts, strict=False):
        result.set("static", "--static-path-mount", f"{route}={mount}")
    for name in ("static-path-route", "static-path-expires"):
        if name in kept and not mounts:
            result.note(f"--{name}", "nothing is served there without --static-path-mount")
    expires = kept.get("static-path-expires", ["86400"])[-1]  # granian's default
    if mounts and expires != "0":
        changed("static_expires", seconds)(result, "--static-path-expires", expires)
