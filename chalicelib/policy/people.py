"""What names, passwords and addresses of people may be.

Invariants:
* Two names with one `lookup_key` are one name: case and compatible forms of a character make no difference.
* Names of robot accounts have a character of `ILLEGAL`, so no user can be taken for one.
"""

import re
import unicodedata

ILLEGAL = ',"~#%$'
LONGEST_NAME = 255
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
_LONGEST_TEXT = 255
_EMAIL = re.compile(r"[^\s@<>\"(),:;\[\]\\]{1,64}@[^\s@<>\"(),:;\[\]\\]{1,190}")
GROUP_TYPES = {1: "LDAP", 2: "HTTP", 3: "OIDC"}


def lookup_key(name: str) -> str:
    """Return what names are compared by: compatible forms and case folded."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def check_user_name(name: str) -> str:
    """Return a user's name; raise ValueError with what is wrong."""
    if not 1 <= len(name) <= LONGEST_NAME or not 1 <= len(lookup_key(name)) <= LONGEST_NAME:
        raise ValueError(f"a user name has 1 to {LONGEST_NAME} characters")
    if name != name.strip() or not name.isprintable():
        raise ValueError("a user name has printable characters, and no blanks around them")
    if any(character in ILLEGAL for character in name + lookup_key(name)):
        raise ValueError(f"a user name has none of the characters {ILLEGAL}")
    if ":" in name:
        raise ValueError("a user name has no colon: it could not be sent as a Basic credential")
    return name


def check_password(password: str) -> str:
    """Return a password; raise ValueError with what is wrong."""
    good = SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD and all(
        re.search(kind, password) for kind in ("[a-z]", "[A-Z]", "[0-9]")
    )
    if not good:
        raise ValueError(
            f"it needs {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, with at least one upper-case letter, one "
            "lower-case letter and one digit"
        )
    return password


def check_email(address: str) -> str:
    """Return an e-mail address, or "" for none; raise ValueError."""
    if address and not _EMAIL.fullmatch(address):
        raise ValueError("the e-mail address is not one: write name@example.org")
    return address


def check_text(name: str, text: str) -> str:
    """Return a line of text; raise ValueError."""
    if len(text) > _LONGEST_TEXT or any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError(f"{name} has at most {_LONGEST_TEXT} characters, on one line")
    return text


def check_group(name: str, kind: int, dn: str) -> None:
    """Raise ValueError where a group cannot be like this."""
    if kind not in GROUP_TYPES:
        raise ValueError("group_type must be 1 (LDAP), 2 (HTTP) or 3 (OIDC)")
    if not (1 <= len(name) <= LONGEST_NAME and name.isprintable()):
        raise ValueError(f"group_name has 1 to {LONGEST_NAME} printable characters")
    if GROUP_TYPES[kind] == "LDAP" and not (0 < len(dn) <= LONGEST_NAME and "=" in dn):
        raise ValueError("an LDAP group needs its ldap_group_dn, such as cn=team,dc=example,dc=org")
