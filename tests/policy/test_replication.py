"""Replication policies: what clients send, what is refused, and what is copied against an obvious reference."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import replication
from chalicelib.policy.replication import Candidate, Decoration, Filter, FilterKind, Policy, Trigger

Json = dict[str, Any]


def sent(**changes: object) -> Json:
    """Return a policy as Harbor's portal sends it."""
    return {
        "name": "to-the-edge",
        "description": "",
        "src_registry": None,
        "dest_registry": {"id": 7},
        "dest_namespace": "mirror",
        "dest_namespace_replace_count": 1,
        "trigger": {"type": "manual", "trigger_settings": {"cron": ""}},
        "filters": [
            {"type": "name", "value": "library/**"},
            {"type": "tag", "decoration": "excludes", "value": "*-dev"},
            {"type": "label", "decoration": "matches", "value": ["ready", "signed"]},
            {"type": "resource", "value": "image"},
        ],
        "replicate_deletion": True,
        "deletion": True,
        "override": True,
        "enabled": True,
        "speed": -1,
        "copy_by_chunk": False,
        "single_active_replication": True,
        **changes,
    }


def test_what_the_portal_sends_comes_back_as_it_was() -> None:
    shown = replication.written(replication.parse(sent()))

    unchanged = {
        name: value for name, value in sent().items() if name not in ("src_registry", "dest_registry", "trigger")
    }
    assert shown == {**unchanged, "speed": 0, "trigger": {"type": "manual"}}
    assert replication.parse({**shown, "dest_registry": {"id": 7}}) == replication.parse(sent())


def test_what_may_be_left_out_is_as_with_harbor() -> None:
    policy = replication.parse({"name": "all", "src_registry": {"id": 3}})

    assert policy == Policy("all", source=3, destination=0, replaced=-1, trigger=Trigger.MANUAL)
    assert policy.pulls
    assert policy.registry == 3


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (True, None, True),
        (None, True, True),
        (None, None, False),
        # As clients send it who got both words and change the one that Harbor reads.
        (False, True, False),
        (True, False, True),
    ],
)
def test_the_older_word_for_deletions_counts(old: bool | None, new: bool | None, wanted: bool) -> None:
    assert replication.parse(sent(deletion=old, replicate_deletion=new)).deletion is wanted


@pytest.mark.parametrize(("given", "kept"), [(-2, -1), (-1, -1), (0, 0), (4, 4), (127, 127)])
def test_any_number_of_parts_can_be_replaced_and_a_negative_one_is_all(given: int, kept: int) -> None:
    assert replication.parse(sent(dest_namespace_replace_count=given)).replaced == kept


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": " "}, "needs a name"),
        ({"dest_registry": None}, "one of src_registry and dest_registry"),
        ({"dest_registry": {"id": 0}}, "one of src_registry and dest_registry"),
        ({"src_registry": {"id": 2}}, "one of src_registry and dest_registry"),
        ({"dest_registry": {"id": "7"}}, "id of a registry"),
        ({"dest_registry": {"id": True}}, "id of a registry"),
        ({"dest_namespace": "Upper"}, "dest_namespace"),
        ({"dest_namespace_replace_count": 128}, "from -127 to 127"),
        (
            {"trigger": {"type": "event_based"}, "single_active_replication": True},
            "not for policies that events begin",
        ),
        ({"trigger": {"type": "never"}}, "manual, scheduled, event_based"),
        ({"trigger": {"type": "scheduled"}}, "needs trigger_settings"),
        ({"trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 * * *"}}}, "six fields"),
        ({"trigger": {"type": "scheduled", "trigger_settings": {"cron": "1 0 2 * * *"}}}, "must be 0"),
        ({"trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 * * * * *"}}}, "every minute"),
        ({"filters": [{"type": "colour", "value": "red"}]}, "name, tag, label, resource"),
        ({"filters": [{"type": "name", "value": "a", "decoration": "excludes"}]}, "no decoration"),
        ({"filters": [{"type": "name", "value": 1}]}, "must be a text"),
        ({"filters": [{"type": "name", "value": "{a"}]}, "without its }"),
        ({"filters": [{"type": "tag", "value": "a", "decoration": "likes"}]}, "matches, excludes"),
        ({"filters": [{"type": "label", "value": "ready"}]}, "names of labels"),
        ({"filters": [{"type": "resource", "value": "chart"}]}, "image, artifact"),
        ({"filters": [{"type": "name", "value": ""}] * 21}, "at most 20"),
        ({"speed": 1.5}, "whole number"),
        ({"override": "yes"}, "true or false"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_to_send_instead(changes: Json, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        replication.parse(sent(**changes))


def test_labels_filter_only_what_this_registry_has() -> None:
    with pytest.raises(ValueError, match="labels are known of this registry alone"):
        replication.parse(sent(src_registry={"id": 1}, dest_registry=None))


@pytest.mark.parametrize(
    ("replaced", "name"),
    [(-1, "n/image"), (0, "n/a/b/c/image"), (1, "n/b/c/image"), (2, "n/c/image"), (3, "n/image")],
)
def test_the_namespace_takes_the_place_of_so_many_parts(replaced: int, name: str) -> None:
    policy = Policy("p", 0, 1, namespace="n", replaced=replaced)

    assert replication.destination(policy, "a/b/c/image").name == name


@pytest.mark.parametrize(
    ("policy", "repository", "bounds", "said"),
    [
        (Policy("p", 0, 1, namespace="n", replaced=2), "a/image", (1, 255), "replaces 2"),
        (Policy("p", 0, 1, namespace="n", replaced=0), "a/image", (2, 2), "exactly 2"),
        (Policy("p", 0, 1), "image", (2, 255), "at least 2"),
        (Policy("p", 0, 1), "a/" + "b" * 254, (1, 255), "cannot have a repository"),
    ],
)
def test_a_name_that_does_not_fit_the_destination_is_refused(
    policy: Policy, repository: str, bounds: tuple[int, int], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        replication.destination(policy, repository, *bounds)


def test_items_are_counted_in_harbors_words() -> None:
    assert replication.text("library/app", 3) == "library/app [3 item(s) in total]"


_PARTS = st.sampled_from(["a", "ab", "b", "c1"])
_NAMES = st.lists(_PARTS, min_size=1, max_size=5).map("/".join)


@given(st.one_of(st.just(""), _NAMES), st.integers(-1, 3), _NAMES)
def test_where_something_goes_is_what_a_slow_reading_says(namespace: str, replaced: int, name: str) -> None:
    policy = Policy("p", 0, 1, namespace=namespace, replaced=replaced)
    *before, last = name.split("/")

    if namespace and replaced > len(before):
        with pytest.raises(ValueError, match="lower dest_namespace_replace_count"):
            replication.destination(policy, name)
        return

    kept = before if not namespace else [] if replaced < 0 else before[replaced:]
    expected = "/".join(part for part in [namespace, *kept, last] if part)
    assert replication.destination(policy, name).name == expected


_TAGS = st.sampled_from(["", "1", "1-dev", "2", "2-dev", "latest"])
_PATTERNS = {"": ".*", "**": ".*", "*-dev": ".*-dev", "1*": "1.*", "{1,2}": "1|2", "latest": "latest"}
_TAG_FILTERS = st.builds(
    lambda pattern, decoration: Filter(FilterKind.TAG, (pattern,), decoration),
    st.sampled_from(sorted(_PATTERNS)),
    st.sampled_from([None, *Decoration]),
)
_LABEL_FILTERS = st.builds(
    lambda labels, decoration: Filter(FilterKind.LABEL, tuple(labels), decoration),
    st.sets(st.sampled_from("xyz"), max_size=2),
    st.sampled_from([None, *Decoration]),
)
_RESOURCES = st.sampled_from([Filter(FilterKind.RESOURCE, (value,)) for value in ("image", "artifact")])
_CANDIDATES = st.builds(
    Candidate,
    st.just("sha256:1"),
    st.lists(_TAGS.filter(bool), unique=True, max_size=3).map(tuple),
    st.frozensets(st.sampled_from("xyz")),
    st.sampled_from(["IMAGE", "CHART"]),
)


@given(st.lists(st.one_of(_TAG_FILTERS, _LABEL_FILTERS, _RESOURCES), max_size=4), _CANDIDATES)
def test_what_is_copied_is_what_a_slow_reading_says(filters: list[Filter], candidate: Candidate) -> None:
    assert replication.chosen(filters, candidate) == _slowly_chosen(filters, candidate)


def _slowly_chosen(filters: list[Filter], candidate: Candidate) -> tuple[str, ...] | None:
    """Apply one filter after the other, as Harbor does, to the artifact with the tags that are left."""
    tags: list[str] = list(candidate.tags) or [""]
    for each in filters:
        if each.kind is FilterKind.TAG and each.values[0]:
            wanted = re.compile(_PATTERNS[each.values[0]])
            tags = [tag for tag in tags if (wanted.fullmatch(tag) is None) == each.excludes]
        if each.kind is FilterKind.LABEL and each.values:
            has_all = all(label in candidate.labels for label in each.values)
            tags = tags if has_all != each.excludes else []
        if each.values == ("image",) and candidate.type != "IMAGE":
            tags = []
    if not tags:
        return None
    return tuple(tag for tag in tags if tag)


@given(_NAMES, st.sampled_from(["", "**", "a/**", "{a,b}", "*/b"]))
def test_names_are_matched_as_a_whole(name: str, pattern: str) -> None:
    readings = {"": ".*", "**": ".*", "a/**": "a/.+", "{a,b}": "a|b", "*/b": "[^/]+/b"}
    filters = [Filter(FilterKind.NAME, (pattern,))]

    assert replication.takes_repository(filters, name) == bool(re.fullmatch(readings[pattern], name))


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("library/nginx", ("library/nginx",)),
        ("library/{nginx,redis}", ("library/nginx", "library/redis")),
        ("library/{a,b}-slim", ("library/a-slim", "library/b-slim")),
        ("library/**", None),
        ("library/ngin?", None),
        ("{a,b}/{c,d}", ("a/c", "a/d", "b/c", "b/d")),
        ("{a,a/b}/c", ("a/c", "a/b/c")),
        ("{a,b}" * 12, None),
        ("", None),
    ],
)
def test_who_names_repositories_one_by_one_needs_no_list_of_them(pattern: str, names: tuple[str, ...] | None) -> None:
    filters = (Filter(FilterKind.TAG, ("v*",)), Filter(FilterKind.NAME, (pattern,)))

    assert replication.named(filters) == names
    assert all(replication.takes_repository(filters, name) for name in names or ())


@pytest.mark.parametrize(
    ("patterns", "namespaces"),
    [
        (["library/**"], ("library",)),
        (["{a,b}-x/app*"], ("a-x", "b-x")),
        (["**", "library/*"], ("library",)),
        (["*/app"], ()),
        (["lib*/app"], ()),
        (["{a/b,c}/**"], ()),
        (["**"], ()),
        ([""], ()),
        ([], ()),
    ],
)
def test_who_names_namespaces_needs_no_list_of_others(patterns: list[str], namespaces: tuple[str, ...]) -> None:
    filters = [Filter(FilterKind.NAME, (pattern,)) for pattern in patterns]

    assert replication.namespaces(filters) == namespaces
