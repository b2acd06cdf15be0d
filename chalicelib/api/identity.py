"""Credentials to principals: users, robot accounts, sessions, and how a principal stands to a project.

Invariants:
* A wrong password, an unknown user, a disabled or expired robot account get one answer, after the same work.
* Failed logins make later ones from the same source wait, and never lock anybody out for good (`policy.throttle`).
* A session's cookie changes something only together with its CSRF token.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from chalicelib.api import passwords
from chalicelib.api.http import Request
from chalicelib.changes import indexing
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import access, grants, people
from chalicelib.policy.access import Standing
from chalicelib.policy.audit import LONGEST_NAME, Event
from chalicelib.policy.configuration import DEFAULTS
from chalicelib.policy.grants import ANONYMOUS, Kind, Principal
from chalicelib.policy.rbac import Permission, Role
from chalicelib.policy.robots import EVERY_PROJECT
from chalicelib.policy.throttle import network
from chalicelib.services import Services
from chalicelib.store.directory import (
    SYSTEM,
    configuration,
    foundation,
    logins,
    members,
    projects,
    robots,
    sessions,
    users,
)
from chalicelib.store.directory.projects import Project
from chalicelib.store.directory.robots import Robot
from chalicelib.store.directory.sessions import Session
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID, User
from chalicelib.store.table import RefusedError

COOKIE = "sid"
CSRF_HEADER = "x-harbor-csrf-token"
# A portal that only looks whether something is new must not keep its user logged in.
NO_RENEWAL_HEADER = "x-harbor-no-session-renewal"
_SAFE = ("GET", "HEAD", "OPTIONS")
_WRONG = "the user name or the password is wrong"


def of_request(services: Services, request: Request) -> Principal:
    """Return who makes a request of the API: by Basic credentials or a session; raise UNAUTHORIZED.

    The registry's tokens open nothing here: one for a pull would be its owner's whole account.
    """
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        raise RegistryError(ErrorCode.UNAUTHORIZED, "tokens are for pulls and pushes: use Basic authentication here")
    if scheme:
        return of_basic(services, request, scheme, credentials)
    return _of_session(services, request)


def of_basic(services: Services, request: Request, scheme: str, credentials: str) -> Principal:
    """Return who sends an Authorization header; none at all is anonymous, a wrong one raises UNAUTHORIZED."""
    if not scheme:
        return ANONYMOUS
    if scheme.lower() != "basic":
        raise RegistryError(ErrorCode.UNAUTHORIZED, "use Basic or Bearer authentication")
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError as error:
        raise RegistryError(ErrorCode.UNAUTHORIZED, "the Basic credentials are not readable") from error
    name, _, password = text.partition(":")
    return log_in(services, request, name, password)


def log_in(services: Services, request: Request, name: str, password: str) -> Principal:
    """Return whom a name and a password belong to; raise UNAUTHORIZED or TOOMANYREQUESTS."""
    directory = services.directory
    _check_wait(services, request, name)
    account = _robot_account if is_robot_name(name) else _user_account
    found = account(services, request, name, password)
    if found is None:
        _failed(services, request, name, password)
        raise RegistryError(ErrorCode.UNAUTHORIZED, _WRONG)
    logins.succeeded(directory, name, request.source)
    return found


def _failed(services: Services, request: Request, name: str, password: str) -> None:
    """Record a failed login, with its entry in the audit log: one that was tried before makes neither."""
    event = Event(
        name[:LONGEST_NAME], name[:LONGEST_NAME], "user", "login", f"from {request.source}", succeeded=False
    )
    audited = indexing.carrying(services, event)
    logins.failed(audited.directory, name, request.source, _mark(services, password))


def _check_wait(services: Services, request: Request, name: str) -> None:
    wait = logins.wait(services.directory, name, request.source)
    if wait > 0:
        message = "too many failed logins: wait and try again"
        raise RegistryError(ErrorCode.TOOMANYREQUESTS, message, headers={"Retry-After": str(int(wait) + 1)})


def check_own_password(services: Services, request: Request, user: User, password: str) -> None:
    """Raise DENIED where this is not the password of the user who asks: guesses are slowed as at the login."""
    _check_wait(services, request, user.name)
    if not is_password(services, user, password, network(request.source)):
        _failed(services, request, user.name, password)
        raise RegistryError(ErrorCode.DENIED, "the old password is wrong")


def _mark(services: Services, secret: str) -> str:
    """Return what tells one wrong secret from another, and too little to tell what it was."""
    return hmac.digest(services.settings.signing_key, secret.encode(errors="replace"), "sha256").hex()[:6]


def _user_account(services: Services, request: Request, name: str, password: str) -> Principal | None:
    user = _find_user(services, name)
    source = network(request.source)
    secret = user.cli_secret if user and not request.path.startswith(("/api/", "/c/")) else ""
    # Tools that use the secret log in often, so it comes first, where there is one.
    if user and secret and passwords.check(user.name, secret, password, source):
        return _principal(user)
    if user and is_password(services, user, password, source):
        return _principal(user)
    # What is wrong costs two checks, whether there is such a user, and whether there is a secret.
    for _ in range((user is None) + (not secret)):
        passwords.spend(password, source)
    return None


def _find_user(services: Services, name: str) -> User | None:
    user = users.find(services.directory, name)
    if user is None and name == ADMINISTRATOR and services.keeps_table():
        # The first login of a new registry's life.
        foundation.lay(services.directory)
        user = users.find(services.directory, name)
    return user


def is_password(services: Services, user: User, password: str, source: str) -> bool:
    """Tell whether a source sent a user's password; one that was hashed with old parameters is hashed anew."""
    if user.id == ADMINISTRATOR_ID and not user.password:
        right = _same(services, password, services.settings.admin_password)
        if not right:
            passwords.spend(password, source)
        return right
    right = passwords.check(user.name, user.password, password, source)
    if right and passwords.needs_rehash(user.password) and services.keeps_table():
        with suppress(RefusedError):
            users.update(services.directory, replace(user, password=passwords.hash_password(password)))
    return right


def _same(services: Services, given: str, right: str) -> bool:
    """Compare in a time that tells nothing, not even lengths."""
    key = services.settings.signing_key
    digests = [hmac.digest(key, text.encode(errors="replace"), "sha256") for text in (given, right)]
    return bool(right) and hmac.compare_digest(*digests)


def _robot_account(services: Services, request: Request, name: str, secret: str) -> Principal | None:
    source = network(request.source)
    robot = _find_robot(services, name)
    if robot is None:
        passwords.spend(secret, source)
        return None
    if not passwords.check(name, robot.secret, secret, source) or not _may_work(services, robot):
        return None
    [living] = robots.living(services.directory, [robot])
    return Principal(
        name,
        kind=Kind.ROBOT,
        id=robot.id,
        permissions=living.permissions,
        project_id=robot.project_id,
        expires=max(robot.expires, 0),
    )


def _find_robot(services: Services, name: str) -> Robot | None:
    prefix = robot_prefix(services)
    if not name.startswith(prefix):
        return None
    project_name, plus, short = name.removeprefix(prefix).rpartition("+")
    if not plus:
        return robots.find(services.directory, SYSTEM, short)
    project = projects.find(services.directory, project_name)
    return robots.find(services.directory, project.id, short) if project else None


def robot_prefix(services: Services) -> str:
    """Return what the names of robot accounts begin with."""
    changed = configuration.recent(services.directory)
    return str(changed.get("robot_name_prefix", DEFAULTS["robot_name_prefix"]))


def token_seconds(services: Services, principal: Principal = ANONYMOUS) -> int:
    """Return how long new tokens are good for: not longer than whom they are issued to."""
    minutes = configuration.recent(services.directory).get("token_expiration", DEFAULTS["token_expiration"])
    left = principal.expires - int(services.now().timestamp()) if principal.expires else int(minutes) * 60
    return max(1, min(int(minutes) * 60, left))


def _may_work(services: Services, robot: Robot) -> bool:
    expired = 0 <= robot.expires <= services.now().timestamp()
    return not (robot.disabled or expired)


def _principal(user: User) -> Principal:
    return Principal(user.name, user.administrator, Kind.USER, user.id)


def _of_session(services: Services, request: Request) -> Principal:
    """Return whose session's cookie comes with a request; what changes something needs the CSRF token too."""
    secret = session_secret(request)
    session = sessions.find(services.directory, secret) if secret else None
    user = users.by_id(services.directory, session.user_id) if session else None
    if session is None or user is None or not _still_holds(services, session, user):
        return ANONYMOUS
    if request.method not in _SAFE and not _is_meant(services, request, secret):
        raise RegistryError(ErrorCode.DENIED, "the CSRF token is missing or wrong: send X-Harbor-CSRF-Token")
    if NO_RENEWAL_HEADER not in request.headers:
        _prolong(services, secret, session)
    return _principal(user)


def _is_meant(services: Services, request: Request, secret: str) -> bool:
    sent = request.headers.get(CSRF_HEADER, "").encode()
    return any(hmac.compare_digest(sent, _csrf(key, secret)) for key in services.settings.signing_keys)


def _prolong(services: Services, secret: str, session: Session) -> None:
    """Let a session that is used go on; written down only when half of its time is over."""
    seconds = session_seconds(services)
    if session.expires - services.now().timestamp() < seconds / 2:
        sessions.prolong(services.directory, secret, session, seconds)


def session_seconds(services: Services) -> int:
    """Return how long a session lasts without a request."""
    minutes = configuration.recent(services.directory).get("session_timeout", DEFAULTS["session_timeout"])
    return int(minutes) * 60


def session_secret(request: Request) -> str:
    """Return the session's secret that a request's cookie has, or "", whatever other cookies there are."""
    pairs = (pair.strip().partition("=") for pair in request.headers.get("cookie", "").split(";"))
    return next((value for name, _, value in pairs if name == COOKIE), "")


def begin_session(services: Services, principal: Principal, seconds: int) -> str:
    """Begin a session of a user who logged in, and return its secret."""
    user = users.by_id(services.directory, principal.id)
    if principal.kind is not Kind.USER or user is None:
        raise RegistryError(ErrorCode.UNAUTHORIZED, "only users can log in to the portal")
    return sessions.begin(services.directory, user.id, fingerprint(services, user), seconds)


def _still_holds(services: Services, session: Session, user: User) -> bool:
    return hmac.compare_digest(session.fingerprint, fingerprint(services, user))


def fingerprint(services: Services, user: User) -> str:
    """Return what stands for a user's password in a session: it changes with the password and does not tell it."""
    password = user.password or services.settings.admin_password
    return hashlib.sha256(f"{user.id}\0{password}".encode()).hexdigest()


def csrf_token(services: Services, secret: str) -> str:
    """Return the token that proves that a request with a session's cookie was meant."""
    return _csrf(services.settings.signing_key, secret).decode()


def _csrf(key: bytes, secret: str) -> bytes:
    # A key of its own: whoever sends any text as a cookie gets its token.
    own = hashlib.sha256(b"roadstead csrf " + key).digest()
    return hmac.digest(own, secret.encode(), "sha256").hex().encode()


def roles(services: Services, principal: Principal, project_id: int) -> frozenset[Role]:
    """Return the roles that a user has in a project."""
    if principal.kind is not Kind.USER:
        return frozenset()
    return members.roles(services.directory, project_id, [members.key_of(members.Kind.USER, principal.id)])


def standing(services: Services, principal: Principal, project: Project) -> Standing:
    """Return how a principal stands to a project."""
    held = frozenset() if principal.administrator else roles(services, principal, project.id)
    return Standing(project.name, project.public, held, project.proxies)


def permissions(services: Services, principal: Principal, project: Project) -> frozenset[Permission]:
    """Return what a principal may do in a project."""
    return access.in_project(principal, standing(services, principal, project))


def grant(services: Services, principal: Principal, resources: Iterable[str]) -> grants.Grant:
    """Return what a principal may do to resources, asking for each project once."""
    wanted = tuple(resources)
    names = tuple(dict.fromkeys(filter(None, map(grants.project_of, wanted))))
    found = projects.named(services.directory, names) if names else ()
    standings = {project.name: standing(services, principal, project) for project in found}
    return access.grant(principal, wanted, standings)


def visible_projects(services: Services, principal: Principal) -> tuple[Project, ...]:
    """Return the projects that a principal may see, in the order of their names."""
    directory = services.directory
    if principal.administrator:
        return projects.every(directory)
    found = {project.id: project for project in projects.public(directory)}
    found |= {project.id: project for project in _its_own(services, principal)}
    return tuple(sorted(found.values(), key=lambda project: project.name))


def permitting(services: Services, principal: Principal, permission: Permission) -> tuple[Project, ...]:
    """Return the projects in which a user, or a robot account, has a permission that not everybody has."""
    found = _its_own(services, principal)
    return tuple(project for project in found if permission in permissions(services, principal, project))


def _its_own(services: Services, principal: Principal) -> Iterable[Project]:
    """Return the projects in which a user is a member, or a robot account may do something; nobody else has any."""
    found = {Kind.USER: _of_member, Kind.ROBOT: _permitted}.get(principal.kind)
    return found(services, principal) if found else ()


def _of_member(services: Services, user: Principal) -> Iterable[Project]:
    """Return the projects in which a user is a member, leaving out what another made anew under the name of one."""
    key = members.key_of(members.Kind.USER, user.id)
    held = {(each.project, each.project_id) for each in members.memberships(services.directory, key)}
    found = projects.named(services.directory, tuple(sorted({name for name, _ in held})))
    return [project for project in found if (project.name, project.id) in held]


def _permitted(services: Services, robot: Principal) -> Iterable[Project]:
    """Yield the projects in which a robot account may do anything at all."""
    everywhere = any(permission.namespace == EVERY_PROJECT for permission in robot.permissions)
    names = tuple(permission.namespace for permission in robot.permissions)
    candidates = projects.every(services.directory) if everywhere else projects.named(services.directory, names)
    for project in candidates:
        if access.in_project(robot, Standing(project.name, public=False)):
            yield project


def is_robot_name(name: str) -> bool:
    """Tell whether a name is a robot account's: it has a character that users' names cannot have."""
    return any(character in people.ILLEGAL for character in name)
