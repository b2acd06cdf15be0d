"""What a check of `roadstead doctor` found: a verdict and a sentence that anybody may read.

Invariants:
* "broken" is what a client cannot work with; "differs" works, but not as the registry means it.
* What was seen holds no secret: addresses lose their queries and bodies are never quoted.
"""

import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from chalicelib.cli.subject import Subject
from chalicelib.cli.text import clean

if TYPE_CHECKING:
    import httpx

_QUERY = re.compile(r"\?[^\s\"',]+")
_LONGEST = 400


class Verdict(Enum):
    """How a check came out."""

    OK = "ok"
    DIFFERS = "differs"
    BROKEN = "broken"
    NA = "not applicable"


class Finding(NamedTuple):
    """A verdict and what was seen."""

    verdict: Verdict
    seen: str


class Needs(Enum):
    """What a check cannot do without."""

    NOTHING = "nothing"
    LOGIN = "a login: roadstead login URL"
    IMAGE = "a login that may create projects"


class Check(NamedTuple):
    """One question to a deployment, and what to do where the answer is not the one we mean."""

    name: str
    group: str
    question: str
    ask: Callable[[Subject], Finding]
    advice: str
    needs: Needs = Needs.NOTHING


def judged(seen: str, broken: Sequence[str] = (), differs: Sequence[str] = ()) -> Finding:
    """Return the finding of what is wrong, or what was seen where nothing is."""
    if broken:
        return Finding(Verdict.BROKEN, "; ".join((*broken, *differs)))
    return Finding(Verdict.DIFFERS, "; ".join(differs)) if differs else Finding(Verdict.OK, seen)


def examine(check: Check, subject: Subject) -> Finding:
    """Return what a check found; an answer that breaks off or is no answer at all is broken."""
    import httpx  # noqa: PLC0415 - `--help` needs no HTTP client

    if check.needs is not Needs.NOTHING and not subject.client.login.user:
        return Finding(Verdict.NA, f"needs {check.needs.value}")
    if check.needs is Needs.IMAGE and subject.image is None:
        return Finding(Verdict.BROKEN if subject.project else Verdict.NA, _harmless(subject.trouble))
    try:
        found = check.ask(subject)
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return Finding(Verdict.BROKEN, _harmless(f"{type(error).__name__}: {error}"))
    return Finding(found.verdict, _harmless(found.seen))


def document_faults(answer: "httpx.Response") -> list[str]:
    """Return what keeps the body of a refusal from being an OCI error document."""
    try:
        errors = answer.json()["errors"]
        whole = bool(errors) and all(error["code"] and "message" in error for error in errors)
    except (ValueError, LookupError, TypeError):
        whole = False
    return [] if whole else [f"status {answer.status_code} without an OCI error document"]


def _harmless(text: str) -> str:
    return clean(_QUERY.sub("?…", text))[:_LONGEST]
