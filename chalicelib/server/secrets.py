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
_KEY_BYTES = 32


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


def _signing_key(path: Path) -> bytes:
    try:
        key = bytes.fromhex(private_file(path, lambda: secrets.token_hex(32)))
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(
            f"{path} holds no signing key: delete it to get a new one (who is logged in must do so again)"
        )
    return key


def complete(settings: Settings, folder: Path) -> tuple[Settings, bool]:
    """Return settings with every secret in place, and whether a password was made just now; raise ValueError."""
    folder.mkdir(parents=True, exist_ok=True)
    key = settings.signing_key or _signing_key(folder / _KEY_FILE)
    if settings.admin_password:
        return replace(settings, signing_key=key), False
    fresh = not (folder / PASSWORD_FILE).exists()
    password = private_file(folder / PASSWORD_FILE, lambda: secrets.token_urlsafe(18))
    if not password:
        raise ValueError(f"{folder / PASSWORD_FILE} holds no password: put one in, or delete it to get a new one")
    return replace(settings, signing_key=key, admin_password=password), fresh
