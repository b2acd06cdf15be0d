"""TLS: certificates are verified unless the user says otherwise, each time."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor, serving
from tests.store.remote import certificates


def certificate(folder: Path) -> Path:
    """Make a certificate for this machine that nobody has signed; the file holds its key as well."""
    path = folder / "certificate.pem"
    certificates.make(path)
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
