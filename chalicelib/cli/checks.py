"""What `roadstead doctor` asks of a deployment's front: its addresses, challenges, tokens, clocks and encryption."""

import re
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chalicelib.cli import transfer_checks
from chalicelib.cli.findings import Check, Finding, Needs, Verdict, document_faults, judged
from chalicelib.cli.subject import Subject, get_token

if TYPE_CHECKING:
    import httpx

_OK, _UNAUTHORIZED, _TOO_MANY = 200, 401, 429
_CHALLENGE = re.compile(r'Bearer realm="([^"]+)",\s*service="([^"]+)"(?:,\s*\w+="[^"]*")*')
_RENAMED = "x-amzn-remapped-www-authenticate"
# Signatures of AWS are good for a few minutes either way; people notice less.
_SKEW_SECONDS, _MOST_SKEW_SECONDS = 10.0, 240.0
_WARM = 5
_LOAD, _AT_ONCE = 400, 32
# A token of the right form that nobody signed, of the year 2001.
_OLD = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJkb2N0b3IiLCJleHAiOjEwMDAwMDAwMDB9.AAAA"
_REFUSED: tuple[tuple[str, dict[str, str]], ...] = (
    ("no token", {}),
    ("a token that is none", {"Authorization": "Bearer nonsense"}),
    ("an old token", {"Authorization": f"Bearer {_OLD}"}),
    ("wrong Basic credentials", {"Authorization": "Basic bm9ib2R5Om5vdGhpbmc="}),
)


def _refusal_faults(name: str, answer: "httpx.Response") -> list[str]:
    if answer.status_code != _UNAUTHORIZED:
        return [f"{name}: status {answer.status_code} where 401 is due"]
    faults = document_faults(answer)
    if "www-authenticate" not in answer.headers:
        faults.append("no WWW-Authenticate")
    return [f"{name}: {fault}" for fault in faults]


def _roots(subject: Subject) -> Finding:
    faults = [fault for where in ("/v2", "/v2/") for fault in _refusal_faults(where, subject.ask("GET", where))]
    return judged("both challenge", faults)


def _challenge(subject: Subject) -> Finding:
    headers = subject.ask("GET", "/v2/").headers
    if "www-authenticate" not in headers:
        return Finding(Verdict.BROKEN, f"it comes as {_RENAMED}" if _RENAMED in headers else "there is none")
    match = _CHALLENGE.fullmatch(headers["www-authenticate"])
    if match is None:
        return Finding(Verdict.BROKEN, 'its form is not Bearer realm="...",service="..."')
    realm, service = match.groups()
    broken = [] if subject.ask("GET", realm).status_code in (_OK, _UNAUTHORIZED) else [f"{realm} does not answer"]
    differs = [f"the realm {realm} is elsewhere"] if not realm.startswith(subject.server + "/") else []
    if service != urlsplit(subject.server).netloc:
        differs.append(f"the service is {service}")
    return judged(f"realm {realm}", broken, differs)


def _refusals(subject: Subject) -> Finding:
    faults = [
        fault
        for name, headers in _REFUSED
        for fault in _refusal_faults(name, subject.ask("GET", "/v2/doctor/none/tags/list", headers))
    ]
    return judged("401, challenge and document for each", faults)


def _insufficient(subject: Subject) -> Finding:
    token = get_token(subject, ["repository:doctor/other:pull"])
    answer = subject.ask("GET", "/v2/doctor/none/tags/list", {"Authorization": f"Bearer {token}"})
    return judged("401 and a challenge", _refusal_faults("a token for another repository", answer))


def _nowhere(subject: Subject) -> Finding:
    answers = [(where, subject.ask("GET", where)) for where in ("/v2/doctor/no/such/thing/here", "/nowhere/at/all")]
    differs = [f"{where}: {fault}" for where, answer in answers for fault in document_faults(answer)]
    broken = [f"{where}: status {answer.status_code}" for where, answer in answers if not answer.is_client_error]
    return judged("refused with a document", broken, differs)


def _anonymous(subject: Subject) -> Finding:
    get_token(subject, ["repository:library/none:pull"], anonymous=True)
    return judged("a token")


def _login(subject: Subject) -> Finding:
    token = get_token(subject, [])
    answer = subject.ask("GET", "/v2/", {"Authorization": f"Bearer {token}"})
    return judged("let in", [] if answer.status_code == _OK else [f"/v2/ answers {answer.status_code} to a token"])


def _clock(subject: Subject) -> Finding:
    answers = [subject.ask("GET", "/v2/")]
    if subject.image:
        answers = subject.chase("GET", transfer_checks.layer_of(subject))
    skews = {urlsplit(str(answer.url)).netloc: _skew(answer) for answer in answers}
    said = [f"{host} is {skew:+.0f} s from here" for host, skew in skews.items()]
    worst = max(map(abs, skews.values()))
    if worst > _MOST_SKEW_SECONDS:
        return Finding(Verdict.BROKEN, "; ".join(said))
    return judged("; ".join(said), (), said if worst > _SKEW_SECONDS else ())


def _skew(answer: "httpx.Response") -> float:
    return (parsedate_to_datetime(answer.headers["date"]) - datetime.now(UTC)).total_seconds()


def _request_id(subject: Subject) -> Finding:
    answer = subject.ask("GET", "/service/token", {"X-Request-Id": "doctor-1"})
    found = answer.headers.get("x-request-id", "")
    trace = "with" if "x-amzn-trace-id" in answer.headers else "without"
    return judged(f"kept, {trace} a trace id", (), [] if found == "doctor-1" else ["our X-Request-Id is lost"])


def _tls(subject: Subject) -> Finding:
    parts = urlsplit(subject.server)
    if parts.scheme != "https":
        return Finding(Verdict.NA, "http has none")
    stream = subject.ask("GET", "/v2/").extensions["network_stream"].get_extra_info("ssl_object")
    version, certificate = stream.version(), stream.getpeercert() or {}
    issuer = dict(pair for row in certificate.get("issuer", ()) for pair in row)
    differs = [] if version in ("TLSv1.2", "TLSv1.3") else [f"{version} is out of date"]
    return judged(f"{version}, certificate of {issuer.get('organizationName', 'an unnamed issuer')}", (), differs)


def _times(subject: Subject) -> Finding:
    taken, statuses = [], set()
    for _ in range(_WARM + 1):
        begun = time.monotonic()
        statuses.add(subject.ask("GET", "/service/token").status_code)
        taken.append(1000 * (time.monotonic() - begun))
    seen = f"first {taken[0]:.0f} ms, then {statistics.median(taken[1:]):.0f} ms"
    return judged(seen, [f"status {status}" for status in sorted(statuses - {_OK, _UNAUTHORIZED})])


def _throttling(subject: Subject) -> Finding:
    if not subject.load:
        return Finding(Verdict.NA, "asked with --load")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda _: subject.ask("GET", "/v2/"), range(_LOAD)))
    statuses = sorted({answer.status_code for answer in answers})
    throttled = [answer for answer in answers if answer.status_code == _TOO_MANY]
    broken = [f"status {status}" for status in statuses if status not in (_UNAUTHORIZED, _TOO_MANY)]
    broken += [fault for answer in throttled[:1] for fault in document_faults(answer)]
    return judged(f"{len(throttled)} of {_LOAD} were told to wait", broken)


# fmt: off
CHECKS: Sequence[Check] = (
    Check("roots", "front", "Do /v2 and /v2/ both challenge?", _roots,
          "Both must reach the route / of the stage v2."),
    Check("challenge", "front", "Does WWW-Authenticate name a token service that answers?", _challenge,
          "Deploy the gateway responses again; without this header no client logs in."),
    Check("refusals", "front", "Is every refused credential a 401 with a challenge and a document?", _refusals,
          "See the gateway responses UNAUTHORIZED and ACCESS_DENIED."),
    Check("insufficient", "front", "Is a token for another repository a 401 with a challenge?", _insufficient,
          "See the gateway response ACCESS_DENIED, and the policy of the authorizer."),
    Check("nowhere", "front", "Are unknown addresses refused with a document?", _nowhere,
          "See MISSING_AUTHENTICATION_TOKEN; an unknown stage cannot be shaped without CloudFront."),
    Check("anonymous", "front", "Does the token service answer anonymous clients?", _anonymous,
          "Public images cannot be pulled without."),
    Check("login", "front", "Does a token of this login open /v2/?", _login,
          "Look for the authorizer's failures in its log.", Needs.LOGIN),
    Check("clock", "front", "Do the clocks agree?", _clock,
          "Set the clock of this machine; signatures depend on it."),
    Check("request-id", "front", "Is a request's id kept?", _request_id,
          "Without it a client's request is not found in the log."),
    Check("tls", "front", "Which TLS, by whose certificate?", _tls,
          "Ask for TLS 1.2 at least in the domain's security policy."),
    Check("times", "front", "How long does a first answer take, and one after it?", _times,
          "Look for failures in the log of the function."),
    Check("throttling", "front", "Is a client that asks too much told so by a document?", _throttling,
          "See the gateway response THROTTLED."),
    *transfer_checks.CHECKS,
)
# fmt: on
