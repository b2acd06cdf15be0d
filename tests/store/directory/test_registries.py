"""Other registries as they are kept: found by name and id, with a secret that only a site has, and how they are."""

import json
from dataclasses import replace

import pytest

from chalicelib.config import Settings
from chalicelib.store import sealed
from chalicelib.store.directory import Directory, registries
from chalicelib.store.directory.registries import HEALTHY, REGISTRIES, UNHEALTHY, NewRegistry
from chalicelib.store.remote import Site
from chalicelib.store.sealed import SealError
from chalicelib.store.table import RefusedError, Slice

KEYS = (b"k" * 32,)
SETTINGS = replace(Settings.from_env({}), signing_key=KEYS[0])
HUB = NewRegistry(
    "hub", "docker-hub", "https://hub.docker.com", "basic", "me", sealed.seal(KEYS, "s3cret"), description="theirs"
)


def test_a_registry_is_found_by_id_and_by_name_with_how_it_is(directory: Directory) -> None:
    number = registries.create(directory, HUB, HEALTHY)

    found = registries.find(directory, number)
    assert found
    assert (found.name, found.type, found.url, found.status) == ("hub", "docker-hub", HUB.url, HEALTHY)
    assert registries.named(directory, "hub") == found
    assert registries.every(directory) == (found,)
    assert registries.count(directory) == 1
    assert registries.find(directory, number + 1) is None
    assert registries.named(directory, "bud") is None


def test_only_a_site_has_the_secret(directory: Directory) -> None:
    number = registries.create(directory, HUB, HEALTHY)
    found = registries.find(directory, number)
    assert found

    assert registries.site(SETTINGS, found) == Site(HUB.url, "docker-hub", "me", "s3cret")
    assert "s3cret" not in json.dumps(dict(found.entry.document))
    with pytest.raises(SealError):
        registries.site(replace(SETTINGS, signing_key=b"o" * 32), found)
    assert registries.site(SETTINGS, replace(found, secret="")).access_secret == ""


def test_a_name_is_taken_once(directory: Directory) -> None:
    registries.create(directory, HUB, HEALTHY)
    other = registries.create(directory, replace(HUB, name="other"), HEALTHY)
    found = registries.find(directory, other)
    assert found

    with pytest.raises(RefusedError, match="of this name"):
        registries.create(directory, HUB, HEALTHY)
    with pytest.raises(RefusedError, match="of this name"):
        registries.update(directory, found, HUB, HEALTHY)


def test_a_registry_keeps_its_id_under_another_name(directory: Directory) -> None:
    number = registries.create(directory, HUB, HEALTHY)
    found = registries.find(directory, number)
    assert found
    registries.update(directory, found, replace(HUB, name="bud", insecure=True), UNHEALTHY)

    again = registries.find(directory, number)
    assert again
    assert (again.name, again.insecure, again.status, again.created) == ("bud", True, UNHEALTHY, found.created)
    assert registries.named(directory, "hub") is None


def test_how_a_registry_is_refuses_nobody_s_change(directory: Directory) -> None:
    number = registries.create(directory, HUB, HEALTHY)
    found = registries.find(directory, number)
    assert found
    registries.note(directory, found, UNHEALTHY)
    registries.update(directory, found, replace(HUB, description="ours"), HEALTHY)

    with pytest.raises(RefusedError, match="changed or deleted meanwhile"):
        registries.update(directory, found, HUB, HEALTHY)


def test_nothing_is_left_of_a_registry_that_is_deleted(directory: Directory) -> None:
    number = registries.create(directory, HUB, HEALTHY)
    found = registries.find(directory, number)
    assert found
    registries.delete(directory, found)

    assert registries.find(directory, number) is None
    assert registries.count(directory) == 0
    assert directory.table.get(REGISTRIES.key("", "hub")) is None
    registries.note(directory, found, HEALTHY)
    assert directory.table.query("health/registries", Slice()).entries == ()
