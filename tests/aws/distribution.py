"""CloudFront as a template describes it: which behaviour takes a request, and what of it an origin is sent.

Everything is read from the template that is deployed. What AWS's own policies do stands here, from its "Use managed
origin request policies"; a policy that is not listed is a KeyError. What is kept and TLS are left out.

Invariant: nothing here knows a path, a header or an origin of the registry's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.package import fragments, merged

Json = dict[str, Any]
NOTHING = {"Ref": "AWS::NoValue"}
# fmt: off
_MANAGED_REQUESTS: Mapping[str, Json] = {
    "216adef6-5c7f-47e4-b989-5492eafa07d3": {  # AllViewer
        "HeadersConfig": {"HeaderBehavior": "allViewer"}, "QueryStringsConfig": {"QueryStringBehavior": "all"}},
    "b689b0a8-53d0-40ab-baf2-68738e2966ac": {  # AllViewerExceptHostHeader
        "HeadersConfig": {"HeaderBehavior": "allExcept", "Headers": ["host"]},
        "QueryStringsConfig": {"QueryStringBehavior": "all"}},
}
_NO_POLICY: Json = {
    "HeadersConfig": {"HeaderBehavior": "none"}, "QueryStringsConfig": {"QueryStringBehavior": "none"},
}
# fmt: on
_TESTS: Mapping[str, Callable[..., bool]] = {
    "Fn::And": lambda *each: all(each),
    "Fn::Or": lambda *each: any(each),
    "Fn::Not": lambda one: not one,
}


@dataclass(frozen=True, slots=True)
class Resolver:
    """What a template's conditions and parameters come to; references to resources stay, but those that are known."""

    template: Mapping[str, Any]
    known: Mapping[str, str]

    def value(self, part: Any) -> Any:
        """Return a part of the template with its conditions decided, and what is known in place."""
        if isinstance(part, list):
            return [made for made in map(self.value, part) if made != NOTHING]
        if not isinstance(part, dict):
            return part
        name, told = self._call(part)
        if name == "Fn::If":
            return self.value(told[1 if self.holds({"Condition": told[0]}) else 2])
        if name == "Ref" and (found := self._parameter(told)) is not None:
            return found
        if name == "Fn::Sub" and isinstance(told, str):
            return re.sub(r"\$\{([\w.]+)\}", lambda each: self._parameter(each[1]) or each[0], told)
        return {key: made for key, each in part.items() if (made := self.value(each)) != NOTHING}

    @staticmethod
    def _call(part: Json) -> tuple[str, Any]:
        return next(iter(part.items())) if len(part) == 1 else ("", "")

    def holds(self, test: Json) -> bool:
        """Tell whether a condition holds."""
        [(name, told)] = test.items()
        if name == "Condition":
            return self.holds(self.template["Conditions"][told])
        if name == "Fn::Equals":
            one, other = map(self.value, told)
            return bool(one == other)
        return _TESTS[name](*map(self.holds, told))

    def _parameter(self, name: str) -> str | None:
        default = self.template["Parameters"].get(name, {}).get("Default")
        found = self.known.get(name, default)
        return None if found is None else str(found)


@dataclass(frozen=True, slots=True)
class Passing:
    """Which names pass: all of them, none, all but these, or these."""

    how: str
    names: frozenset[str] = frozenset()

    def takes(self, name: str) -> bool:
        """Tell whether a header, in lower case, or a field of a query passes."""
        listed = name in self.names
        return {"none": False, "whitelist": listed, "allExcept": not listed}.get(self.how, True)


@dataclass(frozen=True, slots=True)
class Behavior:
    """What happens to requests whose path fits a pattern; `functions` are the programs by their events."""

    pattern: str
    origin: str
    methods: frozenset[str]
    functions: Mapping[str, str]
    headers: Passing
    queries: Passing

    def fits(self, path: str) -> bool:
        """Tell whether the pattern fits a path, with * for anything and ? for one character."""
        return bool(re.fullmatch(re.escape(self.pattern).replace(r"\*", ".*").replace(r"\?", "."), path))


@dataclass(frozen=True, slots=True)
class Distribution:
    """The behaviours in the order in which they are tried, the default one last, and which origins are S3's."""

    behaviors: Sequence[Behavior]
    s3_origins: frozenset[str]

    def taker(self, path: str) -> Behavior:
        """Return the behaviour of a path: the first that fits."""
        return next(each for each in self.behaviors if each.fits(path))


def distribution(template: Mapping[str, Any], parameters: Mapping[str, str]) -> Distribution:
    """Return the distribution that a template makes with these parameters; raise KeyError where it makes none."""
    resolver = Resolver(template, parameters)
    made = template["Resources"]["Distribution"]
    if not resolver.holds({"Condition": made["Condition"]}):
        raise KeyError("with these parameters the template makes no distribution")
    config = resolver.value(made["Properties"]["DistributionConfig"])
    last = {**config["DefaultCacheBehavior"], "PathPattern": "*"}
    s3_origins = frozenset(each["Id"] for each in config["Origins"] if "S3OriginConfig" in each)
    return Distribution([_behavior(template, each) for each in [*config["CacheBehaviors"], last]], s3_origins)


def without_functions() -> Json:
    """Return our template without what Chalice adds to it, which takes a package."""
    return merged({"Resources": {}}, fragments())


def fronted() -> Distribution:
    """Return the distribution of our template with a relay."""
    return distribution(without_functions(), {"Front": "true", "RelayImage": "relay:v1"})


def _behavior(template: Mapping[str, Any], told: Json) -> Behavior:
    policy = _request_policy(template, told.get("OriginRequestPolicyId"))
    headers, queries = policy["HeadersConfig"], policy["QueryStringsConfig"]
    return Behavior(
        pattern=told["PathPattern"],
        origin=told["TargetOriginId"],
        methods=frozenset(told["AllowedMethods"]),
        functions=dict(_functions(template, told)),
        headers=Passing(headers["HeaderBehavior"], frozenset(map(str.lower, headers.get("Headers", ())))),
        queries=Passing(queries["QueryStringBehavior"], frozenset(queries.get("QueryStrings", ()))),
    )


def _request_policy(template: Mapping[str, Any], named: Any) -> Json:
    if named is None:
        return _NO_POLICY
    if isinstance(named, str):
        return _MANAGED_REQUESTS[named]
    found: Json = template["Resources"][named["Ref"]]["Properties"]["OriginRequestPolicyConfig"]
    return found


def _functions(template: Mapping[str, Any], told: Json) -> Iterator[tuple[str, str]]:
    for each in told.get("FunctionAssociations", ()):
        name, _ = each["FunctionARN"]["Fn::GetAtt"]
        yield each["EventType"], template["Resources"][name]["Properties"]["FunctionCode"]
