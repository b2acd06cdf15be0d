"""Metrics as Prometheus reads them: families of samples, written as text.

Invariant: a family is written once, with its HELP and TYPE before its samples; two samples of one name differ in a
label. Whoever makes families bounds what their labels can be.

Specification: Prometheus text exposition format 0.0.4.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Kind(StrEnum):
    """How the values of a family are to be understood."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; `suffix` follows the family's name where a family has several kinds of samples."""

    value: float
    labels: Mapping[str, str]
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name."""

    name: str
    kind: Kind
    help: str
    samples: Sequence[Sample]


def sample(value: float, **labels: str) -> Sample:
    """Return a value with labels."""
    return Sample(value, labels)


def distribution(
    bounds: Sequence[float], counts: Sequence[int], total: float, labels: Mapping[str, str]
) -> tuple[Sample, ...]:
    """Return the samples of a histogram; `counts` has one more than `bounds`, for what is above all of them."""
    limits = [*map(_number, bounds), "+Inf"]
    buckets = (
        Sample(below, {**labels, "le": limit}, "_bucket")
        for limit, below in zip(limits, accumulate(counts), strict=True)
    )
    return (*buckets, Sample(total, labels, "_sum"), Sample(sum(counts), labels, "_count"))


def text(families: Iterable[Family]) -> bytes:
    """Return families as Prometheus reads them."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        lines += (
            f"{family.name}{each.suffix}{_labels(each.labels)} {_number(each.value)}" for each in family.samples
        )
    return "".join(f"{line}\n" for line in lines).encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    written = (f'{name}="{_quoted(value)}"' for name, value in labels.items())
    return f"{{{','.join(written)}}}"


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(value: str) -> str:
    return _escaped(value).replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
