"""The documents tell the truth: README tables, the OpenAPI description and links, compared with the code."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chalicelib.api.dispatch import ENDPOINTS
from chalicelib.api.harbor.unbuilt import UNBUILT
from chalicelib.config import VARIABLES
from chalicelib.oci.errors import ErrorCode

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPENAPI = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_readme_s_settings_are_the_code_s() -> None:
    rows = dict(re.findall(r"^\| `([A-Z0-9_]+)` \| (.+?) \|$", README, re.MULTILINE))

    assert {name: text for name, text in rows.items() if name in VARIABLES} == dict(VARIABLES)
    assert set(rows) - set(VARIABLES) == {"PORT", "HOST", "DATA", "STOP_SECONDS", "JOBS"}


def test_the_readme_s_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"make ([a-z-]+)", README)) <= targets


def test_make_alone_prints_every_target() -> None:
    printed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout

    assert "make run" in printed
    assert "make clients" in printed


def test_the_ci_runs_the_readme_s_test_command() -> None:
    assert "make test" in README
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    "path", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda path: path.name
)
def test_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_openapi_description_has_every_endpoint_and_no_other() -> None:
    described = {
        (method.upper(), path.replace("{", "<").replace("}", ">"))
        for path, item in OPENAPI["paths"].items()
        for method in item
        if method in {"get", "head", "put", "post", "patch", "delete"}
    }

    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_the_openapi_description_has_every_error_code() -> None:
    codes = OPENAPI["components"]["schemas"]["Errors"]["properties"]["errors"]["items"]["properties"]["code"]["enum"]

    assert codes == [code.name for code in ErrorCode]


def test_decisions_are_short_and_name_their_downside() -> None:
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        text = path.read_text()
        assert "Downside" in text, path.name
        assert text.count("\n") <= 20, path.name


def test_the_readme_lists_what_of_harbor_s_api_is_not_built() -> None:
    section = README.partition("## Harbor's API")[2].partition("\n## ")[0]
    beginnings = {"/" + path.split("/")[1] for _, path in UNBUILT if not path.startswith("/projects/")}
    of_projects = {part for _, path in UNBUILT if path.startswith("/projects/") for part in path.split("/")[3:4]}

    listed = set(re.findall(r"`(/[a-z0-9/]+|[a-z]+)`", section, re.IGNORECASE))
    assert {"/" + part.split("/")[1] for part in listed if part.startswith("/")} >= beginnings
    assert {f"/{part}" for part in of_projects - {"repositories"}} <= listed
