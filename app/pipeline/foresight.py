"""What the cache would do for a request, and did. Law: it reads; it makes nothing, keeps nothing and counts nothing.

The same functions decide as in `app.pipeline.cached`; where that acts, this tells.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, cast

from app.cache.likes import Likes, Look
from app.cache.semantic import Judged
from app.cache.shelf import Found, Shelf, Spot
from app.cache.wishes import CachePolicy, Unkept, Wish
from app.domain.keys.principal import Principal
from app.domain.tenants.policies import ScopeKind
from app.pipeline.asking import Asking
from app.pipeline.exchange import Exchange
from app.pipeline.explanation import CacheVerdict, ExplainedCache, ExplainedLike
from app.pipeline.hits import can_say
from app.pipeline.notes import CacheNote
from app.pipeline.records import CacheLook, CacheRecord
from app.stores.cache import Maker

_DIGITS = 4
Scope = ScopeKind | Literal["config"]
Blind = Literal["no_text", "no_key", "elsewhere"]
"""Why nobody can look: nothing is asked, nobody asks, or what is kept is in another process."""
Off = Literal["off", "forbidden", "asked_off"]
Missed = Literal["refresh", "no_cache", "no_store", "nothing_kept", "guard", "shadow", "only_if_cached"]
Reason = Off | Unkept | Missed | Blind | Literal["not_embedded"]

SENTENCES: dict[Reason, str] = {
    "off": "no setting switches the cache on, and the request does not ask for it",
    "forbidden": "a setting forbids the cache, whatever the request asks for",
    "asked_off": "the request asks for no cache",
    "references": "it refers to state that a provider keeps, which its key cannot stand for",
    "form": "it is a form with a file in it",
    "operation": "what it asks for has no answer that could be given again",
    "hosted_tools": "it has a tool that the provider runs itself, whose results change",
    "completion_options": "it asks for `echo` or `logprobs`, which a kept answer cannot give",
    "choices": "it asks for more than one choice",
    "temperature": "its temperature asks for another answer each time; `x-gateway-cache: exact` keeps one all the same",
    "unreadable": "it cannot be read in the words that all dialects share",
    "candidates": "it asks for the answers of several models",
    "refresh": "the request asks for a new answer, which is kept",
    "no_cache": "`Cache-Control: no-cache` asks for a new answer, which is kept",
    "no_store": "`Cache-Control: no-store` asks for a new answer, which is not kept",
    "nothing_kept": "nothing fit is kept",
    "guard": "a like question is kept, but a guard tells the two apart",
    "shadow": "the answer to a like question is kept, and only compared with the one that is made",
    "only_if_cached": "nothing is kept for the very same request, and `only-if-cached` wants nothing else: a 504",
    "no_text": "the example has no text of its own: --prompt or --body says what is asked",
    "no_key": "kept answers belong to an organization: --key says whose",
    "elsewhere": "what is kept is in the memory of the running gateway, or in a store that does not answer",
    "not_embedded": "nothing is kept for the very same request; like questions are compared by a provider's model, "
    "which nobody asks here",
}
"""What the words mean."""


class Binding(NamedTuple):
    """The setting that binds a principal, and what it is set on."""

    policy: CachePolicy
    set_by: Scope


class Wishes(Protocol):
    """What the cache is to do for each request, by the settings in force."""

    def __call__(self, exchange: Exchange) -> Wish | None:
        """Return what is to be done for a request; nothing where the cache has no part in it."""
        ...

    def binding(self, principal: Principal) -> Binding:
        """Return the setting that binds a principal, and what it is set on."""
        ...


class Sight(NamedTuple):
    """Where is looked; `likes` is absent where like questions cannot be compared."""

    shelf: Shelf
    likes: Likes | None


class _Verdict(NamedTuple):
    """Says what would become of a request that a setting binds."""

    policy: CachePolicy
    set_by: Scope

    def of(self, status: CacheVerdict, reason: Reason | None, **known: Any) -> ExplainedCache:
        """Return an explanation; `known` are its other fields."""
        return ExplainedCache(
            mode=self.policy.mode,
            set_by=self.set_by,
            scope=self.policy.scope,
            status=status,
            reason=reason,
            why=None if reason is None else SENTENCES[reason],
            **known,
        )


class Foresight:
    """Foresees under one configuration. `sight` may be why nobody can look."""

    def __init__(self, wishes: Wishes, *, sight: Sight | Blind) -> None:
        self._wishes = wishes
        self._sight = sight
        self._asking = Asking()

    async def __call__(self, exchange: Exchange) -> ExplainedCache:
        """Return what the cache would do for a request."""
        verdict = _Verdict(*self._wishes.binding(exchange.principal))
        wish = self._wishes(exchange)
        if wish is None:
            return verdict.of("off", _off(exchange, verdict.policy))
        spot = self._asking.place(exchange, wish)
        if not isinstance(spot, Spot):
            return verdict.of("bypass", spot)
        if not wish.reads:
            return verdict.of("miss", _unread(exchange, wish))
        if not isinstance(self._sight, Sight):
            return verdict.of("unknown", self._sight)
        return await self._look(exchange, spot, wish=wish, verdict=verdict, sight=self._sight)

    async def _look(
        self, exchange: Exchange, spot: Spot, *, wish: Wish, verdict: _Verdict, sight: Sight
    ) -> ExplainedCache:
        key = _key_of(spot)
        found = await sight.shelf.find(spot, max_age_s=wish.max_age_s, makes=False)
        if isinstance(found, Found) and can_say(exchange, found.answered):
            return verdict.of("exact", None, key=key, **_of_entry(found))
        if wish.only_if_cached:
            return verdict.of("miss", "only_if_cached", key=key)
        if isinstance(found, Maker):
            return verdict.of("coalesced", None, key=key)
        return await self._like(exchange, spot, wish=wish, verdict=verdict, likes=sight.likes)

    @staticmethod
    async def _like(
        exchange: Exchange, spot: Spot, *, wish: Wish, verdict: _Verdict, likes: Likes | None
    ) -> ExplainedCache:
        """Return what becomes of a request that only the answer to a like question could serve."""
        key = _key_of(spot)
        if likes is None and wish.semantic != "off" and spot.question.text is not None:
            return verdict.of("unknown", "not_embedded", key=key)
        look = Look()
        found = None if likes is None else await likes.foresee(spot, wish, look=look)
        if found is None or not can_say(exchange, found.answered):
            return verdict.of("miss", _missed(look), key=key, **_of_look(look))
        if wish.semantic == "on":
            return verdict.of("semantic", None, key=key, **(_of_look(look) | _of_entry(found)))
        return verdict.of("miss", "shadow", key=key, **(_of_look(look) | _of_entry(found)))


class Hindsight:
    """Tells what the cache did. One for each worker."""

    def __init__(self, wishes: Wishes) -> None:
        self._wishes = wishes

    def __call__(self, exchange: Exchange) -> CacheRecord | None:
        """Return what the cache did for a request; nothing for one that ended before it came so far."""
        note = exchange.notes.cache
        if note is None and self._wishes(exchange) is not None:
            return None
        policy, set_by = self._wishes.binding(exchange.principal)
        if note is None:
            return CacheRecord(policy, set_by, "off", _off(exchange, policy))
        place = note.place
        if not isinstance(place, Spot):
            return CacheRecord(policy, set_by, "bypass", place)
        hit, found, look = exchange.hit, note.found, note.look
        answer = hit or found
        said = CacheLook(
            place.place.key,
            None if answer is None else answer.entry_id,
            None if answer is None else answer.age_s,
            None if answer is None else answer.similarity,
            look.threshold,
            look.judged,
            note.is_stored,
            note.unstored,
        )
        if hit is not None:
            return CacheRecord(policy, set_by, hit.status, None, said)
        if found is not None:
            return CacheRecord(policy, set_by, "exact" if found.similarity is None else "semantic", None, said)
        return CacheRecord(policy, set_by, "miss", _met(exchange, note), said)


def explained_cache(record: CacheRecord) -> ExplainedCache:
    """Return what is told of what the cache did."""
    look, verdict = record.look, _Verdict(record.policy, cast("Scope", record.set_by))
    status, reason = cast("CacheVerdict", record.status), cast("Reason | None", record.reason)
    if look is None:
        return verdict.of(status, reason)
    known: dict[str, Any] = {"key": look.key.hex(), "kept": look.is_stored, "not_kept": look.unstored}
    known |= _of_judged(look.judged, look.threshold)
    if reason is None:
        known |= {"entry_id": look.entry_id, "age_s": look.age_s, "similarity": _rounded(look.similarity)}
        known |= {"guard": None}
    return verdict.of(status, reason, **known)


def _met(exchange: Exchange, note: CacheNote) -> Missed:
    """Return why a request was not answered from the cache that has looked."""
    if not note.wish.reads:
        return _unread(exchange, note.wish)
    if note.wish.only_if_cached:
        return "only_if_cached"
    judged = note.look.judged
    return "shadow" if judged and judged[-1].guard is None and not judged[-1].is_gone else _missed(note.look)


def _missed(look: Look) -> Missed:
    return "guard" if any(each.guard is not None for each in look.judged) else "nothing_kept"


def _of_look(look: Look) -> dict[str, Any]:
    return _of_judged(look.judged, look.threshold)


def _of_judged(judged: Sequence[Judged], threshold: float | None) -> dict[str, Any]:
    """Return what a look for like questions came to; of those that a guard tells apart, the nearest is named."""
    apart = next((each for each in judged if each.guard is not None), None)
    return {
        "threshold": threshold,
        "guard": None if apart is None else apart.guard,
        "similarity": None if apart is None else _rounded(apart.similarity),
        "candidates": [
            ExplainedLike(
                entry_id=each.entry_id,
                similarity=round(each.similarity, _DIGITS),
                guard=each.guard,
                is_gone=each.is_gone,
            )
            for each in judged
        ],
    }


def _rounded(similarity: float | None) -> float | None:
    return None if similarity is None else round(similarity, _DIGITS)


def _key_of(spot: Spot) -> str:
    return spot.place.key.hex()


def _of_entry(found: Found) -> dict[str, Any]:
    return {
        "entry_id": found.entry_id,
        "age_s": found.age_s,
        "similarity": _rounded(found.similarity),
        "guard": None,
    }


def _off(exchange: Exchange, policy: CachePolicy) -> Off:
    if policy.mode == "forbidden":
        return "forbidden"
    return "asked_off" if exchange.options.cache == "off" and policy.mode != "off" else "off"


def _unread(exchange: Exchange, wish: Wish) -> Missed:
    if not wish.writes:
        return "no_store"
    return "refresh" if exchange.options.cache == "refresh" else "no_cache"
