"""The rules of a project that make tags immutable; `changes.fixed` has what follows from them.

Invariant: a rule answers as it was sent, and holds for the next push that begins after its answer.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, created, done, in_project
from chalicelib.api.harbor.errors import HarborCode, bad_request, not_found, refusing
from chalicelib.api.http import Response
from chalicelib.policy import immutability
from chalicelib.policy.immutability import Rule
from chalicelib.store.directory import immutable_rules


def list_rules(call: HarborCall) -> Response:
    """List the rules of a project, the oldest first."""
    wanted = listing.parse(call.request)
    chosen, total = listing.select(wanted, list(map(immutability.written, immutable_rules.of(call.project))))
    return listing.answered(call, wanted, chosen, total)


def create_rule(call: HarborCall) -> Response:
    """Add a rule."""
    rule = _parsed(call)
    services = call.auditing("immutable-tag", "create", _named(rule))
    with refusing(_CODES):
        number = immutable_rules.add(services.directory, call.project.id, rule)
    return created(call, number)


def update_rule(call: HarborCall) -> Response:
    """Change what is sent of a rule: some clients send no more than whether it is on."""
    number = call.number("immutable_rule_id")
    rule = _parsed(call, immutability.written(_known(call, number)))
    if rule.id != number:
        raise bad_request(f"the body must have the id of the path, {number}")
    services = call.auditing("immutable-tag", "update", _named(rule))
    with refusing(_CODES):
        immutable_rules.change(services.directory, call.project.id, rule)
    return done()


def delete_rule(call: HarborCall) -> Response:
    """Delete a rule: what it alone held can be changed again."""
    number = call.number("immutable_rule_id")
    services = call.auditing("immutable-tag", "delete", _named(_known(call, number)))
    with refusing(_CODES):
        immutable_rules.remove(services.directory, call.project.id, number)
    return done()


def _parsed(call: HarborCall, before: Mapping[str, Any] = MappingProxyType({})) -> Rule:
    sent = {name: value for name, value in call.body().items() if value is not None}
    try:
        return immutability.parse({**before, **sent})
    except ValueError as error:
        raise bad_request(str(error)) from error


def _known(call: HarborCall, number: int) -> Rule:
    found = next((rule for rule in immutable_rules.of(call.project) if rule.id == number), None)
    if found is None:
        raise not_found(f"immutability rule {number}")
    return found


# The conditions that do not hold by fault of the caller.
_CODES = {
    immutable_rules.DUPLICATE: HarborCode.CONFLICT,
    immutable_rules.FULL: HarborCode.BAD_REQUEST,
    immutable_rules.GONE: HarborCode.NOT_FOUND,
}


def _named(rule: Rule) -> str:
    """Return a rule in the words of the audit log."""
    return f"{rule.repositories.decoration} {rule.repositories.pattern}, {rule.tags.decoration} {rule.tags.pattern}"


_ALL = "/projects/{project_name_or_id}/immutabletagrules"
_ONE = f"{_ALL}/{{immutable_rule_id}}"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    _ALL, in_project("immutable-tag", "list"),   list_rules),
    HarborEndpoint("POST",   _ALL, in_project("immutable-tag", "create"), create_rule),
    HarborEndpoint("PUT",    _ONE, in_project("immutable-tag", "update"), update_rule),
    HarborEndpoint("DELETE", _ONE, in_project("immutable-tag", "delete"), delete_rule),
)
# fmt: on
