"""The response to a request for a static file."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fastserve._core.http.static import Kept, open_beneath
from fastserve._core.http.static import StaticFiles as CoreFiles
from fastserve._core.loop.clock import http_date
from fastserve.static.media_types import media_type
from fastserve.static.mounts import Mount, decoded, mounts_of, name_of
from fastserve.static.rules import CODINGS, Fields, Part, codings_of, joined, judge

if TYPE_CHECKING:
    from fastserve.options.table import Options

FieldList = list[tuple[bytes, bytes]]

SMALL = 65536  # bytes up to which a file is read at once rather than sent with sendfile(2)
# A file system's clock advances in steps of some milliseconds: two changes within one step look like one.
SETTLED_NS = 2_000_000_000
ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG, errno.EINVAL, errno.ENXIO}
ABSENT |= {errno.EILSEQ}  # not UTF-8 where names have to be
READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
REFUSED: FieldList = [(b"content-type", b"text/plain; charset=utf-8")]


class Answer(NamedTuple):
    """A response: its `body` or, with a descriptor, `size` bytes of that file, which the receiver must close."""

    status: int
    headers: FieldList
    body: bytes
    fd: int = -1
    offset: int = 0
    size: int = 0
    kept: Kept | None = None  # what the core remembers


class Opened(NamedTuple):
    fd: int
    name: bytes
    status: os.stat_result
    coding: bytes = b""


class StaticFiles:
    """The files of --static. Raises ConfigError for a directory that cannot be read."""

    def __init__(self, options: Options) -> None:
        self.mounts = mounts_of(options.static or [])
        self.added: FieldList = [
            (name.lower().encode("latin-1"), value.strip(" \t").encode("latin-1"))
            for name, value in options.static_headers or []
        ]
        if options.static_expires is not None:
            self.added.append((b"cache-control", b"max-age=%d" % options.static_expires))

    def for_core(self) -> CoreFiles:
        """Return these files in the form that the core uses."""
        last = self.mounts[-1]
        everything = last.directory if last.leaves_the_rest else None
        return CoreFiles([mount.route for mount in self.mounts], everything, self.find, self.answer)

    def find(self, path: bytes) -> Mount | None:
        """Return the mount of a path as the client sent it, None if it is below no route."""
        return self.located(path)[0]

    def located(self, path: bytes) -> tuple[Mount | None, bytes]:
        """Return the mount of a path, and the rest of the path after its route."""
        if b"%" in path:
            path = decoded(path)
        for mount in self.mounts:
            if path == mount.route or path.startswith(mount.route + b"/"):
                return mount, path[len(mount.route) + 1 :]
        return None, b""

    def answer(self, method: str, path: bytes, fields: Fields) -> Answer | None:
        """Return the response to a request, None if the application is to be called. Raises OSError."""
        mount, rest = self.located(path)
        if mount is None:
            return None
        if method not in ("GET", "HEAD"):
            return None if mount.leaves_the_rest else refusal(405, [(b"allow", b"GET, HEAD")])
        name = name_of(rest)
        try:
            original = None if name is None else opened(mount.directory, name)
        except PermissionError:
            return refusal(403)
        if original is None:
            return None if mount.leaves_the_rest else refusal(404)
        ends = [end for _, end in CODINGS if exists(mount.directory, original.name + end)]
        chosen = original
        try:
            for variant in variants(mount.directory, original.name, ends, joined(fields, b"accept-encoding")):
                chosen = variant
                break
            return self.with_file(method, mount.directory, original.name, chosen, bool(ends), fields)
        finally:
            if chosen is not original:
                os.close(original.fd)

    def with_file(
        self, method: str, directory: bytes, name: bytes, file: Opened, varies: bool, fields: Fields
    ) -> Answer:
        """Return the response with a file; its descriptor is closed unless the response has it."""
        size, modified = file.status.st_size, file.status.st_mtime_ns
        etag = entity_tag(file)
        validators = [(b"etag", etag)]
        if modified <= time.time_ns():  # RFC 9110 section 8.8.2.1
            validators.append((b"last-modified", http_date(modified // 1_000_000_000)))
        varying = [(b"vary", b"accept-encoding")] if varies else []
        told = [*validators, *varying, *self.added]
        described = [(b"content-type", media_type(name))]
        if file.coding:
            described.append((b"content-encoding", file.coding))
        headers = [*described, *told, (b"accept-ranges", b"bytes"), (b"content-length", b"%d" % size)]
        part = judge(method, fields, etag, modified // 1_000_000_000, size)
        keep = False
        try:
            content = read_whole(file) if size <= SMALL else None
            kept = None
            if content is None or (len(content) == size and is_settled(file)):
                kept = Kept(directory, file.name, file.status, headers, etag, told, content)
            if part.status in (412, 416):
                span = [(b"content-range", b"bytes */%d" % size)] if part.status == 416 else []
                return refusal(part.status, [*span, *validators, *varying])
            if part.status == 304:
                return Answer(304, told, b"", kept=kept)
            if part.status == 206:
                headers = partial(headers, part, size)
            if content is not None:
                return Answer(part.status, headers, content[part.offset : part.offset + part.size], kept=kept)
            if method == "HEAD":
                return Answer(part.status, headers, b"", kept=kept)
            keep = True
            return Answer(part.status, headers, b"", file.fd, part.offset, part.size, kept)
        finally:
            if not keep:
                os.close(file.fd)


def opened(directory: bytes, name: bytes) -> Opened | None:
    """Open a regular file below a directory, None if there is none. Raises PermissionError and other OSErrors."""
    try:
        fd = open_beneath(directory, name)
        if fd is None:
            fd = open_resolved(directory, name)
    except OSError as exc:
        if exc.errno in ABSENT:
            return None
        raise
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        return None
    return Opened(fd, name, status)


def open_resolved(directory: bytes, name: bytes) -> int:
    """Open a file below a directory on systems without openat2(2). Raises OSError."""
    base = Path(os.fsdecode(directory)).resolve()
    path = (base / os.fsdecode(name)).resolve(strict=True)
    if base not in path.parents:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return os.open(path, READ | getattr(os, "O_NOFOLLOW", 0))


def exists(directory: bytes, name: bytes) -> bool:
    return os.path.exists(directory + b"/" + name)  # noqa: PTH110  # bytes


def variants(directory: bytes, name: bytes, ends: list[bytes], accepted: bytes | None) -> Iterator[Opened]:
    """Yield the compressed variants of a file that a client accepts, the best first."""
    for coding, end in codings_of(accepted) if ends else ():
        if end in ends:
            try:
                variant = opened(directory, name + end)
            except PermissionError:
                continue
            if variant is not None:
                yield variant._replace(coding=coding)


def entity_tag(file: Opened) -> bytes:
    """Return the strong entity tag of a file in its present state. A file and its variants have different ones."""
    variant = b"-" + file.coding if file.coding else b""
    return b'"%x-%x%s"' % (file.status.st_mtime_ns, file.status.st_size, variant)


def read_whole(file: Opened) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fd, file.status.st_size, 0)
    return os.read(file.fd, file.status.st_size)


def is_settled(file: Opened) -> bool:
    """Return whether a file is unchanged since it was opened, and old enough for any further change to show."""
    after = os.fstat(file.fd)
    before = file.status
    same = (after.st_size, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_size,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    return same and time.time_ns() - max(after.st_mtime_ns, after.st_ctime_ns) > SETTLED_NS


def partial(headers: FieldList, part: Part, size: int) -> FieldList:
    """Return the headers of a response with a part of the file."""
    span = b"bytes %d-%d/%d" % (part.offset, part.offset + part.size - 1, size)
    rest = [(name, value) for name, value in headers if name != b"content-length"]
    return [*rest, (b"content-range", span), (b"content-length", b"%d" % part.size)]


def refusal(status: int, fields: FieldList | None = None) -> Answer:
    return Answer(status, [*REFUSED, *(fields or [])], HTTPStatus(status).phrase.encode())
