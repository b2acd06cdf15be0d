"""Jobs from the command line: started, followed, and summed up."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Answer, Harbor

REPAIRED = {"tag_damaged": 3}
FOUND = {"found": {**REPAIRED, "blob_missing": 1}, "repaired": REPAIRED, "left": 1}
GC = "/system/gc/schedule"
VERIFY = "/system/verify/schedule"


def test_garbage_is_collected_and_what_it_logs_is_shown_once(cli: Cli, harbor: Harbor) -> None:
    done = cli("gc", "--delete-untagged")

    assert (done.exit_code, done.stderr) == (0, "one\ntwo\n")
    assert done.stdout == "FREED:      2.1 MiB\nBLOBS:      3\nMANIFESTS:  1\n"
    parameters = {"dry_run": False, "delete_untagged": True}
    assert harbor.changes() == [("POST", GC, {"schedule": {"type": "Manual"}, "parameters": parameters})]


def test_what_was_only_tried_is_not_said_to_be_done(cli: Cli) -> None:
    assert cli("gc", "--dry-run").stdout == "WOULD FREE:  2.1 MiB\nBLOBS:       3\nMANIFESTS:   1\n"


def test_a_job_can_be_left_alone(cli: Cli, harbor: Harbor) -> None:
    for command in ("gc", "verify"):
        assert cli(command, "--no-wait", "-q").stdout == "41\n"
    assert all(asked.method == "POST" for asked in harbor.asked)


def test_what_is_whole_is_said_to_be_so(cli: Cli, harbor: Harbor) -> None:
    harbor.job_found = {"found": {}, "repaired": {}, "left": 0}

    done = cli("verify")

    assert (done.exit_code, done.stdout) == (0, "Nothing is wrong.\n")


def test_what_is_broken_is_listed_and_fails(cli: Cli, harbor: Harbor) -> None:
    harbor.job_found = FOUND

    done = cli("verify", "--repair", "--sample", "100")

    assert done.exit_code == 1
    assert done.stdout == "DAMAGE        FOUND  REPAIRED\nblob_missing  1      0\ntag_damaged   3      3\n"
    assert "1 damages are left" in done.stderr


def test_what_was_repaired_is_no_failure(cli: Cli, harbor: Harbor) -> None:
    harbor.job_found = {"found": REPAIRED, "repaired": REPAIRED, "left": 0}

    assert cli("verify", "--repair").exit_code == 0


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        ((), {}),
        (("library",), {"project": "library"}),
        (("library/a/b",), {"project": "library", "repository": "a/b"}),
    ],
)
def test_a_part_can_be_verified(cli: Cli, harbor: Harbor, target: tuple[str, ...], meant: dict[str, str]) -> None:
    harbor.job_found = {}

    assert cli("verify", *target).exit_code == 0
    assert harbor.changes()[0][2]["parameters"] == {"repair": False, "sample": 1, **meant}


@pytest.mark.parametrize("target", ["Library", "library/a:v1", "a//b"])
def test_what_names_no_repository_is_refused(cli: Cli, harbor: Harbor, target: str) -> None:
    assert cli("verify", target).exit_code == 2
    assert not harbor.asked


@pytest.mark.parametrize("status", ["Error", "Stopped"])
def test_a_job_that_did_not_end_well_fails(cli: Cli, harbor: Harbor, status: str) -> None:
    for command in ("gc", "verify"):
        harbor.job = [("Running", ""), (status, "why\n")]
        done = cli(command)
        assert done.exit_code == 1
        assert f"status {status}" in done.stderr


def test_a_server_that_does_not_say_what_it_started_is_no_success(cli: Cli, harbor: Harbor) -> None:
    harbor.instead["POST", VERIFY] = Answer(201, None, {"Location": f"{VERIFY}/0"})

    assert cli("verify").exit_code == 1


def test_the_execution_is_printed_as_json(cli: Cli) -> None:
    for command in ("gc", "verify"):
        assert cli.json(command)["id"] == 41
