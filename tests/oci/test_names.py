"""Names, tags, digests and references: what is one, and what is refused with which code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import MAX_NAME, Repository, Tag, parse_reference

HEX = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
    "name",
    ["a", "0", "library/nginx", "a.b", "a_b", "a__b", "a-b", "a---b", "a/b/c/d/e/f", "a" * MAX_NAME],
)
def test_a_name_of_the_grammar_is_a_repository(name: str) -> None:
    assert Repository.parse(name).name == name


@pytest.mark.parametrize(
    "name",
    [
        "", "A", "a/", "/a", "a//b", "a..b", "a___b", "a._b", "-a", "a-", "_a", "a/_b", ".a", "a b", "a:b", "ä",
        "a\n", "a\0", "a" * (MAX_NAME + 1),
    ],
)  # fmt: skip
def test_any_other_name_is_invalid(name: str) -> None:
    with pytest.raises(RegistryError, match="NAME_INVALID"):
        Repository.parse(name)


@given(st.text(max_size=20))
def test_a_name_that_is_accepted_has_no_part_that_could_be_a_marker_of_the_layout(text: str) -> None:
    try:
        repository = Repository.parse(text)
    except RegistryError:
        return

    assert not any(part.startswith("_") or not part for part in repository.name.split("/"))


def test_host_and_name_together_have_at_most_255_characters() -> None:
    host = "registry.example.org:5000"
    Repository.parse("a" * 229).check_host(host)

    with pytest.raises(RegistryError, match="at most 229 characters"):
        Repository.parse("a" * 230).check_host(host)


@pytest.mark.parametrize("tag", ["latest", "1", "_", "v1.2-rc_3", "A", "a" * 128])
def test_a_tag_of_the_grammar_is_a_reference(tag: str) -> None:
    assert parse_reference(tag) == Tag(tag)


@pytest.mark.parametrize("tag", ["", ".a", "-a", "a/b", "a b", "a" * 129, "ä", "a\n"])
def test_any_other_tag_is_invalid(tag: str) -> None:
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        parse_reference(tag)


@pytest.mark.parametrize("digest", [f"sha256:{HEX}", "sha512:" + HEX * 2])
def test_a_digest_is_a_reference(digest: str) -> None:
    parsed = parse_reference(digest)

    assert isinstance(parsed, Digest)
    assert str(parsed) == digest


@pytest.mark.parametrize(
    ("digest", "message"),
    [
        (f"md5:{HEX[:32]}", "not supported"),
        (f"sha384:{HEX}", "not supported"),
        (f"sha256:{HEX[:-1]}", "64 lower-case"),
        (f"sha256:{HEX}0", "64 lower-case"),
        (f"sha256:{HEX.upper()}", "64 lower-case"),
        (f"sha512:{HEX}", "128 lower-case"),
        ("sha256:", "looks like"),
        (":" + HEX, "looks like"),
        ("sha256:" + "a" * 100_000, "looks like"),
    ],
)
def test_any_other_digest_is_invalid_and_says_why(digest: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message) as refused:
        parse_reference(digest)

    assert refused.value.code.name == "DIGEST_INVALID"


@given(st.binary(max_size=100), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_matches_its_content_and_no_other(content: bytes, algorithm: str) -> None:
    digest = Digest.of(content, algorithm)

    assert Digest.parse(str(digest)) == digest
    assert digest.matches(content)
    assert not digest.matches(content + b"x")
