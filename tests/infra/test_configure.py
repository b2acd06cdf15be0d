"""The names of a real account in what `chalice deploy` reads."""

import json
import shutil
from pathlib import Path

import pytest

from infra.configure import Names, changes, summary, write
from infra.package import ROOT

OURS = Names("images-123", "registry-table", "/team/registry")
AS_COMMITTED = Names("roadstead", "roadstead", "/roadstead")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".chalice").mkdir()
    for path in (ROOT / ".chalice").glob("*.json"):
        shutil.copy(path, tmp_path / ".chalice")
    return tmp_path


def policy(project: Path, function: str) -> str:
    return (project / ".chalice" / f"policy-{function}.json").read_text()


def test_names_of_the_repository_are_as_they_should_be(project: Path) -> None:
    assert not changes(project, "prod", AS_COMMITTED)


def test_the_functions_are_told_the_real_names(project: Path) -> None:
    write(changes(project, "prod", OURS))

    stage = json.loads((project / ".chalice" / "config.json").read_text())["stages"]["prod"]
    assert stage["environment_variables"] == {
        "ROADSTEAD_BUCKET": "images-123",
        "ROADSTEAD_TABLE": "registry-table",
        "ROADSTEAD_SIGNING_KEY": "ssm:/team/registry/signing-key",
        "ROADSTEAD_QUEUE": "roadstead-jobs",
    }
    password = stage["lambda_functions"]["api_handler"]["environment_variables"]["ROADSTEAD_ADMIN_PASSWORD"]
    assert password == "ssm:/team/registry/admin-password"


def test_policies_allow_the_real_names_and_no_longer_the_others(project: Path) -> None:
    write(changes(project, "prod", OURS))

    text = policy(project, "registry")
    assert '"arn:aws:s3:::images-123"' in text
    assert ":table/registry-table" in text
    assert ":parameter/team/registry/signing-key" in text
    for old in (":::roadstead", "table/roadstead", "parameter/roadstead"):
        assert old not in text
    assert "/aws/lambda/roadstead-*" in text


def test_a_second_time_changes_nothing(project: Path) -> None:
    write(changes(project, "prod", OURS))

    assert not changes(project, "prod", OURS)


def test_the_way_back_leads_to_what_was_there(project: Path) -> None:
    before = policy(project, "registry")
    write(changes(project, "prod", OURS))
    write(changes(project, "prod", AS_COMMITTED))

    assert policy(project, "registry") == before


def test_the_summary_shows_lines_as_they_were_and_as_they_become(project: Path) -> None:
    lines = list(summary(changes(project, "prod", Names("images-123", "roadstead", "/roadstead"))))

    assert '  - "ROADSTEAD_BUCKET": "roadstead",' in lines
    assert '  + "ROADSTEAD_BUCKET": "images-123",' in lines
    assert not any("TABLE" in line for line in lines)


def test_a_stage_that_is_not_configured_is_named(project: Path) -> None:
    with pytest.raises(LookupError, match="no stage test"):
        changes(project, "test", OURS)
