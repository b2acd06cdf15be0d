"""`python -m infra`, the program, but with templates that the emulator can take, and one package for all stacks.

`PACKAGE` names a folder that keeps what `chalice package` made, which takes longer than all the rest.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from infra import __main__ as infra
from infra.package import CODE, NO_VALUES, built, for_values, whole
from tests.aws.shims import SHIMS

_SAM = "sam.json"


def package(folder: Path, values: Mapping[str, str] = NO_VALUES, *, replica: bool = False) -> Path:
    """Do as `infra.package.package` does."""
    kept = Path(os.environ["PACKAGE"])
    if not (kept / _SAM).exists():
        (kept / _SAM).write_text(json.dumps(built(kept)))
    shutil.copy(kept / CODE, folder / CODE)
    template = for_values(whole(json.loads((kept / _SAM).read_text()), replica=replica), values)
    for shim in SHIMS:
        shim(template)
    path = folder / "roadstead.json"
    path.write_text(json.dumps(template))
    return path


vars(infra)["package"] = package
infra.main(standalone_mode=False)
sys.exit(0)
