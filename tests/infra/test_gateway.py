"""What API Gateway answers itself: OCI error documents, and a challenge on every 401."""

import json
import re

import pytest

from chalicelib.oci.errors import ErrorCode
from infra import gateway
from infra.gateway import RESPONSES, GatewayResponse

HOST = "abcdefghij.execute-api.eu-west-1.amazonaws.com"
# What AWS can be told to answer otherwise (supported gateway response types), and what it is left to say itself.
OF_KEYS_THAT_WE_DO_NOT_USE = {
    "API_CONFIGURATION_ERROR",
    "EXPIRED_TOKEN",
    "INVALID_API_KEY",
    "INVALID_SIGNATURE",
    "WAF_FILTERED",
}
EVERY_TYPE = OF_KEYS_THAT_WE_DO_NOT_USE | {
    "ACCESS_DENIED",
    "AUTHORIZER_CONFIGURATION_ERROR",
    "AUTHORIZER_FAILURE",
    "BAD_REQUEST_BODY",
    "BAD_REQUEST_PARAMETERS",
    "DEFAULT_4XX",
    "DEFAULT_5XX",
    "INTEGRATION_FAILURE",
    "INTEGRATION_TIMEOUT",
    "MISSING_AUTHENTICATION_TOKEN",
    "QUOTA_EXCEEDED",
    "REQUEST_TOO_LARGE",
    "RESOURCE_NOT_FOUND",
    "THROTTLED",
    "UNAUTHORIZED",
    "UNSUPPORTED_MEDIA_TYPE",
}


def rendered(response: GatewayResponse) -> str:
    """Put in what API Gateway puts in, which it has quoted already."""
    return gateway.body(response).replace("$context.error.messageString", '"Forbidden"')


def test_every_type_has_an_answer_of_ours_or_the_default_s() -> None:
    assert {response.type for response in RESPONSES} == EVERY_TYPE - OF_KEYS_THAT_WE_DO_NOT_USE


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.type)
def test_an_answer_is_an_error_document_with_a_sentence(response: GatewayResponse) -> None:
    [error] = json.loads(rendered(response))["errors"]

    assert error["code"] in ErrorCode.__members__
    assert error["message"]


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.type)
def test_a_401_has_the_challenge_and_nothing_else_has(response: GatewayResponse) -> None:
    headers = gateway.headers(response, HOST)

    assert (response.status == 401) == ("gatewayresponse.header.WWW-Authenticate" in headers)


def test_both_refusals_of_the_authorizer_are_401() -> None:
    by_type = {response.type: response.status for response in RESPONSES}

    assert (by_type["UNAUTHORIZED"], by_type["ACCESS_DENIED"]) == (401, 401)


def test_the_challenge_leads_to_the_token_service_of_that_host() -> None:
    [fields] = [re.findall(r'(\w+)="([^"]*)"', gateway.challenge(HOST))]

    assert dict(fields) == {"realm": f"https://{HOST}/service/token", "service": HOST}


@pytest.mark.parametrize("response", RESPONSES, ids=lambda response: response.type)
def test_header_values_are_literals_that_api_gateway_can_read(response: GatewayResponse) -> None:
    for value in gateway.headers(response, HOST).values():
        assert re.fullmatch(r"'[^']+'", value)
