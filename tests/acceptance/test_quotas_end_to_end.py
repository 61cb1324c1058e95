"""Limits and budgets as an administrator reads them on a served gateway: what was spent is what the ledger holds."""

from decimal import Decimal

from outside.caller import Caller
from outside.ledger import Ledger, usd
from servers.gateway import ADMIN_KEY, MASTER_SECRET, GatewayProcess
from servers.process import wait_until

from app.domain.tenants.schemas import DEFAULT_ORGANIZATION


def test_a_budget_shows_what_its_key_has_spent(gateway: GatewayProcess, caller: Caller, ledger: Ledger):
    path = f"/budgets/key/{caller.key_id}"
    put = gateway.admin("PUT", path, json={"amount": "1", "period": "total"})
    assert put["budget"]["amount"] == "1"
    for _ in range(3):
        assert caller.chat("fake-model").status_code == 200
    spent_nusd = sum(event["cost_nusd"] for event in ledger.wait(3, key_id=caller.key_id))
    assert spent_nusd > 0
    (use,) = gateway.admin("GET", path)["use"]
    assert (use["amount"], use["used"]) == ("1.000000000", usd(spent_nusd))
    assert Decimal(use["remaining"]) == Decimal(1) - Decimal(use["used"]) - Decimal(use["held"] or 0)


def test_limits_are_shown_set_and_removed(gateway: GatewayProcess, caller: Caller):
    path = f"/limits/key/{caller.key_id}"
    gateway.admin("PUT", path, json={"requests_per_minute": 1000})
    found = gateway.admin("GET", path)
    assert found["limits"]["requests_per_minute"] == 1000
    assert found["use"] is None or found["use"][0]["limit"] == 1000
    gateway.admin("DELETE", path)
    assert gateway.admin("GET", path)["limits"] is None


def test_the_files_budget_and_prices_are_shown_as_they_are_after_a_reload():
    environ = {"GATEWAY_ADMIN_KEY": ADMIN_KEY, "GATEWAY_MASTER_SECRET": MASTER_SECRET}
    target = {"targets": [{"provider": "echo", "model": "echo"}], "price": {"input": "1"}}
    tree = {"providers": {"echo": {"adapter": "echo"}}, "models": {"echo": target}}
    running = GatewayProcess.launch(tree, environ=environ)
    try:
        assert shown(running) == ([], {"echo": "1.000000000"})
        target["price"] = {"input": "2"}
        running.write_config(tree | {"budget": {"amount": "3"}})
        running.reload()
        assert wait_until(lambda: shown(running) == (["3.000000000"], {"echo": "2.000000000"}), within_s=10)
    finally:
        running.close()


def shown(gateway: GatewayProcess) -> tuple[list[str], dict[str, str]]:
    """Return the file's budgets of the default organisation, and its prices, as the admin API shows them."""
    budgets = gateway.admin("GET", f"/budgets/organization/{DEFAULT_ORGANIZATION}")["use"]
    prices = gateway.admin("GET", "/prices")["items"]
    assert {found["source"] for found in (*budgets, *prices)} == {"config"}
    return [use["amount"] for use in budgets], {price["model"]: price["input"] for price in prices}
