"""The ledger, the accounts in Redis and the provider's journal, read behind the gateway's back."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import redis as redis_client
from faults.money.crowd import Told
from outside.ledger import Ledger, cost_nusd
from servers.gateway import GatewayProcess
from servers.postgres import PostgresProcess
from servers.process import wait_until
from servers.redis import RedisProcess

from providers.testing import FakeProvider
from providers.testing.journal import Entry

LANDS_WITHIN_S = 60
_SAMPLE_S = 0.01


class Balance(NamedTuple):
    """A budget's account, in nano-USD."""

    used: int
    held: int


class Account:
    """The account of one key's budget, as Redis has it."""

    def __init__(self, redis: RedisProcess, key_id: str) -> None:
        self._client = redis_client.Redis.from_url(redis.url, socket_timeout=10)
        self._pattern = f"*:b:k{UUID(key_id).hex}:*"
        self._name: bytes | None = None

    def balance(self) -> Balance | None:
        """Return what was used and is held; nothing if there is no account."""
        if self._name is None:
            self._name = next(iter(self._client.keys(self._pattern)), None)
        if self._name is None:
            return None
        used, held = self._client.hmget(self._name, "used", "held")
        return None if used is None else Balance(int(used), int(held or 0))

    def names(self) -> list[bytes]:
        """Return the names of all accounts of the key: one for each period that it was spent in."""
        found: list[bytes] = self._client.keys(self._pattern)
        return found

    def add(self, nusd: int) -> None:
        """Falsify what was used."""
        assert self.balance() is not None
        assert self._name is not None
        self._client.hincrby(self._name, "used", nusd)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()


@dataclass
class Samples:
    """What an account said, again and again; how often it was asked."""

    balances: list[Balance] = field(default_factory=list)

    @property
    def most_nusd(self) -> int:
        """The most that was used and held at one moment."""
        return max((each.used + each.held for each in self.balances), default=0)


class Sampling:
    """Reads an account every 10 ms while it is entered."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._ends = Event()
        self._thread = Thread(target=self._run, name="sampling", daemon=True)
        self.samples = Samples()

    def __enter__(self) -> Samples:
        self._thread.start()
        return self.samples

    def __exit__(self, *exception: object) -> None:
        self._ends.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._ends.wait(_SAMPLE_S):
            found = self._account.balance()
            if found is not None:
                self.samples.balances.append(found)


class Books:
    """What was written down, wherever it is."""

    def __init__(self, gateway: GatewayProcess, *, redis: RedisProcess, postgres: PostgresProcess) -> None:
        self.ledger = Ledger(gateway)
        self._redis = redis
        self._postgres = postgres
        self._database = urlsplit(str(self.ledger.url)).path[1:]

    def account(self, key_id: str) -> Account:
        """Return the account of a key's budget."""
        return Account(self._redis, key_id)

    def execute(self, sql: str, *arguments: Any) -> list[Any]:
        """Run a statement in the gateway's database."""
        return self._postgres.execute(sql, *arguments, database=self._database)

    def wait_for(
        self, told: Iterable[Told], *, key_id: str, also: Iterable[str] = (), within_s: float = LANDS_WITHIN_S
    ) -> list[dict[str, Any]]:
        """Return the key's events as soon as those of all whole answers are there, once each; fail where not.

        `also` are tags of questions that must have events too.
        """
        wanted = {each.question.tag for each in told if each.is_whole} | set(also)
        events = self.ledger.wait_until(
            lambda found: wanted <= {tag_of(event) for event in found}, key_id=key_id, within_s=within_s
        )
        counts = Counter(tag_of(event) for event in events if event["kind"] != "adjustment")
        assert wanted - counts.keys() == set(), "what must be in the ledger is not"
        assert {tag: count for tag, count in counts.items() if count > 1} == {}
        return events

    def spent_nusd(self, key_id: str) -> int:
        """Return the ledger's sum of a key."""
        (row,) = self.execute(
            "SELECT coalesce(sum(cost_nusd), 0)::bigint AS spent FROM usage_events WHERE key_id = $1", UUID(key_id)
        )
        spent: int = row["spent"]
        return spent

    def assert_balanced(self, key_id: str, *, within_s: float) -> None:
        """Wait until nothing is held of a key's budget and what was used is what the ledger says."""
        account, seen = self.account(key_id), list[Any]()

        def is_so() -> bool:
            seen[:] = [account.balance(), self.spent_nusd(key_id)]
            return seen[0] is not None and seen[0] == (seen[1], 0)

        wait_until(is_so, within_s=within_s)
        account.close()
        assert seen[0] == Balance(seen[1], 0), "the account in Redis is not the ledger's sum"


def tag_of(event: dict[str, Any]) -> str:
    """Return the tag of the question that an event is of."""
    return str(event["tags"].get("n"))


class Truth(NamedTuple):
    """What the provider really did for a request."""

    prompt_tokens: int
    tokens_served: int

    @property
    def cost_nusd(self) -> int:
        """What that costs."""
        return cost_nusd(self.prompt_tokens, self.tokens_served)


def truths(provider: FakeProvider) -> dict[str, Truth]:
    """Return the provider's own account of every request, by the tag that stands at the front of its text."""
    found = {}
    for entry in provider.journal.entries:
        if tag := tag_in(entry):
            found[tag] = Truth(entry.prompt_tokens, entry.tokens_served)
    return found


def tag_in(entry: Entry) -> str:
    """Return the tag of the question that the provider was asked; nothing if it was asked something else."""
    messages = entry.json.get("messages")
    return str(messages[-1]["content"]).partition(" ")[0] if isinstance(messages, list) and messages else ""


def eventually(probe: Callable[[], bool], *, within_s: float) -> float:
    """Wait until something is so and return how long that took, in seconds; fail if it never was."""
    began = time.monotonic()
    assert wait_until(probe, within_s=within_s)
    return time.monotonic() - began
