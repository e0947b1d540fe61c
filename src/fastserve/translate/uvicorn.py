"""uvicorn, whose options fastserve has under the same names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastserve.translate.arguments import Words, of_variables
from fastserve.translate.result import Result, Row, Untranslatable, none, pair, same

VERSION = "0.54.0"
NO_ZTTP = "zttp is uvicorn's own implementation: the compiled one serves in its place"


def http(result: Result, theirs: str, value: str) -> None:
    if value == "zttp":
        result.note(f"{theirs} zttp", NO_ZTTP)
    else:
        result.set("http", theirs, value)


def row(param: str, flag: str = "", takes: str = "value") -> Row:
    return Row(f"--{flag or param.replace('_', '-')}", same(param), takes, param)


ROWS: list[Row] = [
    *(
        row(param)
        for param in (
            "host", "port", "uds", "fd", "reload_delay", "workers", "loop", "ws", "ws_max_size", "ws_max_queue",
            "ws_ping_interval", "ws_ping_timeout", "ws_per_message_deflate", "lifespan", "interface", "env_file",
            "log_config", "log_level", "forwarded_allow_ips", "root_path", "limit_concurrency", "backlog",
            "limit_max_requests", "limit_max_requests_jitter", "timeout_keep_alive", "timeout_graceful_shutdown",
            "timeout_worker_healthcheck", "ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_version",
            "ssl_cert_reqs", "ssl_ca_certs", "ssl_ciphers", "app_dir", "h11_max_incomplete_event_size",
        )
    ),
    row("reload_dirs", "reload-dir", "paths"),
    row("reload_includes", "reload-include", "values"),
    row("reload_excludes", "reload-exclude", "values"),
    row("headers", "header", "values"),
    Row("--http", http, "value", "http"),
    Row("--http2", same("http2"), "flag", "http2"),
    Row("--reload", same("reload"), "flag", "reload"),
    Row("--reset-contextvars", same("reset_contextvars"), "flag", "reset_contextvars"),
    Row("--factory", same("factory"), "flag", "factory"),
    *pair("access-log", "access_log"),
    *pair("use-colors", "use_colors"),
    *pair("proxy-headers", "proxy_headers"),
    *pair("server-header", "server_header"),
    *pair("date-header", "date_header"),
    Row("--version --help", none("it prints and ends"), "flag"),
]  # fmt: skip


def translate(result: Result, words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Add the command's options, and those of UVICORN_ variables that it does not give."""
    read = Words(f"uvicorn {VERSION}", ROWS, words)
    given = list(read.read())
    given += of_variables("UVICORN", ROWS, environ, {each.row.setting for each in given})
    for each in given:
        each.row.action(result, each.theirs, each.value)
    if len(read.positional) > 1:
        raise Untranslatable(f"{read.positional[1]!r} is one argument too many for uvicorn {VERSION}")
    result.app = read.positional[0] if read.positional else environ.get("UVICORN_APP", "")
