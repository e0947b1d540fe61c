"""The environ of a request (PEP 3333), made from its ASGI scope."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from fastserve._types import Scope
from fastserve.wsgi.files import FileWrapper

Environ = dict[str, Any]

LEFT_OUT = ""  # the key of a header that has none
KNOWN_NAMES = 1000  # header names whose keys are kept
KNOWN_ENDS = 100  # addresses of the server whose templates are kept
DEFAULT_PORTS = {"http": "80", "https": "443"}

keys: dict[bytes, str] = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


def key_of(name: bytes) -> str:
    """Return the environ's key for a header name in lower case, LEFT_OUT for one that could pass for another."""
    # x_forwarded_for would have the key of x-forwarded-for.
    key = LEFT_OUT if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(keys) < KNOWN_NAMES:
        keys[name] = key
    return key


def add_headers(environ: Environ, headers: Any) -> None:
    """Put the request's headers into the environ, those of one name joined."""
    for name, value in headers:
        try:
            key = keys[name]
        except KeyError:
            key = key_of(name)
        text = value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        environ[key] = text
    environ.pop(LEFT_OUT, None)


def paths_of(scope: Scope) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO: the bytes of the path, percent-decoded, as latin-1."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if not path.isascii():
        # The scope's path is UTF-8 decoded, which does not bring back every byte.
        decoded = unquote_to_bytes(scope.get("raw_path") or b"")
        if decoded.decode("utf-8", "replace") != path:
            decoded = path.encode("utf-8")  # somebody has rewritten it
        path = decoded.decode("latin-1")
    if root:
        root = root.encode("utf-8").decode("latin-1")
        below = path[len(root) :]
        if path.startswith(root) and (not below or below[0] == "/" or root[-1] == "/"):
            path = below
        root = root.strip("/")
        root = root and f"/{root}"
    if path[:1] != "/" and (path or not root):
        path = "/" if path == "*" else f"/{path}"  # PEP 3333 has no form for "OPTIONS *"
    return root, path


class Environs:
    """Makes environs for an application whose calls may be `multithread` in a process, in many processes or not."""

    def __init__(self, multithread: bool, multiprocess: bool) -> None:
        self._constants: Environ = {
            "SERVER_SOFTWARE": "fastserve",
            "wsgi.version": (1, 0),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": FileWrapper,
        }
        self._templates: dict[tuple[Any, ...], Environ] = {}

    def make(self, scope: Scope, body: Any) -> Environ:
        """Return the environ of a request whose body is read from `body`."""
        ends = (scope.get("server"), scope.get("scheme", "http"), scope["http_version"])
        try:
            environ = self._templates[ends].copy()
        except KeyError:
            environ = self._template(*ends)
        environ["REQUEST_METHOD"] = scope["method"]
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = paths_of(scope)
        environ["QUERY_STRING"] = scope["query_string"].decode("latin-1")
        client = scope.get("client")
        if client:
            environ["REMOTE_ADDR"] = client[0]
            if client[1]:  # what a proxy says of its client may be without
                environ["REMOTE_PORT"] = str(client[1])
        add_headers(environ, scope["headers"])
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = sys.stderr
        if "SERVER_NAME" not in environ:
            self._name_server(environ)
        return environ

    def _template(self, server: Any, scheme: str, version: str) -> Environ:
        template = dict(self._constants)
        template["SERVER_PROTOCOL"] = f"HTTP/{version}"
        template["wsgi.url_scheme"] = scheme
        if scheme == "https":
            template["HTTPS"] = "on"
        template["REMOTE_ADDR"] = ""  # of a client of a UNIX socket
        if server and server[1] is not None:
            template["SERVER_NAME"] = server[0]
            template["SERVER_PORT"] = str(server[1])
        if len(self._templates) < KNOWN_ENDS:
            self._templates[server, scheme, version] = template.copy()
        return template

    @staticmethod
    def _name_server(environ: Environ) -> None:
        """On a UNIX socket the server is what the client calls it: neither name nor port may be empty."""
        name, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
        if not colon or not port.isdigit():
            name, port = environ.get("HTTP_HOST", ""), ""
        environ["SERVER_NAME"] = name or "localhost"
        environ["SERVER_PORT"] = port or DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "80")
