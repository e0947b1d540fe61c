"""The control socket of a server: who may ask for what, and what it responds."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
from typing import Any

from fastserve import _version
from fastserve.metrics import status
from fastserve.metrics.listener import Endpoint, Listener, Response, parsed
from fastserve.metrics.service import endpoints
from fastserve.metrics.source import Source
from fastserve.net.sockets import SocketFile
from fastserve.operations.configuration import configuration
from fastserve.operations.control_socket import bound
from fastserve.operations.orders import Controlled, Order, Refused
from fastserve.operations.peer import may_order, peer_of
from fastserve.operations.verbs import GET, Asked, Unknown, Wrong, asked
from fastserve.options.table import Options

OWN_MODE = 0o600
TEXTS = {"stacks"}  # verbs whose responses are plain text

logger = logging.getLogger("fastserve.error")


class Control:
    """The control socket of a server; made by bound(), which raises OSError, then start() and stop()."""

    def __init__(self, options: Options, sock: socket.socket, file: SocketFile) -> None:
        self.options = options
        self.sock = sock
        self.file = file
        self.listener: ControlListener | None = None
        self.stopped = False
        self.owns_file = True  # and removes it

    @classmethod
    def bound(cls, options: Options, inherited: socket.socket | None = None) -> Control | None:
        """Bind the socket of the option, None without it. Raises OSError saying what failed.

        A predecessor's socket is used if it has the same path; its file belongs to the predecessor until `owns_file`.
        """
        if options.control_socket is None:
            return None
        if inherited is not None:
            path = os.path.abspath(os.fspath(options.control_socket))  # noqa: PTH100
            if os.path.abspath(inherited.getsockname()) == path:  # noqa: PTH100
                made = cls(options, inherited, SocketFile(path))
                made.owns_file = False
                return made
            inherited.close()
        return cls(options, *bound(os.fspath(options.control_socket), mode_of(options)))

    def start(self, source: Source, controlled: Controlled) -> None:
        self.listener = ControlListener(self, source, controlled)
        self.listener.start()
        logger.info("Control socket at %s", self.file.path)

    def let_go(self) -> None:
        """Stop, and leave the file to a successor."""
        self.owns_file = False
        self.stop()

    def stop(self) -> None:
        if self.stopped:
            return  # by now it may be another server's
        self.stopped = True
        if self.owns_file:
            self.file.remove()
        if self.listener is not None:
            self.listener.stop()
        self.sock.close()


class ControlListener(Listener):
    name = "control"

    def __init__(self, control: Control, source: Source, controlled: Controlled) -> None:
        super().__init__([control.sock], {})
        self.source = source
        self.options = control.options
        self.controlled = controlled
        self.group = control.file.path.stat().st_gid
        self.metrics: Endpoint = endpoints(source, control.options)["/metrics"]

    def respond_to(self, client: socket.socket, head: bytes, strict: bool) -> tuple[Response, bool]:
        request = parsed(head)
        if request is None:
            return super().respond(head, strict)
        with_body = request.method != "HEAD"
        method = request.method if with_body else GET
        try:
            found = asked(method, request.path, request.query)
            if found.verb.word == "metrics":
                return self.metrics(request), with_body
            if method != GET:
                self.check(client, found)
            result = self.result_of(found)
        except Unknown as exc:
            if not exc.allowed:
                return error(404, "not found"), with_body
            allowed = ", ".join(exc.allowed)
            return error(405, f"only {allowed}")._replace(headers=(("Allow", allowed),)), True
        except Wrong as exc:
            return error(400, str(exc)), with_body
        except Refused as exc:
            return error(exc.status, str(exc)), with_body
        except Exception:
            logger.exception("Exception in the control listener, at %s", request.path)
            return error(500, "internal server error"), with_body
        if found.verb.word in TEXTS:
            return Response(200, f"{result}\n"), with_body
        return as_json(200, result), with_body

    def check(self, client: socket.socket, found: Asked) -> None:
        """Log a verb that changes something. Raises Refused unless its peer may use it."""
        try:
            peer = peer_of(client)
        except OSError as exc:
            raise Refused(403, f"it is not known who asks: {exc}") from None
        if not may_order(peer, mode_of(self.options), self.group):
            logger.warning("Control: POST %s refused to pid %d, uid %d", found.target, peer.pid, peer.uid)
            raise Refused(403, f"uid {peer.uid} may read, but not use this verb")
        logger.info("Control: POST %s from pid %d, uid %d", found.target, peer.pid, peer.uid)

    def result_of(self, found: Asked) -> Any:
        """Return what a verb comes to. Raises Refused."""
        reader = READERS.get(found.verb.word)
        if reader is not None:
            return reader(self, found)
        order = Order(found)
        self.controlled.submit(order)
        return order.wait()

    # What is read in this thread

    def status(self, found: Asked) -> Any:
        return {**status.status_of(self.source), "listeners": self.listeners(found)}

    def workers(self, found: Asked) -> Any:
        return status.status_of(self.source)["workers"]

    def worker(self, found: Asked) -> Any:
        workers = [each for each in self.workers(found) if each["worker"] == found.worker]
        if not workers:
            raise Refused(404, f"there is no worker {found.worker}")
        return workers[-1]

    def listeners(self, found: Asked) -> Any:
        sums: dict[str, tuple[int, int]] = {}
        for name, length, limit in status.listeners_of(self.source):
            before = sums.get(name, (0, 0))
            sums[name] = (before[0] + length, before[1] + limit)
        return [{"listener": name, "length": length, "limit": limit} for name, (length, limit) in sums.items()]

    def config(self, found: Asked) -> Any:
        return configuration(self.options)

    def version(self, found: Asked) -> Any:
        return {
            "version": _version.VERSION,
            "python": platform.python_version(),
            "implementation": platform.python_implementation(),
            "platform": platform.platform(),
            "pid": os.getpid(),
        }


READERS = {
    "status": ControlListener.status,
    "workers": ControlListener.workers,
    "worker": ControlListener.worker,
    "listeners": ControlListener.listeners,
    "config": ControlListener.config,
    "version": ControlListener.version,
}


def mode_of(options: Options) -> int:
    return OWN_MODE if options.control_socket_mode is None else options.control_socket_mode


def as_json(code: int, value: Any) -> Response:
    return Response(code, json.dumps(value) + "\n", "application/json")


def error(code: int, text: str) -> Response:
    return as_json(code, {"error": text})
