"""How API Gateway asks a Lambda authorizer of type TOKEN, keeps its policy by token and stage, and reads it.

Specification: "Use API Gateway Lambda authorizers"; IAM's evaluation of policies: a Deny wins, no match is a Deny.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST = 8192
_INVOKE = "execute-api:Invoke"


class RefusedError(Exception):
    """API Gateway answers by itself, with the gateway response of this type."""

    def __init__(self, kind: str, status: int, message: str) -> None:
        super().__init__(message)
        self.kind, self.status, self.message = kind, status, message


@dataclass(frozen=True, slots=True)
class Doorman:
    """One authorizer of an API: its function, the header that it is asked about, and how long answers are kept."""

    function: Callable[[dict[str, Any], Any], Any]
    seconds: int
    now: Callable[[], float]
    header: str = "Authorization"
    kept: dict[tuple[str, str], tuple[float, Mapping[str, Any]]] = field(default_factory=dict)

    def check(self, credentials: str, arn: str) -> None:
        """Let a request to `arn` through, or raise RefusedError."""
        if not credentials:
            raise RefusedError("UNAUTHORIZED", 401, "Unauthorized")
        if not allows(self._policy(credentials, arn), arn):
            raise RefusedError("ACCESS_DENIED", 403, "User is not authorized to access this resource")

    def _policy(self, credentials: str, arn: str) -> Mapping[str, Any]:
        key = ("/".join(arn.split("/")[:2]), credentials)
        until, policy = self.kept.get(key, (0.0, {}))
        if self.now() < until:
            return policy
        policy = _checked(self._ask(credentials, arn))
        self.kept[key] = self.now() + self.seconds, policy
        return policy

    def _ask(self, credentials: str, arn: str) -> Any:
        try:
            return self.function({"type": "TOKEN", "authorizationToken": credentials, "methodArn": arn}, None)
        except Exception as error:
            if str(error) == "Unauthorized":
                raise RefusedError("UNAUTHORIZED", 401, "Unauthorized") from error
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", 500, "Internal server error") from error


def _checked(answer: Any) -> Mapping[str, Any]:
    right = (
        isinstance(answer, dict)
        and isinstance(answer.get("principalId"), str)
        and isinstance(answer.get("policyDocument"), dict)
        and all(isinstance(each, str | int | float | bool) for each in answer.get("context", {}).values())
        and len(json.dumps(answer, separators=(",", ":"))) <= LONGEST
    )
    if not right:
        raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR", 500, "Internal server error")
    document: Mapping[str, Any] = answer["policyDocument"]
    return document


def allows(policy: Mapping[str, Any], arn: str) -> bool:
    """Return whether a policy lets `arn` be invoked."""
    effects = {statement["Effect"] for statement in policy["Statement"] if _concerns(statement, arn)}
    return effects == {"Allow"}


def _concerns(statement: Mapping[str, Any], arn: str) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource"}, "conditions are not emulated"
    return _any(statement["Action"], _INVOKE) and _any(statement["Resource"], arn)


def _any(patterns: str | list[str], text: str) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(_pattern(each).fullmatch(text) for each in listed)


def _pattern(text: str) -> re.Pattern[str]:
    # IAM's `*` and `?` stand for slashes as well.
    return re.compile(re.escape(text).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)
