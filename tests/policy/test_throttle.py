"""Login limits: guessing gets slow, other sources do not suffer from it, and everything is forgotten in the end."""

from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.policy import throttle
from chalicelib.policy.throttle import DECAY, LONGEST, NONE, SHORT, TRUST, Failures

_NOW = 1_700_000_000.0
_DAY = 86_400
_HERE = "192.0.2.1"
# Whole seconds: sums of them are exact.
_MOMENTS = st.integers(0, 4_000_000_000).map(float)
_RECORDS = st.builds(Failures, st.integers(0, 1000), _MOMENTS, _MOMENTS)


@dataclass
class Logins:
    """What a server does with the rules: two records for each login, kept until they expire."""

    now: float = _NOW
    records: dict[str, Failures] = field(default_factory=dict)

    def _recorded(self, key: str) -> Failures:
        found = self.records.get(key, NONE)
        return found if throttle.expires(found) > self.now else NONE

    def wait(self, source: str, account: str = "admin") -> float:
        own, everywhere = (self._recorded(key) for key in throttle.keys(account, source))
        return throttle.wait(own, everywhere, self.now)

    def fail(self, source: str, account: str = "admin") -> None:
        for key in throttle.keys(account, source):
            self.records[key] = throttle.after_failure(self._recorded(key), self.now)

    def succeed(self, source: str, account: str = "admin") -> None:
        key = throttle.keys(account, source).own
        self.records[key] = throttle.after_success(self._recorded(key), self.now)

    def guesses(self, source: str, seconds: int) -> int:
        """Fail as often as is allowed for some time, and return how often that was."""
        tries, end = 0, self.now + seconds
        while self.now < end:
            self.fail(source)
            tries += 1
            self.now += self.wait(source) or 0.1
        return tries


def test_the_pause_doubles_from_the_third_failure_to_a_quarter_of_an_hour() -> None:
    logins, pauses = Logins(), []
    for _ in range(14):
        logins.fail(_HERE, "jane")
        pauses.append(logins.wait(_HERE, "jane"))
        logins.now += pauses[-1]

    assert pauses == [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


def test_one_source_guesses_a_hundred_times_on_a_day_at_most() -> None:
    assert Logins().guesses(_HERE, _DAY) <= 110


def test_where_somebody_logged_in_before_guessing_is_slow_too() -> None:
    logins = Logins()
    logins.succeed(_HERE)

    assert logins.guesses(_HERE, _DAY) <= _DAY / SHORT + 10


@given(own=_RECORDS, everywhere=_RECORDS, now=_MOMENTS)
def test_no_record_makes_anybody_wait_longer_than_a_quarter_of_an_hour(
    own: Failures, everywhere: Failures, now: float
) -> None:
    assert 0 <= throttle.wait(own, everywhere, now) <= LONGEST


@given(own=_RECORDS, everywhere=_RECORDS, since=st.integers(0, 1000))
@example(own=Failures(8, _NOW, _NOW + 1), everywhere=NONE, since=0)
def test_whoever_waits_as_long_as_told_may_try(own: Failures, everywhere: Failures, since: int) -> None:
    now = own.last + since
    later = now + throttle.wait(own, everywhere, now)

    assert throttle.wait(own, everywhere, later) == 0


@given(own=_RECORDS, everywhere=_RECORDS, now=_MOMENTS)
def test_a_success_ends_the_waiting_of_its_source(own: Failures, everywhere: Failures, now: float) -> None:
    assert throttle.wait(throttle.after_success(own, now), everywhere, now) == 0


@given(own=_RECORDS, everywhere=_RECORDS, now=_MOMENTS)
def test_a_source_that_logged_in_before_waits_half_a_minute_at_most(
    own: Failures, everywhere: Failures, now: float
) -> None:
    trusted = Failures(own.count, own.last, own.last + 1)

    assert throttle.wait(trusted, everywhere, now) <= SHORT


_ATTACK = st.lists(st.tuples(st.integers(2, 200), st.integers(0, 2000)), max_size=60)


def _attacked(attack: list[tuple[int, int]], own_failures: int) -> tuple[Logins, Logins]:
    """Return two servers on which a source failed as often at the end, one of them after an attack by many others."""
    attacked, calm = Logins(), Logins()
    for source, pause in attack:
        attacked.fail(f"192.0.2.{source}")
        attacked.now += pause
    calm.now = attacked.now
    for logins in (attacked, calm):
        for _ in range(own_failures):
            logins.fail(_HERE)
    return attacked, calm


@given(attack=_ATTACK)
def test_who_did_not_fail_never_waits_however_many_others_do(attack: list[tuple[int, int]]) -> None:
    attacked, _ = _attacked(attack, 0)

    assert attacked.wait(_HERE) == 0


@given(attack=_ATTACK, own_failures=st.integers(1, 15))
def test_attackers_add_half_a_minute_at_most_to_somebody_else_s_wait(
    attack: list[tuple[int, int]], own_failures: int
) -> None:
    attacked, calm = _attacked(attack, own_failures)

    assert attacked.wait(_HERE) <= max(calm.wait(_HERE), SHORT)


@given(attack=_ATTACK, own_failures=st.integers(0, 2))
def test_attackers_add_nothing_where_somebody_logged_in_before(
    attack: list[tuple[int, int]], own_failures: int
) -> None:
    logins = Logins()
    logins.succeed(_HERE)
    for source, pause in attack:
        logins.fail(f"192.0.2.{source}")
        logins.now += pause
    for _ in range(own_failures):
        logins.fail(_HERE)

    assert logins.wait(_HERE) == 0


def test_an_attack_that_goes_on_does_not_renew_the_wait_of_somebody_else() -> None:
    logins = Logins()
    for source in range(2, 30):
        logins.fail(f"192.0.2.{source}")
    logins.fail(_HERE)
    assert logins.wait(_HERE) == SHORT

    for _ in range(int(SHORT)):
        logins.now += 1
        logins.fail("192.0.2.2")

    assert logins.wait(_HERE) == 0


def test_many_sources_slow_each_other_down_after_their_first_try() -> None:
    logins = Logins()
    for source in range(2, 30):
        assert logins.wait(f"192.0.2.{source}") == 0
        logins.fail(f"192.0.2.{source}")

    assert [logins.wait(f"192.0.2.{source}") for source in range(20, 30)] == [SHORT] * 10


@pytest.mark.parametrize(("own_failures", "pause"), [(0, 0), (1, SHORT), (4, SHORT), (7, SHORT), (8, 32), (13, 900)])
def test_at_an_attacked_account_the_longer_of_both_pauses_counts(own_failures: int, pause: float) -> None:
    logins = Logins()
    for source in range(2, 30):
        logins.fail(f"192.0.2.{source}")

    for _ in range(own_failures):
        logins.fail(_HERE)

    assert logins.wait(_HERE) == pause


def test_failures_at_one_account_do_not_count_at_another() -> None:
    logins = Logins()
    for _ in range(20):
        logins.fail(_HERE, "jane")
        logins.fail("192.0.2.2", "jane")

    assert logins.wait(_HERE, "jane") == LONGEST
    assert logins.wait(_HERE, "john") == 0


@pytest.mark.parametrize(("quiet", "pause"), [(0, 8), (DECAY - 1, 8), (DECAY, 4), (3 * DECAY, 1), (20 * DECAY, 0)])
def test_failures_are_forgotten_one_by_one(quiet: float, pause: float) -> None:
    logins = Logins()
    for _ in range(5):
        logins.fail(_HERE)
    logins.now += quiet

    logins.fail(_HERE)

    assert logins.wait(_HERE) == pause


@pytest.mark.parametrize(("seconds", "trusted"), [(TRUST - 1, True), (TRUST, False)])
def test_a_login_counts_for_its_source_for_thirty_days_and_failures_do_not_prolong_it(
    seconds: float, trusted: bool
) -> None:
    logins = Logins()
    logins.succeed(_HERE)
    logins.now += seconds
    for _ in range(20):
        logins.fail(_HERE)

    assert logins.wait(_HERE) == (SHORT if trusted else LONGEST)


@pytest.mark.parametrize(("seconds", "written"), [(1, False), (_DAY - 1, False), (_DAY, True), (2 * TRUST, True)])
def test_who_logs_in_all_the_time_is_written_down_once_a_day(seconds: float, written: bool) -> None:
    first = throttle.after_success(NONE, _NOW)

    again = throttle.after_success(first, _NOW + seconds)

    assert (again != first) is written


@given(own=_RECORDS, everywhere=_RECORDS)
def test_an_expired_record_says_no_more_than_none(own: Failures, everywhere: Failures) -> None:
    now = float(throttle.expires(own))

    assert throttle.wait(own, everywhere, now) == 0
    assert throttle.after_failure(own, now) == Failures(1, now, own.trusted)
    assert throttle.after_success(own, now) == throttle.after_success(NONE, now)
    assert own.trusted < now


def test_a_record_of_a_clock_that_was_a_day_ahead_holds_nobody() -> None:
    ahead = Failures(13, _NOW + _DAY)

    assert throttle.wait(ahead, NONE, _NOW) == 0


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:DB8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("not an address", "unknown"),
        ("192.0.2.1, 192.0.2.2", "unknown"),
    ],
)
def test_a_source_is_an_address_or_the_network_of_one_customer(source: str, network: str) -> None:
    assert throttle.network(source) == network


def test_addresses_of_one_network_wait_together() -> None:
    logins = Logins()
    for number in range(20):
        logins.fail(f"2001:db8::{number:x}")

    assert logins.wait("2001:db8::ffff") == LONGEST
    assert logins.wait("2001:db8:0:1::1") == 0


@given(account=st.text(st.characters()), source=st.ip_addresses().map(str))
def test_keys_are_short_and_tell_nobody_s_name(account: str, source: str) -> None:
    own, everywhere = throttle.keys(account, source)

    assert own == f"{everywhere}/{throttle.network(source)}"
    assert len(everywhere) == 32
    assert set(everywhere) <= set("0123456789abcdef")


def test_accounts_have_keys_of_their_own() -> None:
    assert throttle.keys("jane", _HERE).everywhere != throttle.keys("john", _HERE).everywhere
    assert throttle.keys("Jane", _HERE) == throttle.keys("jane", _HERE)
