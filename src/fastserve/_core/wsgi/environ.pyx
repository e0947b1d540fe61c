"""The environ of a request (PEP 3333), made from its ASGI scope."""
import sys
from urllib.parse import unquote_to_bytes

cimport cython

from ..http.field_names cimport HOST, UNKNOWN, X_FORWARDED_FOR, X_FORWARDED_PROTO, known_names
from ..http.methods cimport method_name
from ..http.request cimport Field, Request
from ..http.scope cimport Peers
from ..llhttp cimport HTTP_GET
from ..python cimport PyUnicode_DecodeASCII, PyUnicode_GET_LENGTH, PyUnicode_IS_ASCII, PyUnicode_READ_CHAR

cdef enum:
    KNOWN_NAMES = 1000  # header names whose keys are kept
    KNOWN_ENDS = 100  # addresses of the server whose templates are kept

cdef dict system = vars(sys)
cdef tuple REQUEST_KEYS = (
    "PATH_INFO", "wsgi.input", "REMOTE_PORT", "REMOTE_ADDR", "REQUEST_METHOD", "QUERY_STRING", "SERVER_NAME", "SERVER_PORT"
)
cdef str LEFT_OUT = ""  # the key of a header that has no key
cdef dict DEFAULT_PORTS = {"http": "80", "https": "443"}

keys = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
cdef dict known_keys = keys


cdef str key_of(bytes name):
    """Return the environ's key for a header name in lower case, or LEFT_OUT if another name could have that key."""
    # x_forwarded_for would have the key of x-forwarded-for.
    cdef str key = LEFT_OUT if b"_" in name else "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(known_keys) < KNOWN_NAMES:
        known_keys[name] = key
    return key


cdef list table_keys = [known_keys.get(name) or key_of(name) for name in known_names()]


cdef int add_headers(dict environ, headers) except -1:
    """Put the request's headers into the environ."""
    for name, value in <list?>headers if type(headers) is list else list(headers):
        key = known_keys.get(name)
        if key is None:
            key = key_of(name)
        if key:
            add_header(environ, <str>key, (<bytes?>value).decode("latin-1"))
    return 0


cdef int add_header(dict environ, str key, str text) except -1:
    """Put a header into the environ, the values of one name joined."""
    before = environ.setdefault(key, text)
    if before is not text:
        environ[key] = f"{before}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
    return 0


cdef int add_fields(dict environ, Request head) except -1:
    """Put the headers of a head into the environ."""
    cdef Py_ssize_t index
    cdef Field* field
    cdef str text
    for index in range(head.count):
        field = &head.fields[index]
        if field.known == UNKNOWN:
            name = head.head[field.name.start:field.name.start + field.name.size].lower()
            key = known_keys.get(name)
            if key is None:
                key = key_of(name)
        elif field.known == HOST:
            environ["HTTP_HOST"] = head.host_text(field)
            continue
        else:
            key = table_keys[field.known]
        if key:
            text = head.head[field.value.start:field.value.start + field.value.size].decode("latin-1")
            add_header(environ, <str>key, text)
    return 0


cdef bint needs_scope(Request head, Peers peers) except -1:
    """Return whether what the environ has is not in the head, or not as it is."""
    cdef Py_ssize_t index
    if head.escaped or head.authority.size or head.path.size == 0 or head.head[head.path.start] != c"/":
        return True
    if peers.proxies is None:
        return False
    for index in range(head.count):
        if head.fields[index].known in (X_FORWARDED_FOR, X_FORWARDED_PROTO):
            return True
    return peers.proxies.reader is not None


def paths_of(dict scope not None):
    """Return SCRIPT_NAME and PATH_INFO: the bytes of the path, percent-decoded, as latin-1."""
    return script_and_path(scope)


cdef bint is_plain(str path) noexcept:
    """Return whether a scope's path can be PATH_INFO unchanged, for an empty root path."""
    return PyUnicode_IS_ASCII(path) and PyUnicode_GET_LENGTH(path) > 0 and PyUnicode_READ_CHAR(path, 0) == c"/"


cdef tuple script_and_path(dict scope):
    cdef str path = scope["path"]
    cdef str root = scope.get("root_path", "")
    if not root and is_plain(path):
        return "", path
    if not path.isascii():
        # The scope's path is decoded from UTF-8, which loses bytes that are not UTF-8.
        decoded = unquote_to_bytes(scope.get("raw_path") or b"")
        if decoded.decode("utf-8", "replace") != path:
            decoded = path.encode("utf-8")  # a middleware has rewritten it
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


cdef str port_text(port):
    cdef char digits[5]
    cdef int number, at = 5
    if type(port) is not int or not 0 < port < 65536:
        return str(port)
    number = port
    while number:
        at -= 1
        digits[at] = <char>(c"0" + number % 10)
        number //= 10
    return PyUnicode_DecodeASCII(digits + at, 5 - at, NULL)


cdef class Environs:
    """Makes environs from scopes.

    `multithread` and `multiprocess` tell whether calls run in several threads of a process, and in several processes;
    `file_wrapper` becomes wsgi.file_wrapper.
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
        cdef dict environ = self.template_of(scope.get("server"), scope.get("scheme", "http"), scope["http_version"]).copy()
        cdef str path = scope["path"], method = scope["method"]
        cdef bytes query = scope["query_string"]
        if method is not "GET":
            environ["REQUEST_METHOD"] = method
        if is_plain(path) and not scope.get("root_path"):
            environ["PATH_INFO"] = path
        else:
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = script_and_path(scope)
        if query:
            environ["QUERY_STRING"] = query.decode("latin-1")
        add_client(environ, scope.get("client"))
        add_headers(environ, scope["headers"])
        environ["wsgi.input"] = body
        if not has_port(scope.get("server")):
            name_server(environ)
        return environ

    cdef dict environ_of_head(self, Request head, Peers peers):
        cdef dict environ
        if needs_scope(head, peers):
            return None
        environ = self.template_of(peers.server, peers.scheme, "1.1" if head.minor else "1.0").copy()
        if head.method != HTTP_GET:
            environ["REQUEST_METHOD"] = method_name(head.method)
        environ["PATH_INFO"] = PyUnicode_DecodeASCII(head.head + head.path.start, head.path.size, NULL)
        if head.query.size:
            environ["QUERY_STRING"] = PyUnicode_DecodeASCII(head.head + head.query.start, head.query.size, NULL)
        if peers.port is None:
            add_client(environ, peers.client)
            peers.port = environ.get("REMOTE_PORT")
        else:
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = peers.client[0], peers.port
        add_fields(environ, head)
        if not has_port(peers.server):
            name_server(environ)
        return environ

    cdef dict template_of(self, object server, object scheme, object version):
        """Return the template of environs with these ends, which are mostly the very objects of the last request."""
        cdef tuple last, ends
        cdef dict template
        errors = system.get("stderr")
        with cython.critical_section(self):
            last = self.last
            if errors is not self.errors:  # it has been replaced
                self.errors = errors
                self.templates.clear()
                last = None
            if last is None or last[0] is not server or last[1] is not scheme or last[2] is not version:
                ends = (server, scheme, version)
                template = self.templates.get(ends)
                if template is None:
                    template = self.make_template(ends)
                self.last = last = (server, scheme, version, template)
        return <dict>last[3]

    cdef dict make_template(self, tuple ends):
        # What each request sets comes first: the table need not grow, and these are found where they are looked for first.
        cdef dict template = dict.fromkeys(REQUEST_KEYS)
        template.update(self.constants)
        server, scheme, version = ends
        template["SERVER_PROTOCOL"] = f"HTTP/{version}"
        template["wsgi.url_scheme"] = scheme
        if scheme == "https":
            template["HTTPS"] = "on"
        template["REMOTE_ADDR"] = ""  # for a client of a UNIX socket
        template["REQUEST_METHOD"] = "GET"
        template["SCRIPT_NAME"] = template["QUERY_STRING"] = ""
        template["wsgi.errors"] = self.errors
        if has_port(server):
            template["SERVER_NAME"] = server[0]
            template["SERVER_PORT"] = str(server[1])
        if len(self.templates) < KNOWN_ENDS:
            self.templates[ends] = template
        return template


cdef bint has_port(server) except -1:
    """Return whether this address of the server names it: that of a UNIX socket does not."""
    return bool(server) and server[1] is not None


cdef int add_client(dict environ, client) except -1:
    if client and client[1]:
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = port_text(client[1])
        return 0
    if client:
        environ["REMOTE_ADDR"] = client[0]
    del environ["REMOTE_PORT"]  # a proxy may not name the port
    return 0


cdef int name_server(dict environ) except -1:
    """Take the server's name and port from Host, for a UNIX socket: neither may be empty."""
    name, colon, port = environ.get("HTTP_HOST", "").rpartition(":")
    if not colon or not port.isdigit():
        name, port = environ.get("HTTP_HOST", ""), ""
    environ["SERVER_NAME"] = name or "localhost"
    environ["SERVER_PORT"] = port or DEFAULT_PORTS.get(environ["wsgi.url_scheme"], "80")
    return 0
