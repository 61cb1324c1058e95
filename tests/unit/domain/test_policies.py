import msgspec
import pytest

from app.domain.tenants.policies import Allowance, Budget, CacheRules, LimitRule, Limits
from app.settings import policy


def read(kind: type[msgspec.Struct], **fields: object) -> msgspec.Struct:
    return msgspec.convert(fields, kind)


def test_money_is_a_string_outside_and_an_int_of_nano_usd_inside() -> None:
    assert Budget(amount="0.10").amount_nusd == 100_000_000
    assert LimitRule(dimension="cost", limit="2.5", window_s=60).quantity == 2_500_000_000
    assert LimitRule(dimension="tokens", limit=7, window_s=60).quantity == 7


@pytest.mark.parametrize("amount", ["", "1.", ".5", "-1", "+1", "1e3", " 1", "1 ", "NaN", "٣", "0.0000000001", "1_000"])
def test_odd_amounts_are_refused(amount: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(Budget, amount=amount)


@pytest.mark.parametrize(
    ("zone", "is_known"), [("UTC", True), ("Europe/Zurich", True), ("Mars/Olympus", False), ("/", False)]
)
def test_a_time_zone_must_exist(zone: str, is_known: bool) -> None:
    if is_known:
        assert Budget(amount="1", timezone=zone).timezone == zone
        return
    with pytest.raises(ValueError, match="time zone"):
        Budget(amount="1", timezone=zone)


def test_what_is_read_is_written_back_the_same() -> None:
    limits = {"requests_per_minute": 1, "rules": [{"dimension": "cost", "limit": "1", "window_s": 1, "model": "m"}]}
    budget = {"amount": "1", "period": "total", "timezone": "UTC", "on_accounting_down": {"allow": "0.5"}}
    assert msgspec.to_builtins(msgspec.convert(limits, Limits))["rules"] == limits["rules"]
    assert msgspec.to_builtins(msgspec.convert(budget, Budget)) == budget
    assert msgspec.convert(budget, Budget).on_accounting_down == Allowance("0.5")
    assert msgspec.to_builtins(CacheRules()) == {
        "mode": "off",
        "ttl_s": 3600,
        "threshold": None,
        "scope": "organization",
    }


OF_THE_INSTALLATION = {"url", "max_mb", "embedder", "target_false_hits"}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(Limits, policy.LimitSettings), (Budget, policy.BudgetSettings), (CacheRules, policy.CacheSettings)],
)
def test_the_words_are_those_of_the_file(ours: type[msgspec.Struct], theirs: type[msgspec.Struct]) -> None:
    in_the_file = set(theirs.__struct_encode_fields__) - OF_THE_INSTALLATION
    assert set(ours.__struct_encode_fields__) == in_the_file
