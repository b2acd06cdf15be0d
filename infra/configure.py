"""The real names of bucket, table and secrets, put into what `chalice deploy` reads: `.chalice/`.

Invariants:
* The names that are there now are those of the stage's environment in config.json; policies follow them, so the step
  may be run again with the same names (nothing changes) or with others.
* Policies are written first: after a failure in between, the next run still finds the old names.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Names:
    """What the functions work with; `secrets` is the path in SSM above the two secrets, such as /roadstead."""

    bucket: str
    table: str
    secrets: str


def changes(project: Path, stage: str, wanted: Names) -> Mapping[Path, str]:
    """Return the new text of each file that has to change; raise LookupError for a stage that is not configured."""
    path = project / ".chalice" / "config.json"
    config = json.loads(path.read_text())
    if stage not in config["stages"]:
        raise LookupError(f"{path.name} has no stage {stage}, but {', '.join(config['stages'])}")
    found = _present(config["stages"][stage])
    policies = sorted(path.parent.glob("policy-*.json"))
    texts = {each: _renamed(each.read_text(), found, wanted) for each in policies}
    _configure(config["stages"][stage], wanted)
    texts[path] = json.dumps(config, indent=2) + "\n"
    return {each: text for each, text in texts.items() if each.read_text() != text}


def summary(changed: Mapping[Path, str]) -> Iterator[str]:
    """Yield each line that changes, as it was and as it becomes."""
    for path, text in changed.items():
        before = path.read_text().splitlines()
        yield path.name
        for old, new in zip(before, text.splitlines(), strict=True):
            if old != new:
                yield f"  - {old.strip()}"
                yield f"  + {new.strip()}"


def write(changed: Mapping[Path, str]) -> None:
    """Write what changes, in its order."""
    for path, text in changed.items():
        path.write_text(text)


def _present(stage: Mapping[str, Any]) -> Names:
    named = stage["environment_variables"]
    secrets = named["ROADSTEAD_SIGNING_KEY"].removeprefix("ssm:").removesuffix("/signing-key")
    return Names(named["ROADSTEAD_BUCKET"], named["ROADSTEAD_TABLE"], secrets)


def _configure(stage: Any, wanted: Names) -> None:
    stage["environment_variables"] |= {
        "ROADSTEAD_BUCKET": wanted.bucket,
        "ROADSTEAD_TABLE": wanted.table,
        "ROADSTEAD_SIGNING_KEY": f"ssm:{wanted.secrets}/signing-key",
    }
    handler = stage["lambda_functions"]["api_handler"]["environment_variables"]
    handler["ROADSTEAD_ADMIN_PASSWORD"] = f"ssm:{wanted.secrets}/admin-password"


def _renamed(policy: str, found: Names, wanted: Names) -> str:
    """Return a policy with its resources renamed; the end of a name is the end of the string, or a slash."""
    for before, old, new in (
        (":s3:::", found.bucket, wanted.bucket),
        (":table/", found.table, wanted.table),
        (":parameter", found.secrets, wanted.secrets),
    ):
        policy = re.sub(f'{before}{re.escape(old)}(?=["/])', lambda _, made=before + new: made, policy)  # type: ignore[misc]
    return policy
