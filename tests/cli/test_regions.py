"""Regions from the command line: what they are, what would be lost, and which takes the writes."""

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor

REGIONS, ALIGNMENTS = "/system/regions", "/system/regions/alignments"
LATE = {"lack": "has not arrived", "repository": "library/app", "reference": "v2", "missing": [], "tags": []}
BROKEN = {
    "lack": "lacks content", "repository": "library/app", "reference": "sha256:aa", "missing": ["sha256:bb"],
    "tags": ["v1", "latest"],
}  # fmt: skip
ALONE = {"lack": "is here alone", "repository": "library/app", "reference": "lost", "missing": [], "tags": []}


def test_a_region_is_shown_with_how_far_it_is_behind(cli: Cli) -> None:
    shown = cli("region", "status").stdout

    assert "REGION:   paris\nROLE:     replica\n" in shown
    assert "BEHIND:   12 s\n" in shown
    assert "OTHER:    https://frankfurt.example.org\n" in shown


def test_a_registry_in_one_region_says_so(cli: Cli, harbor: Harbor) -> None:
    harbor.region = {"name": "", "role": "primary", "epoch": 1}

    done = cli("region", "status")

    assert done.stdout == "ROLE:   primary\nEPOCH:  1\n"
    assert "is in one region" in done.stderr


def test_what_has_not_arrived_is_listed_page_after_page(cli: Cli, harbor: Harbor) -> None:
    harbor.arrears = [LATE, BROKEN]

    lines = cli("region", "arrears").stdout.splitlines()

    assert [line.split()[:2] for line in lines[1:]] == [["library/app", "v2"], ["library/app", "sha256:aa"]]
    assert "v1, latest" in lines[2]


def test_a_promotion_names_what_would_not_be_part_of_it(cli: Cli, harbor: Harbor) -> None:
    harbor.arrears = [LATE, BROKEN]

    done = cli("region", "promote", "--yes")

    assert done.stderr == "library/app:v2 has not arrived\nlibrary/app@sha256:aa lacks content\n"
    assert done.stdout.startswith("paris is the primary")
    assert harbor.changes() == [("PUT", REGIONS, {"role": "primary", "force": False})]


def test_without_the_check_nothing_is_looked_for(cli: Cli, harbor: Harbor) -> None:
    assert cli("region", "promote", "--yes", "--no-check", "--force", "-q").stdout == "paris\n"

    assert [asked.path for asked in harbor.asked if "arrears" in asked.path] == []
    assert harbor.changes() == [("PUT", REGIONS, {"role": "primary", "force": True})]


def test_nothing_is_promoted_where_nobody_can_be_asked(cli: Cli, harbor: Harbor) -> None:
    for command in ("promote", "demote", "rejoin"):
        assert cli("region", command).exit_code == 2
    assert harbor.changes() == []


def test_an_old_primary_comes_back_after_its_tags_are_what_they_are_elsewhere(cli: Cli, harbor: Harbor) -> None:
    harbor.arrears = [ALONE, LATE]

    done = cli("region", "rejoin", "--yes")

    assert done.stderr == "library/app:lost is here alone\n"
    assert done.stdout.startswith("paris is a copy again.")
    assert harbor.changes() == [
        ("POST", ALIGNMENTS, {"last": ""}),
        ("POST", ALIGNMENTS, {"last": "1"}),
        ("PUT", REGIONS, {"role": "replica"}),
    ]


def test_a_primary_makes_room(cli: Cli, harbor: Harbor) -> None:
    assert cli.json("region", "demote", "--yes")["role"] == "replica"
    assert harbor.changes() == [("PUT", REGIONS, {"role": "replica"})]
