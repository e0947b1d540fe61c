"""The reader of forms in parts."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from demo.forms import BOUNDARY, cut, field, form

from fastserve.demo import multipart
from fastserve.demo.multipart import MultipartError, MultipartReader, Part


def read(pieces: Iterable[bytes]) -> list[tuple[Part, bytes]]:
    """The parts with their whole content."""
    reader = MultipartReader(BOUNDARY)
    parts: list[tuple[Part, bytes]] = []
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, Part):
                parts.append((event, b""))
            else:
                parts[-1] = (parts[-1][0], parts[-1][1] + event)
    reader.close()
    return parts


class TestMultipartReader:
    # Line breaks, dashes and beginnings of the boundary, so that every way to cut has something to trip over.
    CONTENT = b"\r\n\r\n----gap\r\n--\r\n----ga\r\n----gaq--\r\r\n"

    @pytest.mark.parametrize("size", [*range(1, 40), 1000])
    def test_any_segmentation_gives_the_same(self, size: int) -> None:
        content = self.CONTENT.replace(b"\r\n----gap\r\n", b"\r\n---gap\r\n")
        body = b"preamble\r\n" + form(field("note", None, b"hi"), field("file", "a.png", content)) + b"epilogue"
        assert read(cut(body, size)) == [
            (Part("note", None, ""), b"hi"),
            (Part("file", "a.png", "image/png"), content),
        ]

    def test_empty_content_and_no_preamble(self) -> None:
        assert read([form(field("file", "empty", b""))]) == [(Part("file", "empty", "image/png"), b"")]

    def test_holds_no_more_than_the_delimiter_of_a_content(self) -> None:
        reader = MultipartReader(BOUNDARY)
        reader.feed(b"--" + BOUNDARY + b"\r\n" + field("file", "a", b""))
        taken = 0
        for piece in cut(random.Random(3).randbytes(1_000_000), 10_000):
            taken += sum(len(event) for event in reader.feed(piece) if isinstance(event, bytes))
        assert taken > 1_000_000 - len(BOUNDARY) - 4

    def test_padding_after_the_boundary(self) -> None:
        body = form(field("a", None, b"x")).replace(b"--" + BOUNDARY + b"\r\n", b"--" + BOUNDARY + b" \t \r\n")
        assert read(cut(body, 3)) == [(Part("a", None, ""), b"x")]

    @pytest.mark.parametrize(
        ("sent", "name"),
        [
            ("plain.txt", "plain.txt"),
            ("größe.txt", "größe.txt"),
            ("a%22b%0Ac.txt", 'a"b\nc.txt'),
            (r"a\"b.txt", 'a"b.txt'),
            (r"C:\dir\b.txt", r"C:\dir\b.txt"),
            ("semi;colon=.txt", "semi;colon=.txt"),
            ("", ""),
        ],
    )
    def test_file_names(self, sent: str, name: str) -> None:
        assert read([form(field("file", sent, b""))])[0][0].filename == name

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "before its closing"),
            (form(field("a", None, b"x"))[:-5], "before its closing"),
            (b"--" + BOUNDARY + b"x\r\n", "does not end its line"),
            (b"--" + BOUNDARY + b" " * 200, "does not end its line"),
            (form(b"Content-Type: a/b\r\n\r\n"), "no content-disposition"),
            (form(b"Content-Disposition: attachment\r\n\r\n"), "no content-disposition"),
            (form(b"\r\n\r\n"), "no content-disposition"),
            (form(b"nonsense\r\n\r\n"), "without a colon"),
            (form(b"x: " + b"y" * 9000), "longer than 8192"),
            (form(*[field("a", None, b"x")] * 65), "more than 64 parts"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 100_000])
    def test_malformed(self, body: bytes, words: str, size: int) -> None:
        with pytest.raises(MultipartError, match=words):
            read(cut(body, size))

    def test_64_parts_and_a_head_of_8192_bytes_are_taken(self) -> None:
        assert len(read([form(*[field("a", None, b"x")] * 64)])) == 64
        head = field("a", None, b"")[:-4]
        padded = head + b"\r\nx: " + b"y" * (multipart.MAX_PART_HEAD - len(head) - 7)
        assert read(cut(form(padded + b"\r\n\r\n"), 1)) == [(Part("a", None, ""), b"")]

    @pytest.mark.parametrize(
        ("content_type", "boundary"),
        [
            ("multipart/form-data; boundary=abc", b"abc"),
            ('Multipart/Form-Data;charset=utf-8; Boundary="a b?c"', b"a b?c"),
            ("multipart/mixed; boundary=abc", None),
            ("text/plain", None),
            ("", None),
        ],
    )
    def test_boundary(self, content_type: str, boundary: bytes | None) -> None:
        assert multipart.boundary_of(content_type) == boundary

    @pytest.mark.parametrize("parameter", ["", ";boundary=", ";boundary=" + "x" * 71, ';boundary="a "', ";boundary=ü"])
    def test_boundary_that_is_none(self, parameter: str) -> None:
        with pytest.raises(MultipartError, match="no valid boundary"):
            multipart.boundary_of("multipart/form-data" + parameter)
