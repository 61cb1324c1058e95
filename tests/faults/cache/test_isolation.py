"""P11 and P12: nobody gets a byte of another tenant's, and nobody can tell by the clock what another has asked.

All tenants ask the same, so that only its scope keeps an answer from the others. Who asks is in `user`, which is in no
key, and the provider says it in every answer.
"""

import asyncio
import json
import random
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from faults.cache.crowd import CHAT, Client, ask
from msgspec import structs
from outside.caller import Caller
from outside.forms import FORMS, Form
from outside.ledger import Ledger
from servers.caching import Stand, caching
from servers.gateway import GatewayProcess

from providers.testing import Script

TENANTS = 20
FASHION = 200
"""So many requests are about two questions, and then it is two others."""
AT_ONCE = 48
_CANARY = re.compile(rb"canary-of-(\d+)-")


class Tenant(NamedTuple):
    """One organisation's caller; its canary is what it calls itself, and so in what it is answered."""

    number: int
    caller: Caller

    @property
    def canary(self) -> str:
        """What must turn up with nobody else."""
        return f"canary-of-{self.number}-"


NAMING = tuple(form for form in FORMS if not form.name.startswith("gemini"))
"""The forms that say who asks."""


@pytest.fixture(scope="module")
def stand() -> Iterator[Stand]:
    with caching() as running:
        yield running


@pytest.fixture
def naming(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider says in its answer who asked."""
    stand.provider.reset()
    reply = stand.provider._reply

    def says_who(request: Any, *, body: dict[str, Any], script: Script, number: int) -> Any:
        text = f"{body['user']} asked {body['messages'][-1]['content']} and so said the provider to {body['user']}"
        return reply(request, body=body, script=structs.replace(script, text=text, chunk_delay_ms=1), number=number)

    monkeypatch.setattr(stand.provider, "_reply", says_who)


def named(form: Form, name: str) -> dict[str, Any]:
    """Return the members of a body that say who asks."""
    return {"metadata": {"user_id": name}} if form.name == "messages" else {"user": name}


@pytest.fixture(scope="module")
def tenants(stand: Stand) -> Iterator[list[Tenant]]:
    made = [Tenant(number, caller_of(stand.gateway, number)) for number in range(TENANTS)]
    yield made
    for one in made:
        one.caller.http.close()


def caller_of(gateway: GatewayProcess, number: int, **fields: Any) -> Caller:
    """Return a caller in an organisation of its own."""
    organization_id = gateway.admin("POST", "/organizations", json={"name": f"tenant {number}"})["id"]
    team = {"name": f"team {number}", "organization_id": organization_id}
    return Caller(gateway, team_id=gateway.admin("POST", "/teams", json=team)["id"], **fields)


def canaries(raw: bytes) -> set[int]:
    return {int(found) for found in _CANARY.findall(raw)}


# --- P11


@pytest.mark.parametrize("requests", [4_000, pytest.param(100_000, marks=pytest.mark.long)])
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("naming")
def test_nobody_gets_a_byte_of_another_tenants(stand: Stand, tenants: list[Tenant], requests: int) -> None:
    crowd = Crowd(tenants, random.Random(11))
    asyncio.run(crowd.run(requests))
    assert crowd.foreign == []
    assert crowd.answered > requests * 0.85
    # It means something only if answers were indeed given again, and shared.
    assert crowd.seen["exact"] > requests * 0.3
    assert crowd.seen["coalesced"] > requests * 0.02
    check_ledger(stand, tenants)
    check_logs(stand, tenants)


class Crowd:
    """Tenants that all ask the same few things, a tenth of them leaving in the middle."""

    def __init__(self, tenants: Sequence[Tenant], dice: random.Random) -> None:
        self._tenants = tenants
        self._dice = dice
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._left = 0
        self.seen: dict[str, int] = {"miss": 0, "exact": 0, "coalesced": 0}
        self.foreign: list[tuple[int, bytes]] = []
        self.answered = 0

    async def run(self, requests: int) -> None:
        """Ask so often."""
        self._left = requests
        await asyncio.gather(*(self._worker() for _ in range(AT_ONCE)))

    async def _worker(self) -> None:
        while self._left > 0:
            self._left -= 1
            dice = self._dice
            await self._ask(dice.choice(self._tenants), dice.choice(NAMING), self._left // FASHION + dice.randrange(2))

    async def _ask(self, tenant: Tenant, form: Form, number: int) -> None:
        client = Client(tenant.caller, form, f"question {number} of everybody", **named(form, tenant.canary))
        await client.send()
        if self._dice.random() < 0.1:
            await asyncio.sleep(self._dice.random() * 0.02)
            client.leave()
            return
        told = await client.listen()
        assert told.said.status == 200, told.text
        self.answered += 1
        self.seen[told.cache] += 1
        if canaries(client.raw) != {tenant.number}:
            self.foreign.append((tenant.number, client.raw))


def check_ledger(stand: Stand, tenants: Sequence[Tenant]) -> None:
    """The rows of a key are of its organisation, and no row says what was asked."""
    organisations = {one.caller.key_id: one.caller.organization_id for one in tenants}
    rows = Ledger(stand.gateway).events()
    assert rows
    for row in rows:
        assert organisations.get(str(row["key_id"]), row["organization_id"]) == row["organization_id"]
        assert not canaries(json.dumps(row, default=str).encode())


def check_logs(stand: Stand, tenants: Sequence[Tenant]) -> None:
    log = (stand.gateway.folder / "gateway.log").read_bytes()
    assert b"fake-model" in log
    assert not canaries(log)


async def test_the_same_words_are_two_questions_in_two_tenants(stand: Stand, tenants: list[Tenant]) -> None:
    stand.provider.reset()
    prompt, script = "the very same words", Script(output_tokens=9, chunk_delay_ms=10)
    for form in FORMS:
        stand.provider.reset()
        stand.provider.script(script, model="fake-model")
        told = await asyncio.gather(
            *(ask(one.caller, form, f"{prompt} {form}") for one in tenants[:5] for _ in range(3))
        )
        assert [one.cache for one in told].count("miss") == 5, str(form)
        assert len(stand.provider.journal.entries) == 5


# --- P12


@pytest.mark.parametrize(("probes", "within"), [(400, 0.1), pytest.param(2_000, 0.05, marks=pytest.mark.long)])
@pytest.mark.timeout(600)
def test_the_clock_tells_nothing_of_another_tenant(stand: Stand, probes: int, within: float) -> None:
    """A primes half of the prompts; B asks all of them, in an order of chance, so that drift tells nothing either."""
    stand.provider.reset()
    # With a provider that answers at once a hit is hardly faster, and the control below would show nothing.
    stand.provider.script(Script(head_delay_ms=3), model="fake-model")
    prompts = [f"is {number} known already" for number in range(probes)]
    primed = set(prompts[::2])
    dice = random.Random(12)
    times: dict[bool, list[float]] = {True: [], False: []}
    with caller_of(stand.gateway, 100) as victim, caller_of(stand.gateway, 101) as spy:
        for prompt in primed:
            assert victim.post(CHAT.body("fake-model", prompt)).status_code == 200
        dice.shuffle(prompts)
        for prompt in prompts:
            times[prompt in primed].append(timed(spy, prompt, says="miss"))
        # The measure can tell: who asks again for what is its own is quicker.
        again = [timed(spy, prompt, says="exact") for prompt in prompts[:100]]
    assert abs(auc(times[True], times[False]) - 0.5) <= within
    assert auc(again, times[False]) < 0.35


def timed(caller: Caller, prompt: str, *, says: str) -> float:
    began = time.perf_counter()
    answer = caller.post(CHAT.body("fake-model", prompt))
    took = time.perf_counter() - began
    assert answer.headers["x-gateway-cache"] == says
    return took


def auc(some: Sequence[float], others: Sequence[float]) -> float:
    """Return how often one of `some` is greater than one of `others`: the area under the curve of a classifier."""
    ranked = sorted([(value, True) for value in some] + [(value, False) for value in others])
    ranks = sum(rank for rank, (_, is_one) in enumerate(ranked, 1) if is_one)
    return (ranks - len(some) * (len(some) + 1) / 2) / (len(some) * len(others))
