"""What is counted of several models that answered one request: every call once, under what became of it."""

from uuid import UUID

from accounting.attempts import begun
from prometheus_client.parser import text_string_to_metric_families

from app.api.openai.paths import CHAT_WIRE
from app.domain.keys.principal import Principal
from app.fanout.spec import FanoutSpec
from app.gateway.legs import LegTally
from app.observability.metrics import Metrics
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Fanout
from app.pipeline.operation import Asked
from app.routing.table import Route

NUSD = 10**9
NS = 10**9
FANOUT = Fanout(
    name="careful", spec=FanoutSpec(strategy="best_of", models=("m", "m")), said=None, legs=(), judge=None, fuser=None
)


def exchange(*calls: tuple[str | None, float | None, int | None]) -> Exchange:
    """Return a request with a call for each part, seconds to the first content, and cost in USD."""
    made = Exchange(
        request_id="01890a5d-ac96-774b-bcce-b302099a8057",
        principal=Principal(key_id=UUID(int=7), organization_id=UUID(int=2)),
        operation=CHAT_WIRE.operation,
        route=Route(name="m", label="m", targets=(), owned_by="p"),
        body=b"",
        document={},
        started_ns=0,
        asked=Asked(model="m"),
    )
    for part, first_s, cost_usd in calls:
        attempt = begun(made, "p", upstream_model="u")
        attempt.leg = part
        attempt.first_ns = None if first_s is None else attempt.started_ns + int(first_s * NS)
        attempt.cost_nusd = None if cost_usd is None else cost_usd * NUSD
    return made


def samples(*given: Exchange) -> dict[tuple[str, str], float]:
    """Return what was counted by the name of the series and the outcome, buckets left out."""
    metrics = Metrics()
    tally = LegTally(metrics)
    for each in given:
        tally.count(each, FANOUT)
    text = metrics.exposition(frozenset({"worker"})).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("gateway_fanout_leg_"):
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    assert (sample.labels["strategy"], sample.labels["model"]) == ("best_of", "m")
                    found[sample.name.removeprefix("gateway_fanout_leg_"), sample.labels["outcome"]] = sample.value
    return found


def test_each_call_is_counted_under_what_became_of_it():
    found = samples(exchange(("won", 0.25, 2), ("lost", None, 1), ("judge", 0.5, 3)), exchange(("won", 0.75, 2)))
    assert found == {
        ("first_token_seconds_count", "won"): 2,
        ("first_token_seconds_sum", "won"): 1.0,
        ("first_token_seconds_count", "judge"): 1,
        ("first_token_seconds_sum", "judge"): 0.5,
        ("cost_usd_total", "won"): 4,
        ("cost_usd_total", "lost"): 1,
        ("cost_usd_total", "judge"): 3,
    }


def test_an_attempt_that_another_followed_has_a_word_of_its_own():
    assert samples(exchange((None, None, 1), ("won", None, 2))) == {
        ("cost_usd_total", "retried"): 1,
        ("cost_usd_total", "won"): 2,
    }


def test_what_has_no_price_or_costs_nothing_makes_no_series():
    assert samples(exchange(("failed", None, None), ("failed", None, 0))) == {}
