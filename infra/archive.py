"""The functions' package made over: the same code gives the same bytes, and comes compiled.

Why: Lambda unpacks it where nothing can be written, and with other times than the compiler noted, so a function would
compile all of its modules again at each cold start. Bytecode that is not checked against its source is used as it is.

Invariant: the package is made by the Python version that the functions run on, which Chalice sees to.
"""

import compileall
import py_compile
import tempfile
import zipfile
from pathlib import Path

# The oldest that the format knows: a time would be the only thing that differs.
_TIME = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16


def make_over(package: Path) -> None:
    """Replace a package by one with the same sources and libraries, and their bytecode; raise ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with zipfile.ZipFile(package) as archive:
            archive.extractall(root, [name for name in archive.namelist() if not name.endswith(".pyc")])
        compiled = compileall.compile_dir(
            root, stripdir=folder, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
        )
        if not compiled:
            raise ValueError("a module of the package cannot be compiled: see above")
        _write(package, root)


def _write(package: Path, root: Path) -> None:
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(root)), _TIME)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, _MODE
            archive.writestr(entry, path.read_bytes())
