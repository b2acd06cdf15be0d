"""What `make cost` prints: dollars follow counts, and a price that is not one is refused."""

from dataclasses import fields
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench import bill, cost, counts, prices, usage
from bench.counts import Counted
from bench.usage import Call, Usage
from infra.package import fragments

AMOUNTS = st.floats(0, 1e12)
USAGES = st.builds(Usage, *[AMOUNTS] * len(fields(Usage)))
CALLS = st.builds(Call, st.sampled_from(["authorizer", "token"]), st.floats(0, 10), st.integers(0, 50))


@given(USAGES, st.floats(0, 1000))
def test_the_bill_grows_in_step_with_the_counts(used: Usage, times: float) -> None:
    once, often = usage.total(used, prices.LIST), usage.total(used * times, prices.LIST)

    assert often == pytest.approx(once * times, rel=1e-6, abs=1e-9)


@given(USAGES, USAGES)
def test_two_bills_are_the_bill_of_both(one: Usage, two: Usage) -> None:
    apart = usage.total(one, prices.LIST) + usage.total(two, prices.LIST)

    assert usage.total(one + two, prices.LIST) == pytest.approx(apart)


@given(USAGES, st.lists(CALLS), st.booleans())
def test_nothing_costs_less_than_nothing(used: Usage, calls: list[Call], cloudfront: bool) -> None:
    plan = bill.Plan(leaving=1, cloudfront=cloudfront)

    assert all(dollars >= 0 for dollars in bill.ours(bill.priced(used, calls, plan), plan, prices.LIST).values())


@pytest.mark.parametrize("field", [field.name for field in fields(Usage)])
def test_each_count_costs_its_own_price_by_its_own_unit(field: str) -> None:
    price, size, place = usage.PAID[field]

    found = usage.bill(Usage(**{field: size * 3}), prices.LIST)

    assert found[place] == pytest.approx(3 * prices.LIST[price].dollars)
    assert sum(found.values()) == found[place]


@given(CALLS, st.integers(128, 1768))
def test_more_memory_never_takes_longer_and_above_a_whole_processor_gains_nothing(call: Call, memory: int) -> None:
    assert bill.seconds(call, memory, 0.01) >= bill.seconds(call, memory + 1, 0.01)
    assert bill.seconds(call, 1769, 0.01) == bill.seconds(call, 3000, 0.01)


@given(USAGES, st.floats(0, 1))
def test_only_what_leaves_the_region_is_paid_and_the_same_by_all(used: Usage, share: float) -> None:
    plan = bill.Plan(leaving=share)
    left = bill.left(used, plan)

    paid = [one["egress"] for one in (bill.ours(left, plan, prices.LIST), bill.harbor(left, prices.LIST))]

    assert paid == [bill.ecr(left, prices.LIST)["egress"]] * 2
    assert paid[0] == pytest.approx(used.egress_bytes / 1e9 * share * 0.09)


def test_a_second_of_computing_at_half_a_processor_takes_two_and_waiting_takes_as_long() -> None:
    assert bill.seconds(Call("", 1, 4), 1769 // 2, 0.5) == pytest.approx(4, rel=0.01)


def test_harbor_and_this_cost_the_same_at_the_break_even() -> None:
    pulls = bill.break_even(300, 60, 0.0001)

    assert 60 + pulls * 0.0001 == pytest.approx(300)
    assert bill.break_even(50, 60, 0.0001) == 0


def test_what_is_paid_without_a_request_is_what_the_templates_have() -> None:
    """An alarm costs by its metrics; the relay's tasks, endpoints and zones are those that it starts with."""
    parts = fragments()
    relay = parts["relay"]["Resources"]
    task = relay["RelayTask"]["Properties"]
    tasks = parts["relay"]["Parameters"]["RelayTasks"]["Default"]
    endpoints = [len(each["Properties"]["SubnetIds"]) for each in relay.values()
                 if each.get("Properties", {}).get("VpcEndpointType") == "Interface"]  # fmt: skip

    assert bill.FLOORS["roadstead"]["alarm_month"] == alarms(parts["operations"], None)
    assert bill.FLOORS["relay"] == {
        "fargate_cpu_hour": tasks * int(task["Cpu"]) / 1024 * prices.HOURS,
        "fargate_gb_hour": tasks * int(task["Memory"]) / 1024 * prices.HOURS,
        "alb_hour": prices.HOURS,
        "endpoint_hour": sum(endpoints) * prices.HOURS,
        "alarm_month": alarms(parts["operations"], "HasRelay"),
    }


def alarms(operations: dict[str, Any], condition: str | None) -> int:
    """Return how many metrics the alarms look at that are there under a condition, or under none."""
    found = (each for each in operations["Resources"].values() if each["Type"] == "AWS::CloudWatch::Alarm")
    metrics = (
        each["Properties"].get("Metrics", [{"MetricStat": {}}])
        for each in found
        if each.get("Condition") == condition
    )
    return sum("MetricStat" in metric for each in metrics for metric in each)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("lamda_request = 1", "no price lamda_request"),
        ("lambda_request = -1", "one request, not -1"),
        ("lambda_request = nan", "not nan"),
        ("lambda_request = true", "not True"),
        ('lambda_request = "1"', "not '1'"),
    ],
)
def test_a_price_that_is_none_is_refused_by_name(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(line)

    with pytest.raises(ValueError, match=said):
        prices.load(tmp_path / "mine.toml")


def test_a_price_of_one_s_own_replaces_the_list_s_and_says_whence_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("lambda_request = 0.5")

    found = prices.load(tmp_path / "mine.toml")

    assert (found["lambda_request"].dollars, found["lambda_request"].noted) == (0.5, "mine.toml")
    assert found["s3_read"] == prices.LIST["s3_read"]


@pytest.mark.parametrize(
    ("answer", "consistent", "units"),
    [
        ({"Item": {"pk": {"S": "x"}}}, True, 1),
        ({"Item": {"pk": {"S": "x"}}}, False, 0.5),
        ({"Items": [{"pk": {"S": "x" * 5000}}]}, True, 2),
        ({"Items": [{"pk": {"S": "x"}}] * 20}, True, 1),
        ({"Responses": {"t": [{"pk": {"S": "x"}}] * 20}}, True, 20),
        ({}, True, 1),
    ],
)
def test_reads_are_counted_in_units_of_4_kb(answer: dict[str, object], consistent: bool, units: float) -> None:
    assert counts.read_units(answer, consistent=consistent) == units


def test_operations_of_docker_are_counted_and_printed() -> None:
    with counts.front(relay=False) as on:
        layers = [b"one layer", b"another"]
        pushed = counts.measured(on, lambda: counts.push(on, "library/app", layers))
        manifest = counts.push(on, "library/other", layers)
        pulled = counts.measured(on, lambda: counts.pull(on, "library/other", manifest))

    # Refused at first, a token, HEAD and GET of the manifest, and the blobs; the authorizer is asked once.
    assert pulled.usage.gateway == 4 + 3
    assert [call.kind for call in pulled.calls].count("authorizer") == 1
    assert pulled.usage.calls == len(pulled.calls) == 1 + 1 + 2 + 3
    # Each looks once at S3; S3 itself then answers the HEAD, and gives the client three blobs.
    assert (pulled.usage.s3_reads, pulled.usage.s3_writes) == (5 + 1 + 3, 0)
    # Refused, a token, the manifest, and five requests for each blob.
    assert pushed.usage.gateway == 3 + 5 * 3
    assert pushed.usage.s3_writes > 3
    assert pushed.usage.table_writes > 0
    out = StringIO()
    found = {name: Counted(one.usage, one.calls) for name, one in {"pull": pulled, "push": pushed}.items()}
    cost.show(cost.report(found, bill.Plan(), prices.LIST), prices.LIST, Console(file=out, width=110))
    assert "API Gateway" in out.getvalue()
    assert "pulls a month" in out.getvalue()
