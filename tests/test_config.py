"""Settings of regions: what the environment may say, and what is refused with the variable to mend."""

import pytest

from chalicelib.config import PeerSettings, Settings


def test_without_settings_there_is_one_region() -> None:
    settings = Settings.from_env({})

    assert (settings.region_name, settings.begins_as_replica, settings.peer) == ("", False, PeerSettings())


def test_a_replica_knows_its_name_and_the_other_region() -> None:
    settings = Settings.from_env({
        "ROADSTEAD_REGION_NAME": "paris",
        "ROADSTEAD_REGION_ROLE": "replica",
        "ROADSTEAD_PEER_BUCKET": "first",
        "ROADSTEAD_PEER_REGION": "eu-central-1",
        "ROADSTEAD_PEER_URL": "https://registry.example.org/",
    })  # fmt: skip

    assert (settings.region_name, settings.begins_as_replica) == ("paris", True)
    assert settings.peer == PeerSettings("first", "eu-central-1", "https://registry.example.org")


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"ROADSTEAD_REGION_NAME": "Paris 1"}, "ROADSTEAD_REGION_NAME"),
        ({"ROADSTEAD_REGION_NAME": "a" * 41}, "ROADSTEAD_REGION_NAME"),
        ({"ROADSTEAD_REGION_NAME": "paris", "ROADSTEAD_REGION_ROLE": "master"}, "ROADSTEAD_REGION_ROLE"),
        ({"ROADSTEAD_REGION_ROLE": "replica"}, "ROADSTEAD_REGION_NAME"),
        ({"ROADSTEAD_ARRIVALS": "yes"}, "ROADSTEAD_ARRIVALS"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_variable_to_mend(variables: dict[str, str], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Settings.from_env(variables)
