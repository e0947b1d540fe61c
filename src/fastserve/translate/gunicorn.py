"""gunicorn: its command, GUNICORN_CMD_ARGS, and its configuration in Python, which is read and never run."""

from __future__ import annotations

import ast
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastserve.translate import files
from fastserve.translate.arguments import Given, Words, of_setting
from fastserve.translate.result import (
    OFF,
    ON,
    Action,
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

VERSION = "27.0.1"
DEFAULT_FILE = "gunicorn.conf.py"
NO_LIMIT = "2147483647"
ASGI_WORKERS = ("uvicorn", "uvicorn_worker", "fastserve")  # packages of worker classes for ASGI
NO_METRICS = "the server sends no figures to statsd"
NO_SYSLOG = "log to syslog by a handler in --log-config"
H2_SIZES = "the server chooses sizes of HTTP/2 itself"
NO_DIRTY = "run long tasks in a task queue, such as Celery"
STRICT = "requests that HTTP forbids are refused"
USER = "the server stays the user that starts it: have the service manager choose it"
TLS = "the ssl module's way is the only one"
IN_EACH_WORKER = "the lifespan's startup runs in each worker"
IN_THE_LOG = "the log says so, with the stack of a worker that is blocked"
IN_THE_METRICS = "--metrics-bind counts workers and their ends by reason"
MIDDLEWARE = "use the application's middleware"
HOOKS = {  # not called; what does their work
    "on_starting": "let the service manager start first what the server needs",
    "on_reload": IN_EACH_WORKER,
    "when_ready": "the service manager is told that the server is ready, and --metrics-bind has /readyz",
    "pre_fork": IN_EACH_WORKER,
    "post_fork": IN_EACH_WORKER,
    "post_worker_init": IN_EACH_WORKER,
    "worker_int": IN_THE_LOG,
    "worker_abort": IN_THE_LOG,
    "pre_exec": "SIGUSR2 starts the server's own command again",
    "pre_request": MIDDLEWARE,
    "post_request": MIDDLEWARE,
    "child_exit": IN_THE_METRICS,
    "worker_exit": "the lifespan's shutdown runs in each worker",
    "nworkers_changed": IN_THE_METRICS,
    "on_exit": "let the service manager clean up",
    "ssl_context": "in a program, pass ssl_context_factory",
    **dict.fromkeys(("on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit"), NO_DIRTY),
}


def number(text: str) -> int:
    """Return a number as gunicorn reads it: octal with a 0 before it, in any base of Python's."""
    return int(f"0o{text[1:]}" if text[:1] == "0" and text[1:].isdecimal() else text, 0)


def unless_zero(param: str, instead: str = "") -> Action:
    """Give the option of fastserve the number, where 0 means no limit to gunicorn."""

    def action(result: Result, theirs: str, value: str) -> None:
        count = value_of(theirs, value)
        if count:
            result.set(param, theirs, str(count))
        elif instead:
            result.set(param, theirs, instead)

    return action


def value_of(theirs: str, value: str) -> int:
    try:
        return number(value)
    except ValueError:
        raise Untranslatable(f"{theirs}: {value!r} is not a whole number") from None


def binding(result: Result, theirs: str, value: str) -> None:
    result.bind(theirs, value)


def control_mode(result: Result, theirs: str, value: str) -> None:
    """Give the control socket its permissions, which gunicorn takes as a number in any notation."""
    result.set("control_socket_mode", theirs, f"{value_of(theirs, value) & 0o777:o}")


def umask(result: Result, theirs: str, value: str) -> None:
    if value_of(theirs, value):
        result.umask(theirs, value_of(theirs, value))


def worker_class(result: Result, theirs: str, value: str) -> None:
    name = value.rpartition(".")[2].rpartition(":")[2]
    if value == "asgi" or value.partition(".")[0] in ASGI_WORKERS:
        result.interface = "wsgi" if "WSGI" in name else "asgi"
        if name.endswith("H11Worker"):
            result.set("http", theirs, "h11")
            result.set("loop", theirs, "asyncio")
    else:
        result.interface = "wsgi"
        if value in ("gevent", "eventlet", "tornado"):
            result.note(f"{theirs} {value}", "a WSGI application has threads: --wsgi-threads says how many")
        elif value not in ("sync", "gthread"):
            result.note(f"{theirs} {value}", "the worker class is taken for one of WSGI applications")


def timeout(result: Result, theirs: str, value: str) -> None:
    if result.interface == "asgi":
        unless_zero("timeout_worker_blocked")(result, theirs, value)
    else:
        result.note(theirs, "a WSGI request may take its time, which does not hold up the worker's other threads")


def environment(result: Result, theirs: str, value: str) -> None:
    name, equals, text = value.partition("=")
    if not equals:
        raise Untranslatable(f"{theirs}: {value!r} is not of the form NAME=VALUE")
    result.variables[name] = text


def python_path(result: Result, theirs: str, value: str) -> None:
    result.variables["PYTHONPATH"] = os.pathsep.join(part.strip() for part in value.split(","))


def http_protocols(result: Result, theirs: str, value: str) -> None:
    if "h2" in value:
        result.set("http2", theirs, ON)
    if "h3" in value:
        result.note(theirs, "HTTP/3 is not served: have a proxy do it")


def http_parser(result: Result, theirs: str, value: str) -> None:
    if value == "python":
        result.set("http", theirs, "h11")


def protocol(result: Result, theirs: str, value: str) -> None:
    if value != "http":
        result.note(f"{theirs} {value}", "HTTP alone is served: have the proxy speak it")


def proxy_protocol(result: Result, theirs: str, value: str) -> None:
    mode = {"": "auto", "true": "auto"}.get(value.lower(), value)
    if mode not in ("off", OFF):
        result.set("proxy_protocol", theirs, mode)


def command_option(word: str) -> Action:
    def action(result: Result, theirs: str, value: str) -> None:
        if word not in result.words:
            result.words.append(word)

    return action


def no_sendfile(result: Result, theirs: str, value: str) -> None:
    if value == ON:
        result.set("sendfile", theirs, ON)


LOGGERS = "the loggers are fastserve.error and fastserve.access: rename them in it"

ROWS = [
    Row("-c --config", nothing),
    Row("-b --bind", binding, "values", "bind"),
    Row("-m --umask", umask, setting="umask"),
    Row("-k --worker-class", worker_class, setting="worker_class"),
    Row("--backlog", same("backlog"), setting="backlog"),
    Row("-w --workers", unless_zero("workers"), setting="workers"),
    Row("--threads", same("wsgi_threads"), setting="threads"),
    Row("--worker-connections", same("limit_connections"), setting="worker_connections"),
    Row("--max-requests", unless_zero("limit_max_requests"), setting="max_requests"),
    Row("--max-requests-jitter", same("limit_max_requests_jitter"), setting="max_requests_jitter"),
    Row("-t --timeout", timeout, setting="timeout"),
    Row("--graceful-timeout", same("timeout_graceful_shutdown"), setting="graceful_timeout"),
    Row("--keep-alive", same("timeout_keep_alive"), setting="keepalive"),
    Row("--limit-request-line", unless_zero("limit_request_line", NO_LIMIT), setting="limit_request_line"),
    Row("--limit-request-fields", unless_zero("limit_request_fields", NO_LIMIT), setting="limit_request_fields"),
    Row("--limit-request-field_size", none("--limit-request-head limits all fields of a request together"),
        setting="limit_request_field_size"),
    Row("--reload", same("reload"), "flag", "reload"),
    Row("--reload-engine", none("watchfiles watches where it is installed, else the server polls"),
        setting="reload_engine"),
    Row("--reload-extra-file", same("reload_includes"), "values", "reload_extra_files"),
    Row("--spew", none("use python -m trace"), "flag", "spew"),
    Row("--check-config", command_option("--check-config"), "flag", "check_config"),
    Row("--print-config", command_option("--print-config"), "flag", "print_config"),
    Row("--preload", same("preload"), "flag", "preload_app"),
    Row("--no-sendfile", no_sendfile, "flag", "sendfile", OFF),
    Row("--reuse-port", same("reuse_port"), "flag", "reuse_port"),
    Row("--chdir", with_note(same("app_dir"),
        "only APP is looked for there: start the command in it for other relative paths"), setting="chdir"),
    Row("-D --daemon", none("the server stays in the foreground: have a service manager run it"), "flag", "daemon"),
    Row("-e --env", environment, "values", "raw_env"),
    Row("-p --pid", same("pid_file"), setting="pidfile"),
    Row("--worker-tmp-dir", none("not needed: workers give signs of life by a pipe"), setting="worker_tmp_dir"),
    Row("-u --user", none(USER), setting="user"),
    Row("-g --group", none(USER), setting="group"),
    Row("--initgroups", none(USER), "flag", "initgroups"),
    Row("--forwarded-allow-ips", same("forwarded_allow_ips"), setting="forwarded_allow_ips"),
    Row("--access-logfile", access_log, setting="accesslog"),
    Row("--access-logformat", same("access_log_format"), setting="access_log_format"),
    Row("--disable-redirect-access-to-syslog", none(NO_SYSLOG), "flag", "disable_redirect_access_to_syslog"),
    Row("--error-logfile --log-file", error_log, setting="errorlog"),
    Row("--log-level", changed("log_level", str.lower), setting="loglevel"),
    Row("--capture-output", none("what the application prints goes where standard output goes"), "flag",
        "capture_output"),
    Row("--logger-class", none("log by --log-config"), setting="logger_class"),
    Row("--log-config", with_note(same("log_config"), LOGGERS), setting="logconfig"),
    Row("--log-config-json", with_note(same("log_config"), LOGGERS), setting="logconfig_json"),
    Row("--log-syslog", none(NO_SYSLOG), "flag", "syslog"),
    Row("--log-syslog-to", none(NO_SYSLOG), setting="syslog_addr"),
    Row("--log-syslog-prefix", none(NO_SYSLOG), setting="syslog_prefix"),
    Row("--log-syslog-facility", none(NO_SYSLOG), setting="syslog_facility"),
    Row("-R --enable-stdio-inheritance", none("standard streams are always inherited"), "flag",
        "enable_stdio_inheritance"),
    Row("--statsd-host", none(NO_METRICS), setting="statsd_host"),
    Row("--statsd-prefix", none(NO_METRICS), setting="statsd_prefix"),
    Row("--dogstatsd-tags", none(NO_METRICS), setting="dogstatsd_tags"),
    Row("--enable-backlog-metric", none(NO_METRICS), "flag", "enable_backlog_metric"),
    Row("-n --name", none("the command is the process's name"), setting="proc_name"),
    Row("--pythonpath", python_path, setting="pythonpath"),
    Row("--paste --paster", none("name the application that the file makes as module:attribute"), setting="paste"),
    Row("--paste-global", none("name the application that the file makes as module:attribute"), "values",
        "raw_paste_global_conf"),
    Row("--proxy-protocol", proxy_protocol, "maybe", "proxy_protocol"),
    Row("--proxy-allow-from", same("proxy_protocol_from"), setting="proxy_allow_ips"),
    Row("--protocol", protocol, setting="protocol"),
    Row("--uwsgi-allow-from", none("HTTP alone is served: have the proxy speak it"), setting="uwsgi_allow_ips"),
    Row("--keyfile", same("ssl_keyfile"), setting="keyfile"),
    Row("--certfile", same("ssl_certfile"), setting="certfile"),
    Row("--ssl-version", none("gunicorn ignores it: the best version that both sides have is used"),
        setting="ssl_version"),
    Row("--cert-reqs", same("ssl_cert_reqs"), setting="cert_reqs"),
    Row("--ca-certs", same("ssl_ca_certs"), setting="ca_certs"),
    Row("--suppress-ragged-eofs", none(TLS), "flag", "suppress_ragged_eofs"),
    Row("--do-handshake-on-connect", none(TLS), "flag", "do_handshake_on_connect"),
    Row("--ciphers", same("ssl_ciphers"), setting="ciphers"),
    Row("--http-protocols", http_protocols, setting="http_protocols"),
    Row("--http2-cleartext", none("a proxy that speaks HTTP/1.1 needs none"), setting="http2_cleartext"),
    Row("--http2-max-concurrent-streams", same("limit_http2_streams"), setting="http2_max_concurrent_streams"),
    Row("--http2-initial-window-size", none(H2_SIZES), setting="http2_initial_window_size"),
    Row("--http2-max-frame-size", none(H2_SIZES), setting="http2_max_frame_size"),
    Row("--http2-max-header-list-size", none(H2_SIZES), setting="http2_max_header_list_size"),
    Row("--permit-obsolete-folding", none(STRICT), "flag", "permit_obsolete_folding"),
    Row("--strip-header-spaces", none(STRICT), "flag", "strip_header_spaces"),
    Row("--permit-unconventional-http-method", none("any method that is a token is served"), "flag",
        "permit_unconventional_http_method"),
    Row("--permit-unconventional-http-version", none(STRICT), "flag", "permit_unconventional_http_version"),
    Row("--casefold-http-method", none("methods have capital and small letters: they are passed on as sent"), "flag",
        "casefold_http_method"),
    Row("--forwarder-headers", none("see --forwarded-prefix and --root-path for SCRIPT_NAME"),
        setting="forwarder_headers"),
    Row("--header-map", none("headers with an underscore are left out of a WSGI environ; ASGI has them as sent"),
        setting="header_map"),
    Row("--asgi-loop", same("loop"), setting="asgi_loop"),
    Row("--asgi-lifespan", same("lifespan"), setting="asgi_lifespan"),
    Row("--asgi-disconnect-grace-period", none("a client that has left does not end its request"),
        setting="asgi_disconnect_grace_period"),
    Row("--websocket-max-message-size", same("ws_max_size"), setting="websocket_max_message_size"),
    Row("--http-parser", http_parser, setting="http_parser"),
    Row("--root-path", same("root_path"), setting="root_path"),
    *(
        Row(f"--dirty-{name}", none(NO_DIRTY), "values" if name == "app" else "value", f"dirty_{setting}")
        for name, setting in (("app", "apps"), ("workers", "workers"), ("timeout", "timeout"), ("threads", "threads"),
                              ("graceful-timeout", "graceful_timeout"))
    ),
    Row("--control-socket", same("control_socket"), setting="control_socket"),
    Row("--control-socket-mode", control_mode, setting="control_socket_mode"),
    Row("--no-control-socket", nothing, "flag", "control_socket_disable"),
    Row("-v --version -h --help", none("it prints and ends"), "flag"),
    # Those of files alone.
    Row("", nothing, setting="wsgi_app"),
    Row("", none("write a file for --log-config"), setting="logconfig_dict"),
    Row("", none("the scheme is that of X-Forwarded-Proto"), setting="secure_scheme_headers"),
    Row("", none("not needed: request bodies are not written to files"), setting="tmp_upload_dir"),
    Row("", none("the command is the process's name"), setting="default_proc_name"),
]  # fmt: skip
SETTINGS = {row.setting: row for row in ROWS if row.setting}
# What later ones ask for: which interface the application has, and whether a UNIX socket is bound.
FIRST = ("worker_class", "bind")


def translate(result: Result, words: Sequence[str], environ: Mapping[str, str]) -> None:
    """Add the options of the command, then those of GUNICORN_CMD_ARGS and of the configuration file that it lacks."""
    server = f"gunicorn {VERSION}"
    read = Words(server, ROWS, words)
    layers = [list(read.read())]
    more = Words(f"GUNICORN_CMD_ARGS: {server}", ROWS, shlex.split(environ.get("GUNICORN_CMD_ARGS", "")))
    layers.append(list(more.read()))
    if len(read.positional) > 1:
        raise Untranslatable(f"{read.positional[1]!r} is one argument too many for {server}")
    paths = [each.value for layer in reversed(layers) for each in layer if each.row.names == "-c --config"]
    layers.append(of_file(result, paths[-1] if paths else None))
    given: list[Given] = []
    for layer in layers:
        said = {each.row.setting for each in given}
        given += [each for each in layer if not each.row.setting or each.row.setting not in said]
    if not any(each.row.setting == "worker_class" for each in given):
        threads = [each.value for each in given if each.row.setting == "threads"]
        given.append(Given(SETTINGS["worker_class"], "--worker-class", "gthread" if threads else "sync"))
    for each in sorted(given, key=lambda one: one.row.setting not in FIRST):
        each.row.action(result, each.theirs, each.value)
    defaults(result, environ)
    (application,) = [each.value for each in given if each.row.setting == "wsgi_app"][:1] or [""]
    name_app(result, read.positional[0] if read.positional else application)


def defaults(result: Result, environ: Mapping[str, str]) -> None:
    """Add what gunicorn does without an option and fastserve does not."""
    if "proxy_protocol_from" in result.options and "proxy_protocol" not in result.options:
        result.drop("proxy_protocol_from", "without --proxy-protocol it has no effect")
    if result.interface == "wsgi":
        result.set("interface", "--worker-class", "wsgi")
        result.options.setdefault("wsgi_threads", ["1"])
        for param in ("lifespan", "loop"):
            result.options.pop(param, None)
    elif "wsgi_threads" in result.options:
        result.drop("wsgi_threads", "an ASGI application has the threads that it starts itself")
    if "access_log" not in result.options:
        result.set("access_log", "--access-logfile", OFF)
    if "bind" not in result.options and environ.get("PORT"):
        result.bind("PORT", f"0.0.0.0:{environ['PORT']}")


def of_file(result: Result, path: str | None) -> list[Given]:
    """Return the settings of a configuration file, by default of the one in this directory. Raises ConfigError."""
    if path is None:
        if not Path(DEFAULT_FILE).exists():
            return []
        path = DEFAULT_FILE
        result.note(DEFAULT_FILE, "its settings have been taken over")
    if path.startswith("python:"):
        result.note(f"-c {path}", "a module is not imported: give its settings as options")
        return []
    module = files.module(path.removeprefix("file:"))
    for name in module.functions:
        if name in HOOKS:
            result.note(name, f"hooks are not called: {HOOKS[name]}")
    for name, source in module.others.items():
        if name in SETTINGS or name in HOOKS:
            hint = "; --workers auto follows the processors" if name == "workers" else ""
            result.note(f"{name} = {source}", f"it is not a literal: give the value that it has{hint}")
    return [
        given
        for name, row in SETTINGS.items()
        if name in module.literals
        for given in of_setting(row, name, of_literal(name, module.literals[name]))
    ]


def of_literal(name: str, value: object) -> object:
    """Return a setting's value for the command: a dict is one value."""
    if isinstance(value, dict):
        return repr(value) if value else None
    return [value] if isinstance(value, str) and name in ("bind", "raw_env") else value


def name_app(result: Result, text: str) -> None:
    """Serve gunicorn's MODULE, MODULE:NAME or MODULE:FACTORY()."""
    module, _, attribute = text.partition(":")
    try:
        named = ast.parse(attribute or "application", mode="eval").body
    except SyntaxError:
        named = ast.Constant(None)
    if isinstance(named, ast.Call):
        if named.args or named.keywords:
            result.note(text, "a factory is called without arguments: write one that needs none")
        result.set("factory", text, ON)
        named = named.func
    if not isinstance(named, ast.Name | ast.Attribute):
        raise Untranslatable(f"{text!r} is not of the form MODULE:NAME or MODULE:FACTORY()")
    result.name_app(f"{module}:{ast.unparse(named)}" if module else "", "application")
