"""The secrets of a data folder: made once, kept from others, and signing keys that change in steps."""

import stat
from pathlib import Path

import pytest

from chalicelib.config import Settings
from chalicelib.server import secrets

_FIRST, _SECOND = "11" * 32, "22" * 32
_KEYS = (bytes.fromhex(_FIRST), bytes.fromhex(_SECOND))


def _with_key_file(folder: Path, text: str) -> Settings:
    (folder / "signing-key").write_text(text)
    return secrets.complete(Settings(), folder)[0]


def test_a_new_folder_gets_secrets_that_the_next_start_finds(tmp_path: Path) -> None:
    first, fresh = secrets.complete(Settings(), tmp_path / "data")
    second, again = secrets.complete(Settings(), tmp_path / "data")

    assert (fresh, again) == (True, False)
    assert first == second
    assert [len(key) for key in first.signing_keys] == [32]


def test_the_files_are_nobody_else_s(tmp_path: Path) -> None:
    secrets.complete(Settings(), tmp_path)

    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("text", [f"{_FIRST}\n{_SECOND}\n", f"{_FIRST}\r\n\n  {_SECOND}", f"{_FIRST}\n{_SECOND}\n\n"])
def test_the_first_line_signs_and_every_line_verifies(tmp_path: Path, text: str) -> None:
    settings = _with_key_file(tmp_path, text)

    assert settings.signing_keys == _KEYS
    assert settings.signing_key == _KEYS[0]


@pytest.mark.parametrize("text", ["", "\n", "no key", _FIRST[:-2], f"{_FIRST}\nno key", f"{_FIRST},{_SECOND}"])
def test_a_file_with_a_line_that_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="signing-key holds no signing key"):
        _with_key_file(tmp_path, text)


def test_keys_of_the_environment_come_before_the_file(tmp_path: Path) -> None:
    given = Settings.from_env({"ROADSTEAD_SIGNING_KEY": f"{_SECOND}, {_FIRST}", "ROADSTEAD_ADMIN_PASSWORD": "given"})

    settings, fresh = secrets.complete(given, tmp_path)

    assert (settings, fresh) == (given, False)
    assert settings.signing_keys == _KEYS[::-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["x", f"{_FIRST},", f",{_FIRST}", f"{_FIRST},{_SECOND[:-1]}", f"{_FIRST}{_SECOND}"])
def test_a_variable_with_a_part_that_is_no_key_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="ROADSTEAD_SIGNING_KEY must be 64 hexadecimal digits"):
        Settings.from_env({"ROADSTEAD_SIGNING_KEY": text})


def test_keys_do_not_show_where_settings_are_printed() -> None:
    shown = repr(Settings.from_env({"ROADSTEAD_SIGNING_KEY": f"{_FIRST},{_SECOND}"}))

    assert not [key for key in _KEYS if repr(key) in shown or key.hex() in shown]
