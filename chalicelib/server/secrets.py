"""What a server on a machine of one's own must keep to itself: the administrator's password and the signing key.

Invariants:
* Each is a file of its own in the data folder, mode 0600 from its first byte on, made once.
* The file of the signing key may hold several, one a line: the first signs, every one verifies.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chalicelib.config import Settings, parse_keys

PASSWORD_FILE = "admin-password"
_KEY_FILE = "signing-key"


def private_file(path: Path, make: Callable[[], str]) -> str:
    """Return the text in `path`, made and written first where there is none."""
    if path.exists():
        return path.read_text().strip()
    text = make()
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return text


def _signing_keys(path: Path) -> tuple[bytes, ...]:
    lines = private_file(path, lambda: secrets.token_hex(32)).splitlines()
    try:
        keys = parse_keys(line for line in lines if line.strip())
    except ValueError:
        keys = ()
    if not keys:
        raise ValueError(
            f"{path} holds no signing key, or a line that is none: mend it, or delete it to get a new one"
            " (who is logged in must do so again)"
        )
    return keys


def complete(settings: Settings, folder: Path) -> tuple[Settings, bool]:
    """Return settings with every secret in place, and whether a password was made just now; raise ValueError."""
    folder.mkdir(parents=True, exist_ok=True)
    key, *others = settings.signing_keys or _signing_keys(folder / _KEY_FILE)
    keyed = replace(settings, signing_key=key, other_keys=tuple(others))
    if settings.admin_password:
        return keyed, False
    fresh = not (folder / PASSWORD_FILE).exists()
    password = private_file(folder / PASSWORD_FILE, lambda: secrets.token_urlsafe(18))
    if not password:
        raise ValueError(f"{folder / PASSWORD_FILE} holds no password: put one in, or delete it to get a new one")
    return replace(keyed, admin_password=password), fresh
