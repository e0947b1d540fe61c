"""The environ of a request (PEP 3333), made from its ASGI scope."""
import sys
from urllib.parse import unquote_to_bytes

cdef enum:
    KNOWN_NAMES = 1000  # header names whose keys are kept
    KNOWN_ENDS = 100  # addresses of the server whose templates are kept

cdef str LEFT_OUT = ""  # the key of a header that has none
cdef dict DEFAULT_PORTS = {"http": "80", "https": "443"}

keys = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
cdef dict known_keys = keys


cdef str key_of(bytes name):
    """Return the environ's key for a header name in lower case, LEFT_OUT for one that could pass for another."""
    # x_forwarded_for would have the key of x-forwarded-for.
    cdef str key = LEFT_OUT if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(known_keys) < KNOWN_NAMES:
        known_keys[name] = key
    return key


cdef int add_headers(dict environ, headers) except -1:
    """Put the request's headers into the environ, those of one name joined."""
    cdef str text
    for name, value in headers:
        key = known_keys.get(name)
        if key is None:
            key = key_of(name)
        if not key:
            continue
        text = (<bytes?>value).decode("latin-1")
        before = environ.setdefault(key, text)
        if before is not text:
            environ[key] = f"{before}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
    return 0


def paths_of(dict scope not None):
    """Return SCRIPT_NAME and PATH_INFO: the bytes of the path, percent-decoded, as latin-1."""
    cdef str path = scope["path"]
    cdef str root = scope.get("root_path", "")
    if not path.isascii():
        # The scope's path is UTF-8 decoded, which does not bring back every byte.
        decoded = unquote_to_bytes(scope.get("raw_path") or b"")
        if decoded.decode("utf-8", "replace") != path:
            decoded = path.encode("utf-8")  # somebody has rewritten it
        path = decoded.decode("latin-1")
    if root:
        root = root.encode("utf-8").decode("latin-1")
        below = path[len(root) :]
        if path.startswith(root) and (not below or below.startswith("/") or root.endswith("/")):
            path = below
        root = root.strip("/")
        root = root and f"/{root}"
    if path[:1] != "/" and (path or not root):
        path = "/" if path == "*" else f"/{path}"  # PEP 3333 has no form for "OPTIONS *"
    return root, path


cdef class Environs:
    """Makes environs of scopes.

    The application's calls may be `multithread` in a process, in many processes or not (`multiprocess`); `file_wrapper`
    is for wsgi.file_wrapper.
    """

    def __init__(self, bint multithread, bint multiprocess, file_wrapper):
        self.constants = {
            "SERVER_SOFTWARE": "fastserve",
            "wsgi.version": (1, 0),
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,
            "wsgi.file_wrapper": file_wrapper,
        }
        self.templates = {}

    def make(self, scope, body):
        """Return the environ of a request whose body is read from `body`."""
        return self.environ_of(scope if type(scope) is dict else dict(scope), body)

    cdef dict environ_of(self, dict scope, body):
        cdef tuple ends = (scope.get("server"), scope.get("scheme", "http"), scope["http_version"])
        cdef dict template = self.templates.get(ends)
        cdef dict environ
        if template is None:
            template = self.template_of(ends)
        environ = template.copy()
        environ["REQUEST_METHOD"] = scope["method"]
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = paths_of(scope)
        environ["QUERY_STRING"] = (<bytes?>scope["query_string"]).decode("latin-1")
        client = scope.get("client")
        if client:
            environ["REMOTE_ADDR"] = client[0]
            if client[1]:  # what a proxy says of its client may be without
                environ["REMOTE_PORT"] = str(client[1])
        add_headers(environ, scope["headers"])
        environ["wsgi.input"] = body
        environ["wsgi.errors"] = sys.stderr
        if "SERVER_NAME" not in environ:
            name_server(environ)
        return environ

    cdef dict template_of(self, tuple ends):
        cdef dict template = self.constants.copy()
        server, scheme, version = ends
        template["SERVER_PROTOCOL"] = f"HTTP/{version}"
        template["wsgi.url_scheme"] = scheme
        if scheme == "https":
            template["HTTPS"] = "on"
        template["REMOTE_ADDR"] = ""  # of a client of a UNIX socket
        if server and server[1] is not None:
            template["SERVER_NAME"] = server[0]
            template["SERVER_PORT"] = str(server[1])
        if len(self.templates) < KNOWN_ENDS:
            self.templates[ends] = template
        return template


cdef int name_server(dict environ) except -1:
    """On a UNIX socket the server is what the client calls it: neither name nor port may be empty."""
    name, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
    if not colon or not port.isdigit():
        name, port = environ.get("HTTP_HOST", ""), ""
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = port or DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "80")
    return 0
