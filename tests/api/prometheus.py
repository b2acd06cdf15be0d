"""Reading metrics as Prometheus does, and holding them against what its tool `promtool check metrics` looks for."""

import re
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families as parsed
from prometheus_client.samples import Sample

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_UNITS = ("_byte", "_bytes", "_bytes_total", "_seconds", "_amount", "_total", "_info", "_requests")
_WITHOUT_UNIT = (
    "harbor_health",
    "harbor_up",
    "harbor_artifact_pulled",
    "harbor_statistics_total_storage_consumption",
    "roadstead_projects_left_out",
    "harbor_task_queue_size",
    "harbor_task_queue_latency",
    "harbor_task_concurrency",
)


def read(content: bytes) -> dict[str, list[Sample]]:
    """Return the samples by the names that TYPE lines give; check what is written as `promtool` would."""
    text = content.decode()
    lint(text)
    return {_typed(family.name, family.type): list(family.samples) for family in parsed(text)}


def values(content: bytes, name: str, *labels: str) -> Mapping[tuple[str, ...], float]:
    """Return the values of a family by those of some of its labels."""
    return {tuple(each.labels[label] for label in labels): each.value for each in read(content)[name]}


def lint(text: str) -> None:
    """Check that names are told once and explained, that counters are called so, and that units are in names."""
    helped, typed = _lines(text, "HELP"), _lines(text, "TYPE")
    assert list(helped) == list(typed)
    assert len(helped) == text.count("# HELP")
    for name, kind in typed.items():
        assert _NAME.fullmatch(name)
        assert helped[name]
        assert kind in ("gauge", "counter", "histogram")
        assert name.endswith("_total") or kind != "counter"
        assert name.endswith(_UNITS) or name in _WITHOUT_UNIT, name
    keys = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(keys) == len(set(keys))


def _lines(text: str, kind: str) -> dict[str, str]:
    return dict(re.findall(rf"^# {kind} (\S+) (.+)$", text, re.MULTILINE))


def _typed(name: str, kind: str) -> str:
    # The parser calls a counter by its name without the end that every counter has.
    return f"{name}_total" if kind == "counter" else name
