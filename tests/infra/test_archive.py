"""The package made over: reproducible, compiled, and with everything that was in it."""

import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from infra.archive import make_over

SOURCE = "import time\nANSWER = 42\n"


def package(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, time.localtime()[:6]), text)
    return path


def test_the_same_code_gives_the_same_bytes_whenever_it_was_packed(tmp_path: Path) -> None:
    first = package(tmp_path / "a.zip", **{"app.py": SOURCE, "lib/x.py": "", "lib/native.so": "elf"})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for name, text in (("lib/native.so", "elf"), ("app.py", SOURCE), ("lib/x.py", ""), ("old.pyc", "stale")):
            archive.writestr(zipfile.ZipInfo(name, (2001, 2, 3, 4, 5, 6)), text)

    make_over(first)
    make_over(tmp_path / "b.zip")

    assert first.read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_module_is_not_compiled_again_whatever_its_file_s_time(tmp_path: Path) -> None:
    made = package(tmp_path / "a.zip", **{"app.py": SOURCE})
    make_over(made)
    code = tmp_path / "var" / "task"
    with zipfile.ZipFile(made) as archive:
        archive.extractall(code)
    # Bytecode that is used as it is does not see what became of its source.
    (code / "app.py").write_text("ANSWER = 0\n")
    os.utime(code / "app.py", (1, 1))

    told = subprocess.run(
        [sys.executable, "-c", "import app; print(app.ANSWER)"], cwd=code, capture_output=True, text=True, check=True
    )

    assert told.stdout == "42\n"


def test_no_path_of_this_machine_is_in_it(tmp_path: Path) -> None:
    made = package(tmp_path / "a.zip", **{"app.py": SOURCE})
    make_over(made)

    with zipfile.ZipFile(made) as archive:
        [bytecode] = [name for name in archive.namelist() if name.endswith(".pyc")]
        assert b"/tmp" not in archive.read(bytecode)
        assert archive.read("app.py").decode() == SOURCE


def test_code_that_is_none_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be compiled"):
        make_over(package(tmp_path / "a.zip", **{"app.py": "def ("}))
