"""TLS: certificates are verified unless the user says otherwise, each time."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor, serving


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine that nobody has signed; the file holds its key as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return certificate(tmp_path)


@pytest.fixture
def secure(authority: Path) -> Iterator[Harbor]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority)
    with serving(context) as harbor:
        yield harbor


def test_a_certificate_that_nobody_vouches_for_is_refused(nobody: Cli, secure: Harbor) -> None:
    done = nobody.login(secure)

    assert done.exit_code == 5
    assert f"The certificate of {secure.url} is not trusted" in done.stderr
    assert secure.asked == []


def test_insecure_is_said_each_time(nobody: Cli, secure: Harbor) -> None:
    arguments = ("login", secure.url, "-u", "admin", "--password-stdin", "--insecure")

    assert nobody(*arguments, given=secure.passwords["admin"]).exit_code == 0
    assert nobody("project", "list", "--insecure").exit_code == 0
    assert nobody("project", "list").exit_code == 5


def test_an_authority_of_ones_own_is_named_by_the_usual_variable(
    nobody: Cli, secure: Harbor, authority: Path
) -> None:
    done = nobody("status", "--server", secure.url, SSL_CERT_FILE=str(authority))

    assert done.exit_code == 0


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_an_authority_that_cannot_be_read_is_said_in_words(nobody: Cli, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "authority.pem"
    if content is not None:
        path.write_text(content)

    done = nobody("status", "--server", "https://127.0.0.1:1", SSL_CERT_FILE=str(path))

    assert done.exit_code == 1
    assert "Cannot use the settings of this machine for TLS or proxies" in done.stderr


def test_a_proxy_that_is_none_is_said_in_words(nobody: Cli, harbor: Harbor) -> None:
    done = nobody("status", "--server", harbor.url, HTTP_PROXY="gopher://proxy", NO_PROXY="")

    assert done.exit_code == 1
    assert "settings of this machine for TLS or proxies" in done.stderr
