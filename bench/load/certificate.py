"""The certificate of the servers in rows over TLS, made anew for each run."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """Files in PEM form: the chain, the key (in PKCS 8, the one form that all servers read), and who vouches for it."""

    chain: str
    key: str
    authority: str


@functools.cache
def certificate() -> Certificate:
    """The process's certificate, for 127.0.0.1, on the curve P-256; its files are gone when the process has ended."""
    import trustme
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        load_pem_private_key,
    )

    directory = tempfile.TemporaryDirectory(prefix="fastserve-bench-tls-")
    atexit.register(directory.cleanup)
    folder = Path(directory.name)
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.ECDSA)
    key = load_pem_private_key(made.private_key_pem.bytes(), None)
    contents = {
        "chain.pem": b"".join(blob.bytes() for blob in made.cert_chain_pems),
        "key.pem": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "authority.pem": authority.cert_pem.bytes(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return Certificate(*(str(folder / name) for name in contents))


@functools.cache
def client_context(http2: bool = False) -> ssl.SSLContext:
    """What a client needs to be sure of that certificate; with `http2` it asks for that."""
    context = ssl.create_default_context(cafile=certificate().authority)
    if http2:
        context.set_alpn_protocols(["h2"])
    return context
