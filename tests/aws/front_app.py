"""The application as Lambda loads it, in this process, with settings from an environment made for it."""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def loaded(environment: Mapping[str, str]) -> Iterator[ModuleType]:
    """Import `app` anew below an environment; undo both at the end."""
    before = dict(os.environ)
    os.environ.update(environment)
    sys.modules.pop("app", None)
    try:
        yield importlib.import_module("app")
    finally:
        sys.modules.pop("app", None)
        os.environ.clear()
        os.environ.update(before)
