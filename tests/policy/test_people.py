"""Users and groups: which names are one name, which are none, and which passwords are good enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import people
from chalicelib.policy.people import LONGEST_KEY, NOBODY, lookup_key

# Capitals, ligatures, wide forms, marks that move, invisible and illegal characters.
AWKWARD = st.text(
    st.sampled_from("aA$＄:,ﬁſßẞΣςİıÅÅＡ①\u0345\u0301\u0308\u00a0\u200b\u202e\t 李\U0001f600\ufdfa"), max_size=12
)
texts = st.text(max_size=20) | AWKWARD


@pytest.mark.parametrize(
    "name", ["a", "alice", "Alice Liddell", "alice@example.org", "a+b", "李雷", "zoë", "a" * 255, "李" * 255]
)
def test_a_name_that_can_be_used_is_accepted(name: str) -> None:
    assert people.check_user_name(name) == name
    assert lookup_key(name) != NOBODY


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "1 to 255 characters"),
        ("a" * 256, "1 to 255 characters"),
        (" a", "blank"),
        ("a ", "blank"),
        (" ", "blank"),
        ("a\nb", "control"),
        ("a\0", "control"),
        ("a\u200bb", "invisible"),
        ("a\u202eb", "invisible"),
        ("a\u00a0b", "invisible"),
        ("\ud800", "control"),
        ("a:b", "none of the characters"),
        ("robot$ci", "none of the characters"),
        ("robot＄ci", "none of the characters"),
        ("\ufdfa" * 255, "too long"),
        *((f"a{character}b", "none of the characters") for character in people.ILLEGAL),
    ],
)  # fmt: skip
def test_other_names_are_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        people.check_user_name(name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Alice", "aLICE"),
        ("ＡＬＩＣＥ", "alice"),
        ("ﬁona", "fiona"),
        ("STRASSE", "straße"),
        ("ΣΑΣ", "σας"),
        ("A\u030a", "\u00e5"),
        ("user①", "user1"),
    ],
)
def test_names_that_look_alike_are_one_name(name: str, other: str) -> None:
    assert lookup_key(name) == lookup_key(other)


def test_different_names_stay_different() -> None:
    names = ["alice", "alicia", "a.lice", "alice1", "zoe", "zoë"]

    assert len({lookup_key(name) for name in names}) == len(names)


@given(texts)
def test_the_key_of_a_key_is_itself(text: str) -> None:
    assert lookup_key(lookup_key(text)) in (lookup_key(text), NOBODY)


@given(texts)
def test_a_key_is_always_one_that_the_database_takes(text: str) -> None:
    assert 1 <= len(lookup_key(text).encode()) <= LONGEST_KEY


@pytest.mark.parametrize("text", ["", "a" * 256, "a" * 1_000_000, "\ufdfa" * 255, "\0", "\ud800", "a\nb", NOBODY])
def test_what_is_no_name_is_nobody_s(text: str) -> None:
    assert lookup_key(text) == NOBODY


@given(texts)
def test_an_accepted_name_is_somebody_s_and_no_robot_account_s(text: str) -> None:
    try:
        people.check_user_name(text)
    except ValueError:
        return

    assert lookup_key(text) != NOBODY
    assert not {*text, *lookup_key(text)} & set(people.ILLEGAL)


@pytest.mark.parametrize("password", ["Harbor12", "A1aaaaaa", "Aa1" + "x" * 125, "Pässwort1", "a B 3 ! $"])
def test_a_good_password_is_accepted(password: str) -> None:
    assert people.check_password(password) == password


@pytest.mark.parametrize(
    "password", ["", "Aa1aaaa", "Aa1" + "x" * 126, "harbor12", "HARBOR12", "HarborHarbor", "harbor١٢Ä", "hÄrbor123"]
)
def test_a_bad_password_is_refused_and_not_repeated(password: str) -> None:
    with pytest.raises(ValueError, match="8 to 128 characters") as refused:
        people.check_password(password)

    assert not password or password not in str(refused.value)


@pytest.mark.parametrize(
    "address", ["", "a@b.co", "alice+x@mail.example.org", "zoë@example.org", "o'brien@example.org"]
)
def test_an_e_mail_address_or_none_is_accepted(address: str) -> None:
    assert people.check_email(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "a", "a@", "@b.co", "a@b", "a b@c.de", "a@b..co", "a@-b.co", "a@b-.co", "a@@b.co", "a@b.co,c@d.eu",
        "<a@b.co>", "a@b.co\n", "a\0@b.co", "a\u202e@b.co", f"{'a' * 250}@b.co", f"{'ä' * 126}@b.co",
    ],
)  # fmt: skip
def test_what_is_no_e_mail_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="email"):
        people.check_email(address)


def test_texts_that_are_only_shown_may_be_in_any_language() -> None:
    for text in ("", "Zoë Müller", "می‌خواهم", "👩‍🚀", "x" * 255):
        assert people.check_text("realname", text) == text


@pytest.mark.parametrize("text", ["x" * 256, "a\nb", "a\x1b[31m", "a\x7f", "\ud800"])
def test_a_text_with_control_characters_is_refused_by_the_name_of_its_field(text: str) -> None:
    with pytest.raises(ValueError, match=r"^comment "):
        people.check_text("comment", text)


@pytest.mark.parametrize(
    ("name", "kind", "dn"),
    [
        ("developers", people.GroupType.LDAP, "cn=developers,dc=example,dc=org"),
        ("developers", 2, ""),
        ("/org/team", 3, ""),
        ("Entwickler:innen", 3, ""),
    ],
)
def test_groups_of_the_three_kinds_are_accepted(name: str, kind: int, dn: str) -> None:
    people.check_group(name, kind, dn)


@pytest.mark.parametrize(
    ("name", "kind", "dn", "message"),
    [
        ("a", 0, "", "group_type"),
        ("a", 4, "", "group_type"),
        ("", 2, "", "needs a group_name"),
        (" a", 2, "", "blank"),
        ("a" * 256, 2, "", "group_name has at most 255"),
        ("\U0001f600" * 251, 2, "", "needs a group_name"),
        ("a\n", 2, "", "blank"),
        ("a\nb", 2, "", "group_name has no control"),
        ("a", 2, "cn=a", "only a group of LDAP"),
        ("a", 3, "cn=a", "only a group of LDAP"),
        ("a", 1, "", "ldap_group_dn"),
        ("a", 1, "developers", "ldap_group_dn"),
        ("a", 1, "cn=", "ldap_group_dn"),
        ("a", 1, "cn=a\0", "ldap_group_dn"),
        ("a", 1, "cn=" + "ΐ" * 400, "at most 1000 bytes"),
    ],
)
def test_other_groups_are_refused_with_the_reason(name: str, kind: int, dn: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        people.check_group(name, kind, dn)
