"""Names of certificates, and what belongs to a name that a client asks for."""

from __future__ import annotations

import ssl
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fastserve.net import certificates
from fastserve.net.server_names import ByName, silence_wrong_names


def der(made: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode())


def test_names() -> None:
    authority = trustme.CA()
    made = authority.issue_cert("A.example", "*.b.example", "127.0.0.1", "2001:db8::1", "me@x.example", common_name="c")
    assert certificates.names(der(made)) == ["a.example", "*.b.example", "127.0.0.1", "2001:db8::1"]


def test_common_name_counts_without_alternative_names() -> None:
    made = trustme.CA()
    own = x509.load_pem_x509_certificate(made.cert_pem.bytes())  # an authority has no alternative names
    (name,) = own.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    assert name.value and certificates.names(own.public_bytes(Encoding.DER)) == []
    leaf = trustme.CA().issue_cert("me@x.example", common_name="Host.example")
    assert certificates.names(der(leaf)) == ["host.example"]
    person = trustme.CA().issue_cert("me@x.example", common_name="A Person")
    assert certificates.names(der(person)) == []


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x03\x02\x01\x01", b"\xff" * 40])
def test_names_of_what_is_not_a_certificate(data: bytes) -> None:
    assert certificates.names(data) == []


def test_by_name() -> None:
    found: ByName[int] = ByName()
    assert found.add(["a.example", "*.example"], 1)
    assert found.add(["b.example", "a.example", "*.c.example"], 2)
    assert not found.add(["a.example", "b.example"], 3)
    assert [found.find(name) for name in ("a.example", "A.Example.", "b.example", "x.example", "x.c.example")] == [
        1, 1, 2, 1, 2,
    ]  # fmt: skip
    # A `*` is one label, and no name by itself.
    assert [found.find(name) for name in ("x.y.example", "example", ".example.", "", ".", "c.example")] == [
        None, None, 1, None, None, 1,
    ]  # fmt: skip


def test_other_exceptions_that_nothing_handles_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: seen.append(unraisable.exc_value))
    silence_wrong_names()
    once = sys.unraisablehook
    silence_wrong_names()
    assert sys.unraisablehook is once

    class Failing:
        def __del__(self) -> None:
            b"\xff".decode("ascii")

    Failing()
    assert [type(each) for each in seen] == [UnicodeDecodeError]


@pytest.mark.parametrize(
    ("of", "message", "silent"),
    [
        (b"\xff", None, True),
        (None, r"Exception ignored in ssl servername callback while decoding name b'\xff'", True),
        (None, "Exception ignored in something else", False),
        (None, None, False),
    ],
)
def test_names_as_each_python_reports_them(
    monkeypatch: pytest.MonkeyPatch, of: Any, message: str | None, silent: bool
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    silence_wrong_names()
    wrong = UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range(128)")
    hook: Any = sys.unraisablehook
    hook(SimpleNamespace(exc_value=wrong, object=of, err_msg=message))
    assert (seen == []) == silent
