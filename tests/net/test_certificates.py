"""Looking into certificates, against the library that does it all."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from fastserve.net import certificates

KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey] = {
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def certificate(subject: x509.Name, key: str = "ec") -> x509.Certificate:
    private = KEYS[key]
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(x509.Name([])).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now).public_key(private.public_key())
    return builder.sign(private, None if key == "ed25519" else hashes.SHA256())


def der(made: x509.Certificate) -> bytes:
    return made.public_bytes(serialization.Encoding.DER)


def pair(oid: x509.ObjectIdentifier, value: str, kind: _ASN1Type | None = None) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value, kind)


COMMON = NameOID.COMMON_NAME


@pytest.mark.parametrize(
    "names",
    [
        [[pair(COMMON, "me")]],
        [[pair(NameOID.COUNTRY_NAME, "DE")], [pair(NameOID.ORGANIZATION_NAME, "A, B + C")], [pair(COMMON, "Zoë")]],
        [[pair(COMMON, "a"), pair(NameOID.USER_ID, "u")], [pair(NameOID.DOMAIN_COMPONENT, "example")]],
        [[pair(COMMON, ' "<\\>;=# ')], [pair(NameOID.STREET_ADDRESS, "#1")], [pair(NameOID.LOCALITY_NAME, " ")]],
        [[pair(NameOID.STATE_OR_PROVINCE_NAME, "x")], [pair(NameOID.ORGANIZATIONAL_UNIT_NAME, "\u4e2d\u6587")]],
        [[pair(COMMON, "\u4e2d", _ASN1Type.BMPString)], [pair(COMMON, "a", _ASN1Type.UniversalString)]],
        [[pair(COMMON, "x" * 64)]] * 4,
        [],
    ],
    ids=str,
)
def test_subject(names: list[list[x509.NameAttribute[str]]]) -> None:
    made = certificate(x509.Name([x509.RelativeDistinguishedName(each) for each in names]))
    assert certificates.subject(der(made)) == made.subject.rfc4514_string()


def test_attribute_without_a_name_is_in_hexadecimal() -> None:
    made = certificate(x509.Name([pair(NameOID.EMAIL_ADDRESS, "a@b"), pair(COMMON, "c")]))
    assert certificates.subject(der(made)) == "CN=c,1.2.840.113549.1.9.1=#1603614062"


def test_key_algorithm() -> None:
    name = x509.Name([pair(COMMON, "me")])
    pems = [certificate(name, key).public_bytes(serialization.Encoding.PEM).decode() for key in KEYS]
    assert len({certificates.key_algorithm(pem) for pem in pems}) == 3
    assert certificates.key_algorithm(pems[0]) == certificates.key_algorithm(
        certificate(x509.Name([])).public_bytes(serialization.Encoding.PEM).decode()
    )


def test_first_certificate_of_a_file() -> None:
    one, two = certificate(x509.Name([])), certificate(x509.Name([pair(COMMON, "two")]))
    pem = one.public_bytes(serialization.Encoding.PEM).decode()
    text = "words\n" + pem + two.public_bytes(serialization.Encoding.PEM).decode()
    assert certificates.first_certificate(text) == der(one)
    assert certificates.first_certificate(text.replace("CERTIFICATE", "TRUSTED CERTIFICATE")) == der(one)
    assert certificates.first_certificate("words") is None
    assert certificates.is_well_formed(der(one))


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_what_is_cut_off_is_nothing(size: int) -> None:
    """OpenSSL has read every certificate before, but nothing here depends on that."""
    cut = der(certificate(x509.Name([pair(COMMON, "me")])))[:size]
    assert certificates.subject(cut) is None
    assert not certificates.is_well_formed(cut)


@pytest.mark.parametrize(
    ("tag", "text", "year"),
    [(0x17, b"500101000000Z", 1950), (0x17, b"491231000000Z", 2049), (0x18, b"20500101000000Z", 2050)],
)
def test_moments(tag: int, text: bytes, year: int) -> None:
    """A UTCTime has two digits of the year, from 50 on of the last century (RFC 5280 section 4.1.2.5.1)."""
    moment = certificates.moment(certificates.Element(tag, text, b""))
    assert (
        datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=moment)
    ).year == year


@pytest.mark.parametrize("data", [b"", b"\x30\x03\x02\x01\x00", b"\x30\x82"])
def test_validity_that_cannot_be_read(data: bytes) -> None:
    assert certificates.validity(data) is None
