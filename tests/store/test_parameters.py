"""Secrets in SSM: signed as botocore signs, read in one request, and named where they are missing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from chalicelib.config import Settings
from chalicelib.services import build, complete
from chalicelib.store.parameters import fetch
from chalicelib.store.signing import Credentials, signed_headers
from tests.engines.engine import Engine, client
from tests.engines.moto_server import moto

KEY, PASSWORD = "ab" * 32, "correct horse"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as running:
        ssm = client(running, "ssm")
        ssm.put_parameter(Name="/roadstead/signing-key", Value=KEY, Type="SecureString")
        ssm.put_parameter(Name="/roadstead/admin-password", Value=PASSWORD, Type="SecureString")
        ssm.close()
        yield running


def settings(engine: Engine, **variables: str) -> Settings:
    return Settings.from_env(
        {
            "AWS_REGION": engine.region,
            "AWS_ENDPOINT_URL": engine.endpoint,
            "AWS_ACCESS_KEY_ID": engine.access_key,
            "AWS_SECRET_ACCESS_KEY": engine.secret_key,
            **variables,
        }
    )


def test_secrets_come_decrypted_from_ssm(engine: Engine) -> None:
    stored = settings(
        engine,
        ROADSTEAD_SIGNING_KEY="ssm:/roadstead/signing-key",
        ROADSTEAD_ADMIN_PASSWORD="ssm:/roadstead/admin-password",
    )
    assert (stored.signing_key, stored.admin_password) == (b"", "")

    found = build(stored).settings

    assert found.signing_key == bytes.fromhex(KEY)
    assert found.admin_password == PASSWORD
    assert not found.parameters


def test_one_secret_may_be_in_ssm_and_the_other_in_the_environment(engine: Engine) -> None:
    mixed = settings(engine, ROADSTEAD_SIGNING_KEY="ssm:/roadstead/signing-key", ROADSTEAD_ADMIN_PASSWORD="x")

    assert complete(mixed).admin_password == "x"


def test_a_parameter_that_is_missing_is_named(engine: Engine) -> None:
    with pytest.raises(LookupError, match="no parameter /roadstead/other"):
        complete(settings(engine, ROADSTEAD_SIGNING_KEY="ssm:/roadstead/other"))


def test_no_secret_shows_in_the_settings_text(engine: Engine) -> None:
    text = repr(complete(settings(engine, ROADSTEAD_SIGNING_KEY="ssm:/roadstead/signing-key")))

    assert KEY not in text
    assert str(bytes.fromhex(KEY)) not in text


@pytest.mark.parametrize("token", ["", "IQoJb3JpZ2luX2VjEE4aCXVzLWVhc3QtMSJH+/="])
def test_the_signature_is_botocore_s(token: str) -> None:
    body = b'{"Names":["/roadstead/signing-key"],"WithDecryption":true}'
    sent = {
        "content-type": "application/x-amz-json-1.1",
        "host": "ssm.eu-central-1.amazonaws.com",
        "x-amz-target": "T",
    }
    request = AWSRequest("POST", "https://ssm.eu-central-1.amazonaws.com/", dict(sent), body)
    SigV4Auth(BotoCredentials("AKID", "secret", token or None), "ssm", "eu-central-1").add_auth(request)
    moment = datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    ours = signed_headers(sent, body, "ssm", "eu-central-1", Credentials("AKID", "secret", token), moment)

    assert ours["authorization"] == request.headers["Authorization"]


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(400)
        self.end_headers()
        self.wfile.write(b'{"__type":"com.amazon#AccessDeniedException"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_refusal_says_why() -> None:
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        Thread(target=server.handle_request).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"

        with pytest.raises(LookupError, match="AccessDeniedException"):
            fetch(["/a"], "eu-west-1", endpoint, Credentials("a", "b"), datetime.now(UTC))


def test_no_answer_is_an_oserror() -> None:
    with pytest.raises(OSError, match="refused"):
        fetch(["/a"], "eu-west-1", "http://127.0.0.1:1", Credentials("a", "b"), datetime.now(UTC))
