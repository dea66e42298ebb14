"""TLS: the certificate must be of somebody trusted, and of the backend's name."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.app.backends.support import OK, answer, answering, calling, post, serving
from tests.app.backends.test_caller import UNAVAILABLE, fixed
from verifiers.lent import BackendError

NAME = "backend.test"


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS with a self-signed certificate of `name`, and the certificate's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, file


@pytest.mark.parametrize(("name", "trusted"), [(NAME, False), ("other.test", True), ("127.0.0.1", True)])
async def test_a_wrong_certificate_is_refused(
    name: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, file = certificate(tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with (
        serving(answering(answer()), tls=tls) as server,
        calling(server.url(NAME, "https"), lookup=fixed("127.0.0.1")) as it,
    ):
        with pytest.raises(BackendError, match="TLS certificate that is not valid for it") as raised:
            await post(it)
    assert (raised.value.type, raised.value.retryable) == (UNAVAILABLE, False)
    assert server.requests == []


async def test_a_trusted_certificate_of_the_name_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tls, file = certificate(tmp_path, NAME)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    async with (
        serving(answering(answer()), tls=tls) as server,
        calling(server.url(NAME, "https"), lookup=fixed("127.0.0.1")) as it,
    ):
        assert await post(it) == OK


async def test_a_server_that_shakes_no_hands() -> None:
    async with (
        serving(answering(answer())) as server,
        calling(server.url(NAME, "https"), lookup=fixed("127.0.0.1"), connect_s=0.3, retries=0) as it,
    ):
        with pytest.raises(BackendError, match="could not be connected to in time"):
            await post(it)
    assert server.requests == []
