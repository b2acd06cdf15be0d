"""Logging in to the portal and out of it: cookies and the CSRF token that goes with them.

Invariants:
* The cookie is out of reach of scripts, and sent by no other site's requests that change something (SameSite).
* The CSRF token comes with every answer to a session; what changes something must bring it along.
"""

from dataclasses import replace

from chalicelib.api import identity
from chalicelib.api.harbor.calls import OPEN, SIGNED_IN, HarborCall, HarborEndpoint
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request
from chalicelib.api.http import Response
from chalicelib.store.directory import sessions, users


def log_in(call: HarborCall) -> Response:
    """Begin a session with a name and a password."""
    form = _form(call)
    name, password = form.get("principal", [""])[0], form.get("password", [""])[0]
    principal = identity.log_in(call.services, call.request, name, password)
    seconds = identity.session_seconds(call.services)
    if before := identity.session_secret(call.request):
        sessions.end(call.services.directory, before)
    audited = replace(call, principal=principal).auditing("user", "login", principal.name)
    secret = identity.begin_session(audited, principal, seconds)
    headers = {
        "Set-Cookie": _cookie(call, secret),
        identity.CSRF_HEADER.title(): identity.csrf_token(call.services, secret),
        "Cache-Control": "no-store",
        "Content-Length": "0",
    }
    return Response(200, headers)


def _form(call: HarborCall) -> dict[str, list[str]]:
    try:
        return call.request.form(most=20)
    except ValueError as error:
        raise bad_request("send an HTML form with principal and password") from error


def _cookie(call: HarborCall, secret: str) -> str:
    # The browser keeps it until it is closed; how long the session goes on is the directory's business.
    secure = "; Secure" if call.request.base_url.startswith("https:") else ""
    return f"{identity.COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}"


def log_out(call: HarborCall) -> Response:
    """End the session."""
    secret = identity.session_secret(call.request)
    if secret:
        audited = call.auditing("user", "logout", call.principal.name)
        sessions.end(audited.directory if call.principal.id else call.services.directory, secret)
    return Response(200, {"Set-Cookie": f"{_cookie(call, '')}; Max-Age=0", "Content-Length": "0"})


def user_exists(call: HarborCall) -> Response:
    """Say whether a user's name or address is taken, to an administrator alone: others would learn who is here."""
    if not call.principal.administrator:
        raise HarborError(HarborCode.FORBIDDEN, "only an administrator may ask who exists")
    form = _form(call)
    target, value = form.get("target", [""])[0], form.get("value", [""])[0]
    if target == "username":
        found = users.find(call.services.directory, value) is not None
    elif target == "email":
        found = any(user.email.casefold() == value.casefold() for user in users.every(call.services.directory))
    else:
        raise bad_request("target must be username or email")
    return Response(200, {"Content-Type": "application/json; charset=utf-8"}, b"true" if found else b"false")


ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("POST", "/c/login", OPEN, log_in),
    HarborEndpoint("GET", "/c/log_out", OPEN, log_out),
    HarborEndpoint("POST", "/c/userExists", SIGNED_IN, user_exists),
)
