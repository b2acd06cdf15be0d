"""The shape of the code, kept by tests: who imports whom, how large things are, what each module must say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = ROOT / "chalicelib"
MODULES = sorted(CODE.rglob("*.py"))

# What each package may import of the others, and of the world outside the standard library.
# fmt: off
MAY_IMPORT: dict[str, set[str]] = {
    "oci":      {"oci", "orjson"},
    "policy":   {"policy", "oci", "cronsim"},
    "store":    {"store", "policy", "oci", "orjson", "boto3", "botocore", "mypy_boto3_s3", "mypy_boto3_dynamodb",
                 "mypy_boto3_sqs", "nacl"},
    "config":   set(),
    "services": {"config", "store", "policy", "oci", "mypy_boto3_s3"},
    "changes":  {"changes", "services", "store", "policy", "oci"},
    "api":      {"api", "changes", "services", "config", "store", "policy", "oci", "orjson", "nacl"},
    "jobs":     {"jobs", "changes", "services", "config", "store", "policy", "oci"},
    "server":   {"server", "jobs", "api", "services", "config", "store", "oci", "orjson", "aiohttp", "yarl"},
    "cli":      {"cli", "server", "config", "oci", "click", "httpx", "rich"},
}
# fmt: on
PURE = ("oci", "policy")
IMPURE_MODULES = {"os", "time", "logging", "socket", "threading", "random", "subprocess", "pathlib"}
LONGEST_MODULE, LONGEST_FUNCTION, MOST_PARAMETERS = 400, 40, 7


def _package(path: Path) -> str:
    return path.relative_to(CODE).parts[0].removesuffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """Yield what a module imports: our packages by name, others by their top level."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            yield parts[1] if parts[0] == "chalicelib" else parts[0]


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _is_standard(name: str) -> bool:
    import sys  # noqa: PLC0415 - only here

    return name in sys.stdlib_module_names


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parent != CODE or path.stem != "__init__"], ids=_named
)
def test_imports_go_one_way(path: Path) -> None:
    outside = {name for name in _imports(path) if not _is_standard(name)}

    assert outside <= MAY_IMPORT[_package(path)]


@pytest.mark.parametrize("path", [path for path in MODULES if _package(path) in PURE], ids=_named)
def test_the_rules_are_pure(path: Path) -> None:
    assert not set(_imports(path)) & IMPURE_MODULES


def test_app_is_a_table_over_the_same_dispatch() -> None:
    app = ROOT / "app.py"
    longest = max((function.end_lineno or 0) - function.lineno for function in _functions(app))

    assert {name for name in _imports(app) if not _is_standard(name)} <= {
        "chalice",
        "api",
        "config",
        "jobs",
        "services",
    }
    assert longest <= 6


def test_only_config_reads_the_environment() -> None:
    readers = [_named(path) for path in MODULES if re.search(r"os\.environ|os\.getenv|environ\[", path.read_text())]

    assert readers == ["chalicelib/config.py"]


def test_keys_of_the_bucket_are_built_in_the_layout_alone() -> None:
    markers = re.compile(
        r"""["'](?:data|blobs|uploads|catalog|repositories)/|_(?:blobs|manifests|tags|tagged|referrers)/"""
    )
    builders = [
        _named(path)
        for path in (CODE / "store").rglob("*.py")
        if any(markers.search(text) for text in _string_literals(path))
    ]

    assert builders == ["chalicelib/store/layout.py"]


def _string_literals(path: Path) -> Iterator[str]:
    """Yield the string literals of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", MODULES, ids=_named)
def test_a_module_says_what_it_owns_and_is_small(path: Path) -> None:
    text = path.read_text()

    assert ast.get_docstring(ast.parse(text))
    assert text.count("\n") <= LONGEST_MODULE


@pytest.mark.parametrize("path", MODULES, ids=_named)
def test_functions_are_small_and_take_few_parameters(path: Path) -> None:
    for function in _functions(path):
        size = (function.end_lineno or 0) - function.lineno + 1
        parameters = len(function.args.args) + len(function.args.kwonlyargs)
        assert size <= LONGEST_FUNCTION, function.name
        assert parameters <= MOST_PARAMETERS, function.name


def test_the_store_is_a_seam_of_thirteen_methods() -> None:
    """The thirteenth is `versions`: what a tag was is known to S3 alone, which makes history free in a push."""
    tree = ast.parse((CODE / "store" / "objects.py").read_text())
    seam = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ObjectStore")

    assert len([node for node in seam.body if isinstance(node, ast.FunctionDef)]) <= 13


def test_no_test_patches_what_it_tests() -> None:
    patching = re.compile(r"mock\.patch|monkeypatch\.setattr|import mock\b")
    tests = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]

    assert not [_named(path) for path in tests if patching.search(path.read_text())]
