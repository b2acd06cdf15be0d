"""What is shown of an artifact's content, and what hostile content does to it: nothing."""

import gzip
import io
import tarfile
from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api.harbor.additions import unpack
from chalicelib.api.harbor.errors import HarborError
from tests.api.artifacts import Registry, packed

APP = "/projects/library/repositories/app/artifacts"
FILES = {"app/Chart.yaml": b"name: app", "app/values.yaml": b"a: 1\n", "app/README.md": b"# App"}


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_chart_shows_its_values_its_readme_and_its_dependencies(registry: Registry) -> None:
    registry.chart("library/app", "1.2.3", FILES)

    shown = registry.get(f"{APP}/1.2.3")
    values = registry.api("GET", f"{APP}/1.2.3/additions/values.yaml")
    readme = registry.api("GET", f"{APP}/1.2.3/additions/readme.md")

    assert (shown["type"], shown["extra_attrs"]["name"]) == ("CHART", "app")
    assert set(shown["addition_links"]) == {"values.yaml", "readme.md", "dependencies"}
    assert (values.body, values.headers["Content-Type"]) == (b"a: 1\n", "text/plain; charset=utf-8")
    assert (readme.body, readme.headers["Content-Type"]) == (b"# App", "text/markdown; charset=utf-8")
    assert readme.headers["X-Content-Type-Options"] == "nosniff"
    assert orjson.loads(registry.api("GET", f"{APP}/1.2.3/additions/dependencies").body) == [{"name": "db"}]


def test_an_addition_that_there_is_not_is_refused(registry: Registry) -> None:
    registry.chart("library/app", "chart", {"app/Chart.yaml": b""})
    registry.image("library/app", "image", "x")

    assert registry.api("GET", f"{APP}/chart/additions/values.yaml").status == 404
    assert registry.api("GET", f"{APP}/chart/additions/build_history").status == 400
    assert registry.api("GET", f"{APP}/image/additions/readme.md").status == 400
    assert registry.api("GET", f"{APP}/image/additions/nothing").status == 400
    assert registry.api("GET", f"{APP}/none/additions/build_history").status == 404


def bomb() -> bytes:
    return gzip.compress(bytes(80 << 20))


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"no archive either" * 100), bomb()],
    ids=["empty", "text", "compressed text", "bomb"],
)
def test_what_is_no_archive_or_a_bomb_is_refused(content: bytes) -> None:
    with pytest.raises(HarborError):
        assert unpack(content, "values.yaml") is not None


def test_only_a_plain_file_at_the_top_of_the_chart_counts() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("app/values.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        device = tarfile.TarInfo("app/values.yaml")
        device.type = tarfile.CHRTYPE
        archive.addfile(device)
    content = gzip.compress(buffer.getvalue())

    assert unpack(content, "values.yaml") is None
    assert unpack(packed({"app/charts/db/values.yaml": b"deeper"}), "values.yaml") is None
    assert unpack(packed({"app/values.yaml": bytes(2 << 20)}), "values.yaml") is None
    assert unpack(packed({"./app/values.yaml": b"a: 1"}), "values.yaml") == b"a: 1"


@given(st.binary(max_size=2000), st.integers(0, 1500))
def test_damage_anywhere_is_refused_or_harmless(noise: bytes, where: int) -> None:
    whole = gzip.decompress(packed(FILES))
    damaged = gzip.compress(whole[:where] + noise + whole[where + len(noise) :])

    found: bytes | None = None
    with suppress(HarborError):
        found = unpack(damaged, "values.yaml")

    assert found is None or len(found) <= 1 << 20
