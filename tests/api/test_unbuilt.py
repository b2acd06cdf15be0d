"""Every operation of Harbor's is built or said not to be: none is forgotten, and none is in both tables."""

import orjson
import pytest

from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.api.harbor.unbuilt import UNBUILT
from tests.api.asking import Client
from tests.harbor.deviations import EXTENSIONS
from tests.harbor.facts import PREFIX, operations

# What Harbor serves outside of its description, and so do we.
_BESIDE = ("/api/version", "/c/")


def test_built_and_unbuilt_are_all_of_harbor_s_operations() -> None:
    ours = {(extension.method, extension.path) for extension in EXTENSIONS}
    built = {(row.method, row.path) for row in ENDPOINTS if not row.path.startswith(_BESIDE)} - ours

    assert built | set(UNBUILT) == {(each.method, each.path) for each in operations()}
    assert not built & set(UNBUILT)
    assert len(set(UNBUILT)) == len(UNBUILT)


@pytest.mark.parametrize(("method", "path"), UNBUILT)
def test_what_is_not_built_answers_so(method: str, path: str) -> None:
    answer = Client().ask(method, PREFIX + path.replace("{", "").replace("}", ""))

    assert answer.status == 501
    assert orjson.loads(answer.body)["errors"][0]["code"] == "NOT_IMPLEMENTED"
