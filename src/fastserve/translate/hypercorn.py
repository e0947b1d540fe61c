"""hypercorn: its command, and its configuration in TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastserve.translate import files
from fastserve.translate.arguments import Given, Words, of_setting
from fastserve.translate.result import (
    OFF,
    ON,
    Result,
    Row,
    Untranslatable,
    access_log,
    changed,
    error_log,
    none,
    nothing,
    same,
    with_note,
)

VERSION = "0.18.0"
VERIFY = {"CERT_NONE": "0", "CERT_OPTIONAL": "1", "CERT_REQUIRED": "2"}
NO_METRICS = "the server sends no figures to statsd"
NO_H2 = "the server chooses sizes of HTTP/2 itself"
OWNER = "sockets belong to the user that starts the server: have the service manager choose it"


def worker_class(result: Result, theirs: str, value: str) -> None:
    if value == "trio":
        result.note(f"{theirs} trio", "applications run on asyncio's interface alone")
    else:
        result.set("loop", theirs, value)


def umask(result: Result, theirs: str, value: str) -> None:
    try:
        result.umask(theirs, int(value))  # hypercorn reads it as a decimal number
    except ValueError:
        raise Untranslatable(f"{theirs}: {value!r} is not a whole number") from None


def log_config(result: Result, theirs: str, value: str) -> None:
    kind, _, path = value.rpartition(":")
    if kind == "toml":
        result.note(theirs, "--log-config takes JSON, YAML and ini files")
        return
    result.set("log_config", theirs, path)
    result.note(theirs, "the loggers are fastserve.error and fastserve.access: rename them in it")
    if kind == "json" and not path.endswith(".json"):
        result.note(theirs, "the name of a JSON file must end in .json")


def binding(result: Result, theirs: str, value: str) -> None:
    result.bind(theirs, value)


def insecure_binding(result: Result, theirs: str, value: str) -> None:
    result.bind(theirs, value, prefix="http://")


def body_of_wsgi(result: Result, theirs: str, value: str) -> None:
    if result.interface == "wsgi":
        result.set("limit_request_body", theirs, value)
    else:
        result.note(theirs, "it is for WSGI applications")


def debug(result: Result, theirs: str, value: str) -> None:
    if value == ON:
        result.variables["PYTHONASYNCIODEBUG"] = "1"


verify_mode = changed("ssl_cert_reqs", lambda text: VERIFY[text.removeprefix("VerifyMode.")])

ROWS = [
    Row("-b --bind", binding, "values", "bind"),
    Row("--insecure-bind", insecure_binding, "values", "insecure_bind"),
    Row("--quic-bind", none("HTTP/3 is not served: have a proxy do it"), "values", "quic_bind"),
    Row("-m --umask", umask, setting="umask"),
    Row("--access-log", access_log),
    Row("--access-logfile", access_log, setting="accesslog"),
    Row("--access-logformat", same("access_log_format"), setting="access_log_format"),
    Row("--backlog", same("backlog"), setting="backlog"),
    Row("--ca-certs", same("ssl_ca_certs"), setting="ca_certs"),
    Row("--certfile", same("ssl_certfile"), setting="certfile"),
    Row("--cert-reqs", same("ssl_cert_reqs"), setting="cert_reqs"),
    Row("--ciphers", same("ssl_ciphers"), setting="ciphers"),
    Row("-c --config", nothing),
    Row("-D --daemon", none("the server stays in the foreground: have a service manager run it"), "flag", "daemon"),
    Row("--debug", debug, "flag", "debug"),
    Row("--error-log", error_log),
    Row("--error-logfile --log-file", error_log, setting="errorlog"),
    Row("--graceful-timeout", same("timeout_graceful_shutdown"), setting="graceful_timeout"),
    Row("--read-timeout", same("timeout_request_body"), setting="read_timeout"),
    Row("--max-requests", same("limit_max_requests"), setting="max_requests"),
    Row("--max-requests-jitter", same("limit_max_requests_jitter"), setting="max_requests_jitter"),
    Row("-g --group", none(OWNER), setting="group"),
    Row("-u --user", none(OWNER), setting="user"),
    Row("-k --worker-class", worker_class, setting="worker_class"),
    Row("--keep-alive", same("timeout_keep_alive"), setting="keep_alive_timeout"),
    Row("--keyfile", same("ssl_keyfile"), setting="keyfile"),
    Row("--keyfile-password", same("ssl_keyfile_password"), setting="keyfile_password"),
    Row("--log-config", log_config, setting="logconfig"),
    Row("--log-level", changed("log_level", str.lower), setting="loglevel"),
    Row("-p --pid", same("pid_file"), setting="pid_path"),
    Row("--reload", same("reload"), "flag", "use_reloader"),
    Row("--root-path", same("root_path"), setting="root_path"),
    Row("--server-name", same("allowed_hosts"), "values", "server_names"),
    Row("--statsd-host", none(NO_METRICS), setting="statsd_host"),
    Row("--statsd-prefix", none(NO_METRICS), setting="statsd_prefix"),
    Row("--verify-mode", verify_mode, setting="verify_mode"),
    Row("--websocket-ping-interval", same("ws_ping_interval"), setting="websocket_ping_interval"),
    Row("-w --workers", same("workers"), setting="workers"),
    Row("-h --help", none("it prints and ends"), "flag"),
    # Those of files alone.
    Row("", none("ALPN offers what the server serves"), "values", "alpn_protocols"),
    Row("", with_note(lambda result, theirs, value: result.set("headers", theirs, f"alt-svc:{value}"),
        "it is sent with every response"), "values", "alt_svc_headers"),
    Row("", none(NO_METRICS), setting="dogstatsd_tags"),
    Row("", same("limit_request_head"), setting="h11_max_incomplete_size"),
    Row("", none("names of headers are in small letters, as ASGI says"), setting="h11_pass_raw_headers"),
    Row("", same("limit_http2_streams"), setting="h2_max_concurrent_streams"),
    Row("", none(NO_H2), setting="h2_max_header_list_size"),
    Row("", none(NO_H2), setting="h2_max_inbound_frame_size"),
    Row("", same("date_header"), setting="include_date_header"),
    Row("", same("server_header"), setting="include_server_header"),
    Row("", none("a connection is kept for any number of requests"), setting="keep_alive_max_requests"),
    Row("", none("write a file for --log-config"), setting="logconfig_dict"),
    Row("", none("log by --log-config"), setting="logger_class"),
    Row("", same("ws_max_queue"), setting="max_app_queue_size"),
    Row("", none("lifespan may take its time: have the service manager limit it"), setting="shutdown_timeout"),
    Row("", none("lifespan may take its time: have the service manager limit it"), setting="startup_timeout"),
    Row("", none("a handshake has 10 seconds, or --timeout-request-head if that is less"),
        setting="ssl_handshake_timeout"),
    Row("", none("verification flags are for a program's ssl_context_factory"), "values", "verify_flags"),
    Row("", same("ws_max_size"), setting="websocket_max_message_size"),
    Row("", body_of_wsgi, setting="wsgi_max_body_size"),
]  # fmt: skip
SETTINGS = {row.setting: row for row in ROWS if row.setting}


def translate(result: Result, words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Add the command's options, and those of its configuration file that it does not give."""
    read = Words(f"hypercorn {VERSION}", ROWS, words)
    given = list(read.read())
    if len(read.positional) > 1:
        raise Untranslatable(f"{read.positional[1]!r} is one argument too many for hypercorn {VERSION}")
    application(result, read.positional[0] if read.positional else "")
    said = {each.row.setting for each in given}
    before: list[Given] = []
    for each in given:
        if each.row.names == "-c --config":
            before = list(of_file(result, each.value))
    for each in sorted([*(one for one in before if one.row.setting not in said), *given], key=last):
        each.row.action(result, each.theirs, each.value)
    if "access_log" not in result.options:
        result.set("access_log", "--access-logfile", OFF)  # hypercorn's default


def last(each: Given) -> bool:
    """Return whether an option comes after the others: what UNIX sockets are given follows the sockets."""
    return each.row.setting == "umask"


def application(result: Result, text: str) -> None:
    mode, _, rest = text.partition(":")
    if mode in ("asgi", "wsgi") and ":" in rest:
        result.interface, text = mode, rest
        if mode == "wsgi":
            result.set("interface", text, "wsgi")
    result.name_app(text, "app")


def of_file(result: Result, path: str) -> list[Given]:
    """Return the settings of a configuration file. Raises ConfigError."""
    if path.startswith("python:"):
        result.note(f"-c {path}", "a module is not imported: give its settings as options")
        return []
    if path.startswith("file:"):
        module = files.module(path.removeprefix("file:"))
        for name, source in module.others.items():
            if name in SETTINGS:
                result.note(f"{name} = {source}", "it is not a literal: give the value that it has")
        settings = module.literals
    else:
        settings = files.toml(path)
        for name in settings.keys() - SETTINGS.keys():
            result.note(name, f"it is not a setting of hypercorn {VERSION}")
    return [
        given for name, row in SETTINGS.items() if name in settings for given in of_setting(row, name, settings[name])
    ]
