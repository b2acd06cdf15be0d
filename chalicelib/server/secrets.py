"""What a server on a machine of one's own must keep to itself: the administrator's password and the signing key.

Invariant: each is a file of its own in the data folder, mode 0600 from its first byte on, made once.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chalicelib.config import Settings

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


def complete(settings: Settings, folder: Path) -> tuple[Settings, bool]:
    """Return settings with every secret in place, and whether a password was made just now."""
    folder.mkdir(parents=True, exist_ok=True)
    key = settings.signing_key or bytes.fromhex(private_file(folder / _KEY_FILE, lambda: secrets.token_hex(32)))
    if settings.admin_password:
        return replace(settings, signing_key=key), False
    fresh = not (folder / PASSWORD_FILE).exists()
    password = private_file(folder / PASSWORD_FILE, lambda: secrets.token_urlsafe(18))
    return replace(settings, signing_key=key, admin_password=password), fresh
