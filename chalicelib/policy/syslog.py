"""Audit events as syslog messages.

Invariant: a message is one line, whatever names are in it: every text is quoted as JSON quotes it.

Specification: RFC 5424, a line for each message as in RFC 6587, section 3.4.2; the fields of Harbor's own messages.
"""

import json

from chalicelib.policy.audit import Event

# Facility 13 is "log audit", severity 6 "informational".
_PRIORITY = 13 * 8 + 6


def message(number: int, time: str, event: Event) -> bytes:
    """Return the message of an event with its id and time, and the end of its line."""
    fields = {
        "operator": event.username,
        "resourceType": event.resource_type,
        "action": event.operation,
        "resource": event.resource,
        "operation_description": event.description,
        "operation_result": event.succeeded,
        "project_id": event.project_id,
        "id": number,
        "time": time,
    }
    text = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
    return f"<{_PRIORITY}>1 {time} - roadstead - {event.type} - {text}\n".encode(errors="replace")
