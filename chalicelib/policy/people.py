"""What users and groups may be called, and which passwords are good enough.

Invariants:
* Names that look alike by case or by compatible forms of characters have one `lookup_key`, and so are one name.
* No user's name contains a character of `ILLEGAL`, in any compatible form. The prefix of robot accounts contains one
  (`policy.configuration`), so no name is both a user's and a robot account's.
* `NOBODY` is the key of every text that is no name: looking it up finds nothing, and never fails.

Specification: the rules of Harbor 2.16, and stricter where a name could not be used: HTTP's Basic scheme ends a name
at the first colon.
"""

import re
import unicodedata
from enum import IntEnum

ILLEGAL = ',"~#%$'
LONGEST_NAME = 255
LONGEST_TEXT = 255

# A sort key of DynamoDB has at most 1024 bytes; this leaves some for what stands before a name.
LONGEST_KEY = 1000
NOBODY = "\x7f"

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 128
_NEEDED = (re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]"))

# In bytes (RFC 5321, 4.5.3.1.3, without the angle brackets).
LONGEST_EMAIL = 254
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"[^@\s<>()\[\]\\,;:\"]+@(?:{_LABEL}\.)+{_LABEL}")

# Control characters, and halves of characters that UTF-8 cannot express.
_UNWRITABLE = ("Cc", "Cs")
_DN = re.compile(r"[A-Za-z0-9.-]+=.+", re.DOTALL)


class GroupType(IntEnum):
    """Which kind of service knows who is in a group."""

    LDAP = 1
    HTTP = 2
    OIDC = 3


def lookup_key(name: str) -> str:
    """Return the form of a user's name by which it is unique, or `NOBODY` where no user can have this name."""
    # Cut first: the compatible forms of a text can be many times as long.
    compatible = unicodedata.normalize("NFKC", name[: LONGEST_NAME + 1])
    key = unicodedata.normalize("NFKC", compatible.casefold())
    usable = len(name) <= LONGEST_NAME and key.isprintable() and 0 < len(key.encode()) <= LONGEST_KEY
    return key if usable else NOBODY


def check_user_name(name: str) -> str:
    """Return a user's name; raise ValueError."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise ValueError(f"a user name has 1 to {LONGEST_NAME} characters")
    if not name.isprintable() or name != name.strip():
        raise ValueError(
            "a user name has no control or invisible characters, and neither begins nor ends with a blank"
        )
    key = lookup_key(name)
    if key == NOBODY:
        raise ValueError("the user name is too long in its compatible form")
    if ":" in name or any(character in ILLEGAL for character in name + key):
        raise ValueError(f"a user name has none of the characters : {' '.join(ILLEGAL)}")
    return name


def check_password(password: str) -> str:
    """Return a password or secret that is good enough; raise ValueError, which does not quote it."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD or not all(
        needed.search(password) for needed in _NEEDED
    ):
        raise ValueError(
            f"a password must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters, "
            "among them a capital letter, a small letter and a digit"
        )
    return password


def check_email(address: str) -> str:
    """Return an e-mail address, or "" for none; raise ValueError."""
    if address and not (_EMAIL.fullmatch(address) and address.isprintable()):
        raise ValueError("email must be an e-mail address, such as alice@example.org")
    if len(address.encode()) > LONGEST_EMAIL:
        raise ValueError(f"email has at most {LONGEST_EMAIL} bytes")
    return address


def check_text(field: str, text: str) -> str:
    """Return a text that is only shown, such as a real name; raise ValueError, which names the field."""
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{field} has at most {LONGEST_TEXT} characters")
    if any(unicodedata.category(character) in _UNWRITABLE for character in text):
        raise ValueError(f"{field} has no control characters")
    return text


def check_group(name: str, kind: int, dn: str) -> None:
    """Raise ValueError where a group cannot have this name, type and DN; groups of LDAP alone have a DN."""
    if kind not in set(GroupType):
        raise ValueError("group_type must be 1 (LDAP), 2 (HTTP) or 3 (OIDC)")
    if not name or name != name.strip() or len(name.encode()) > LONGEST_KEY:
        raise ValueError("a group needs a group_name, which neither begins nor ends with a blank")
    check_text("group_name", name)
    if kind != GroupType.LDAP and dn:
        raise ValueError("only a group of LDAP has an ldap_group_dn")
    if kind == GroupType.LDAP:
        _check_dn(dn)


def _check_dn(dn: str) -> None:
    if not _DN.fullmatch(dn) or any(unicodedata.category(character) in _UNWRITABLE for character in dn):
        raise ValueError("a group of LDAP needs an ldap_group_dn, such as cn=developers,dc=example,dc=org")
    if len(dn.casefold().encode()) > LONGEST_KEY:
        raise ValueError(f"ldap_group_dn has at most {LONGEST_KEY} bytes")
