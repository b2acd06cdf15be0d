"""What is written is what Prometheus's own parser reads."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as parsed

from chalicelib.api.exposition import Family, Kind, Sample, distribution, sample, text
from tests.api.prometheus import lint, read

# The parser takes any line break for the end of a line; names of projects have none at all.
words = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), whitelist_characters="\n"), max_size=30)


def test_a_family_is_written_with_its_help_and_its_type() -> None:
    family = Family("ships_total", Kind.COUNTER, "Ships that came", [sample(3, flag="no"), sample(0.5, flag="dk")])

    assert text([family]).decode() == (
        "# HELP ships_total Ships that came\n"
        "# TYPE ships_total counter\n"
        'ships_total{flag="no"} 3\n'
        'ships_total{flag="dk"} 0.5\n'
    )


def test_nothing_is_an_answer_too() -> None:
    assert text([]) == b""


def test_a_histogram_adds_up_and_ends_with_all_that_there_were() -> None:
    samples = distribution((0.1, 1.0), (2, 0, 1), 9.5, {"operation": "v2"})

    [found] = read(text([Family("wait_seconds", Kind.HISTOGRAM, "Time", samples)])).values()
    assert [(each.name, each.labels.get("le", ""), each.value) for each in found] == [
        ("wait_seconds_bucket", "0.1", 2),
        ("wait_seconds_bucket", "1", 2),
        ("wait_seconds_bucket", "+Inf", 3),
        ("wait_seconds_sum", "", 9.5),
        ("wait_seconds_count", "", 3),
    ]


@given(words, st.dictionaries(st.sampled_from(["a", "b", "le"]), words), st.floats(allow_nan=False, width=32))
def test_whatever_is_written_is_read_back(explained: str, labels: dict[str, str], value: float) -> None:
    family = Family("x_total", Kind.GAUGE, explained, [Sample(value, labels)])

    [found] = list(parsed(text([family]).decode()))
    assert [(each.labels, each.value) for each in found.samples] == [(labels, value)]


def test_the_lint_of_these_tests_finds_what_promtool_finds() -> None:
    for wrong in (
        "# TYPE x_total counter\nx_total 1\n",
        "# HELP x_ships Ships\n# TYPE x_ships counter\nx_ships 1\n",
        "# HELP x_total X\n# TYPE x_total counter\nx_total 1\nx_total 1\n",
        "# HELP x X\n# TYPE x gauge\nx 1\n",
    ):
        try:
            lint(wrong)
        except AssertionError:
            continue
        raise AssertionError(wrong)
