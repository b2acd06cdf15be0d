"""How the command line takes what servers do: refusals, detours, endless lists, silence and nonsense."""

import json
import socket

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import API, Answer, Asked, Harbor, serving

LIST = ("GET", "/projects")


def refusal(status: int, message: str = "") -> Answer:
    return Answer(status, {"errors": [{"code": "X", "message": message}]})


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (refusal(400, "bad page"), 1, "bad page (status 400). Check the arguments."),
        (refusal(401), 3, "the server refused the credentials (status 401). Log in again: roadstead login http"),
        (refusal(403, "no right"), 1, "no right (status 403). Ask an administrator for the right."),
        (refusal(404, "gone"), 4, "gone (status 404). Check the name"),
        (refusal(405), 1, "the server does not offer this (status 405)"),
        (refusal(409, "there is one."), 1, "there is one (status 409). Choose another name"),
        (refusal(412, "it holds 2 repositories"), 1, "it holds 2 repositories (status 412). Remove what"),
        (refusal(413), 1, "that is too large for the server (status 413)"),
        (refusal(418, "a teapot"), 1, "a teapot (status 418)"),
        (refusal(429), 1, "too many requests (status 429). Wait a while and try again."),
        (Answer(429, None, {"Retry-After": "7"}), 1, "Wait 7 seconds and try again."),
        (Answer(429, None, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 1, "Wait a while and try again."),
        (
            refusal(500, "internal error"),
            1,
            "internal error (status 500, request a-request). Try again; its log knows more.",
        ),
        (Answer(500, b"", {"X-Request-Id": "abc"}), 1, "the server failed (status 500, request abc)."),
        (refusal(501), 1, "the server does not offer this (status 501)"),
        (Answer(502, b"<html>Bad gateway</html>"), 5, "out of reach behind its proxy (status 502)"),
        (Answer(503, b"<html>"), 5, "the server is out of service (status 503)"),
        (Answer(504, b""), 5, "the server did not answer its proxy (status 504)"),
        (Answer(404, b"<html><b>Not found</b></html>"), 4, "there is no such thing (status 404)"),
        (Answer(400, {"errors": "what?"}), 1, "the server did not accept the request (status 400)"),
        (Answer(400, {"errors": [{"message": ["x"]}]}), 1, "the server did not accept the request (status 400)"),
        (Answer(400, ["x"]), 1, "the server did not accept the request (status 400)"),
        (refusal(400, "long " * 1000), 1, "long " * 99),
    ],
)
def test_refusals_are_sentences_with_an_exit_code(
    cli: Cli, harbor: Harbor, answer: Answer, code: int, words: str
) -> None:
    harbor.instead[LIST] = answer

    done = cli("project", "list")

    assert done.exit_code == code
    assert words in done.stderr
    assert done.stdout == ""
    assert len(done.stderr) < 700


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>Welcome</html>", b'"text"', b"7", b"[1]", b"[" * 100_000, b"\xff"]
)
def test_an_answer_that_is_no_list_is_no_harbor(cli: Cli, harbor: Harbor, body: bytes) -> None:
    harbor.instead[LIST] = Answer(200, body)

    done = cli("project", "list")

    assert done.exit_code == 1
    assert done.stderr.endswith("answered with something that is not Harbor's API. Check the address.\n")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html>Welcome</html>"])
def test_an_answer_that_is_no_object_is_no_harbor(cli: Cli, harbor: Harbor, body: bytes) -> None:
    harbor.instead["GET", "/projects/web"] = Answer(200, body)

    assert "not Harbor's API" in cli("project", "show", "web").stderr


def test_fields_of_the_wrong_kind_are_shown_and_break_nothing(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(
        200, [{"name": 7, "metadata": "?", "current_user_role_id": "x", "creation_time": {}}, {"repo_count": None}]
    )

    done = cli("project", "list")

    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].split() == ["7", "private", "-", "-", "never"]


def test_lists_are_followed_to_their_end(cli: Cli, harbor: Harbor) -> None:
    harbor.projects = [{"name": f"p{number}", "metadata": {"public": "false"}} for number in range(250)]

    assert len(cli("project", "list", "-q").stdout.splitlines()) == 250
    assert [asked.query.get("page_size") for asked in harbor.asked] == ["100"] * 3


@pytest.mark.parametrize(("limit", "requests"), [(1, 1), (7, 1), (100, 1), (101, 2), (250, 3), (1000, 3)])
def test_a_limit_asks_for_no_more_than_is_shown(cli: Cli, harbor: Harbor, limit: int, requests: int) -> None:
    harbor.projects = [{"name": f"p{number}", "metadata": {"public": "false"}} for number in range(250)]

    names = cli("project", "list", "-q", "--limit", str(limit)).stdout.split()

    assert names == [f"p{number}" for number in range(min(limit, 250))]
    assert len(harbor.asked) == requests
    assert harbor.asked[0].query["page_size"] == str(min(limit, 100))


def test_an_empty_list_is_said_and_is_no_failure(cli: Cli, harbor: Harbor) -> None:
    harbor.projects = []

    done = cli("project", "list")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "Nothing to list.\n")
    assert cli("project", "list", "-q").output == ""
    assert cli.json("project", "list") == []


def test_a_list_that_is_null_is_empty(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(200, b"null")

    assert cli.json("project", "list") == []


def test_pages_that_turn_in_a_circle_end(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(200, [{}], {"Link": f'<{API}/projects?page=2>; rel="next"'})

    done = cli("project", "list")

    assert done.exit_code == 1
    assert "the same next page again and again" in done.stderr
    assert len(harbor.asked) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_the_server_itself_is_followed(cli: Cli, harbor: Harbor, status: int) -> None:
    harbor.instead["GET", "/projects/web"] = Answer(status, None, {"Location": f"{API}/projects/library"})

    assert cli("project", "show", "web", "-q").stdout == "library\n"


def test_redirects_without_end_end(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(302, None, {"Location": f"{API}/projects"})

    done = cli("project", "list")

    assert done.exit_code == 1
    assert "(status 302)" in done.stderr
    assert len(harbor.asked) == 6


@pytest.mark.parametrize("header", ["Location", "Link"])
def test_credentials_never_follow_to_another_server(cli: Cli, harbor: Harbor, header: str) -> None:
    with serving() as other:
        target = f"{other.url}{API}/projects"
        if header == "Location":
            harbor.instead[LIST] = Answer(307, None, {"Location": target})
        else:
            harbor.instead[LIST] = Answer(200, [{}], {"Link": f'<{target}>; rel="next"'})
        done = cli("project", "list")

        assert other.asked == []
    assert done.exit_code == 1
    assert target in done.stderr
    assert "another server: not followed" in done.stderr


def test_a_next_page_that_is_no_address_is_not_followed(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(200, [{}], {"Link": '<http://[>; rel="next"'})

    done = cli("project", "list")

    assert done.exit_code == 1
    assert "not followed" in done.stderr


@pytest.mark.parametrize(
    "target",
    [
        "https://127.0.0.1/",
        "//127.0.0.1:1/",
        "https://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://localhost/",
        "ftp://x/",
        "http://[",
        "http://example.com/\x9b31m",
        "http://127.0.0.1:{port}@evil.example.com/",
    ],
)
def test_other_schemes_ports_and_names_are_other_servers(cli: Cli, harbor: Harbor, target: str) -> None:
    location = target.format(port=harbor.url.rpartition(":")[2])
    harbor.instead[LIST] = Answer(302, None, {"Location": location})

    done = cli("project", "list")

    assert done.exit_code == 1
    assert "not followed" in done.stderr
    assert "\x9b" not in done.stderr


def test_a_change_is_never_sent_on(cli: Cli, harbor: Harbor) -> None:
    harbor.instead["DELETE", "/projects/web"] = Answer(307, None, {"Location": f"{API}/projects/library"})

    done = cli("project", "delete", "web", "--yes")

    assert done.exit_code == 1
    assert "nothing was changed" in done.stderr
    assert [asked.path for asked in harbor.asked] == [f"{API}/projects/web"]


def test_a_server_that_does_not_answer_in_time_is_out_of_reach(cli: Cli, harbor: Harbor) -> None:
    def wait(_asked: Asked) -> Answer:
        harbor.ended.wait(10)
        return Answer()

    harbor.instead[LIST] = wait

    done = cli("project", "list", "--timeout", "0.2")

    assert done.exit_code == 5
    assert "did not answer in time" in done.stderr
    assert "--timeout" in done.stderr


def test_a_server_that_is_gone_is_out_of_reach(nobody: Cli) -> None:
    with serving() as gone:
        nobody.login(gone)

    done = nobody("project", "list")

    assert done.exit_code == 5
    assert done.stderr.startswith(f"Error: Cannot reach {gone.url}: ")


def test_an_answer_that_breaks_off_is_out_of_reach(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(200, b"[", {"Content-Length": "100", "Connection": "close"})

    assert cli("project", "list").exit_code == 5


def test_a_compressed_answer_that_is_damaged_is_said(cli: Cli, harbor: Harbor) -> None:
    harbor.instead[LIST] = Answer(200, b"no gzip", {"Content-Encoding": "gzip"})

    assert cli("project", "list").exit_code == 5


def test_what_speaks_no_http_is_out_of_reach(nobody: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        closed.listen()
        done = nobody("status", "--server", f"https://127.0.0.1:{port}", "--timeout", "0.3")

    assert done.exit_code == 5


def test_the_server_may_not_write_to_the_terminal(cli: Cli, harbor: Harbor) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202eetirw\x9b31m\r\n"
    harbor.instead[LIST] = Answer(
        200, [{"name": evil, "metadata": {"public": "true"}}, {"name": "[red]x[/red] :smile:"}]
    )
    harbor.instead["GET", "/projects/web"] = refusal(400, evil)
    harbor.instead["PATCH", "/robots/21"] = Answer(200, {"secret": evil})
    shown = [
        cli("project", "list"),
        cli("project", "list", "-q"),
        cli("project", "list", "--json"),
        cli("project", "show", "web"),
        cli("robot", "refresh", "ci"),
        cli("robot", "refresh", "ci", "-q"),
    ]

    for done in shown:
        assert not set("\x1b\x07\x9b\r\u202e") & set(done.output)
    assert r"\x1b]0;owned\x07" in shown[0].stdout
    assert "[red]x[/red] :smile:" in shown[0].stdout
    assert json.loads(shown[2].stdout)[0]["name"] == evil
