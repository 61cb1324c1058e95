"""One element of `model_list` becomes one target, with what it says of prices, clocks and bodies."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

import msgspec

from app.commands.litellm.accounts import Accounts
from app.commands.litellm.attempts import clock_in, retries_in
from app.commands.litellm.reading import Section
from app.commands.litellm.vendors import Upstream, adapter_of, unserved, upstream_of
from providers.catalog import Catalog

_MILLION = 1_000_000
_NANO = Decimal("0.000000001")
_PRICES = {
    "input": ("input_cost_per_token", _MILLION),
    "output": ("output_cost_per_token", _MILLION),
    "cache_read": ("cache_read_input_token_cost", _MILLION),
    "cache_write": ("cache_creation_input_token_cost", _MILLION),
    "audio_input": ("input_cost_per_audio_token", _MILLION),
    "audio_output": ("output_cost_per_audio_token", _MILLION),
    "image": ("output_cost_per_image", 1),
}
_BODY = (
    "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "n", "presence_penalty",
    "frequency_penalty", "logit_bias", "seed", "stop", "user", "response_format", "tools", "tool_choice",
    "parallel_tool_calls", "reasoning_effort", "thinking", "verbosity", "service_tier", "dimensions",
    "encoding_format", "modalities", "web_search_options", "store", "metadata",
)  # fmt: skip
_PARAMS_REASONS = {
    "rpm": "limits bind organisations, teams and keys here, not single targets",
    "tpm": "limits bind organisations, teams and keys here, not single targets",
    "max_parallel_requests": "limits bind organisations, teams and keys here, not single targets",
    "tags": "requests are not routed by tags; make a model for each, and give keys the models that they may use",
    "cooldown_time": "the breaker decides when a target is tried again",
    "stream": "clients choose whether they want a stream",
    "mock_response": "the adapter `echo` and the fake provider of `providers.testing` answer for tests",
    "guardrails": "there are no guardrails; a plug-in of `llm_gateway.layers` may be one",
    "max_budget": "budgets belong to organisations, teams and keys",
    "budget_duration": "budgets belong to organisations, teams and keys",
    "cache_control_injection_points": "clients mark what is to be cached",
    "merge_reasoning_content_in_choices": "reasoning keeps to its own field",
    "input_cost_per_second": "prices are of tokens and images",
    "output_cost_per_second": "prices are of tokens and images",
}
_INFO_REASONS = {
    "base_model": "the price is that of the target's own name; write `price` if the catalogue does not know it",
    "team_id": "a model is for whoever may use it: name it in the team's `models`",
    "access_groups": "name the models in the `models` of teams and keys",
    "input_cost_per_second": "prices are of tokens and images",
    "output_cost_per_second": "prices are of tokens and images",
    "input_cost_per_image": "pictures that come in are priced as tokens",
}
INFO_UNNEEDED = (
    "id", "db_model", "mode", "max_tokens", "max_input_tokens", "max_output_tokens", "litellm_provider",
    "created_at", "updated_at", "created_by", "updated_by",
)  # fmt: skip
"""What tells LiteLLM of a model what the catalogue tells here, or what only its own database needs."""
INFO_UNNEEDED_PREFIX = "supports_"
PARAMS_UNNEEDED = ("drop_params", "use_in_pass_through")
"""What is always so here, or is about paths that are not served."""
_NO_MODES = frozenset({"realtime", "batch", "video_generation", "search", "vector_store", "ocr"})
_OTHERWISE = "the gateway has nothing like it"


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a public model.

    `path` is that of its element; `weights` are its `weight`, `rpm` and `tpm`; a `price` is in USD, as in our file.
    """

    name: str
    path: str
    provider: str
    model: str
    is_wild: bool = False
    weights: Mapping[str, float] = {}
    order: float | None = None
    retries: int | None = None
    total_s: float | None = None
    first_token_s: float | None = None
    price: Mapping[str, str] = {}
    default: Mapping[str, Any] = {}
    drop: tuple[str, ...] = ()


class Deployments:
    """Reads the elements of `model_list`.

    `credentials` are those of `credential_list` by name, and `used` the names of those that some element had.
    """

    def __init__(self, accounts: Accounts, catalog: Catalog, *, credentials: Mapping[str, Mapping[Any, Any]]) -> None:
        self._accounts = accounts
        self._catalog = catalog
        self._credentials = credentials
        self.used: set[str] = set()

    def read(self, entry: Section) -> Deployment | None:
        """Return what an element says; `None`, and a report, where it cannot be served."""
        name, params = entry.text("model_name"), entry.section("litellm_params")
        model = params.text("model")
        if name is None or model is None:
            entry.report.lose(entry.path, "has no `model_name` or no `litellm_params.model`")
            return None
        self._fill(params)
        model = self._accounts.references.model_of(model, params.at("model"))
        if model is None:
            entry.report.lose(f"{entry.path} ({name})", "is left out, for what it serves is not known")
            return None
        upstream = upstream_of(
            model,
            vendor=params.text("custom_llm_provider"),
            adapters=self._catalog.vendors,
            has_base=params.has("api_base", "base_url"),
        )
        info = entry.section("model_info")
        why_not = self._why_not(upstream, info)
        if why_not is not None:
            entry.report.lose(f"{entry.path} ({name})", why_not)
            return None
        provider = self._accounts.name_of(upstream, params)
        if provider is None:
            entry.report.lose(
                f"{entry.path} ({name})", f"{upstream.vendor} is reached at an `api_base`, which is missing"
            )
            return None
        deployment = Deployment(
            name=name,
            path=entry.path,
            provider=provider,
            model=params.text("model_id") or upstream.model,
            is_wild="*" in name or "*" in upstream.model,
            price=_price(params, info),
            **_routing(params, entry),
            **_body(params),
        )
        _finish(entry, params, info)
        return deployment

    def _fill(self, params: Section) -> None:
        name = params.text("litellm_credential_name")
        if name is None:
            return
        if name in self._credentials:
            self.used.add(name)
            params.fill(self._credentials[name])
        else:
            params.report.lose(params.at("litellm_credential_name"), "names no credential of `credential_list`")

    def _why_not(self, upstream: Upstream, info: Section) -> str | None:
        mode = info.text("mode")
        if mode in _NO_MODES:
            return f"there is no API for `mode: {mode}`"
        reason = unserved(upstream)
        if reason is None and adapter_of(upstream.vendor) not in self._catalog.vendors:
            reason = f"nothing here speaks to {upstream.vendor}; with its OpenAI-compatible address, `openai` may"
        return reason


def _finish(entry: Section, params: Section, info: Section) -> None:
    """Report what nobody took."""
    params.ignore(*PARAMS_UNNEEDED)
    info.ignore(*INFO_UNNEEDED)
    for key, _ in info.rest():
        if not key.startswith(INFO_UNNEEDED_PREFIX):
            entry.report.lose(info.at(key), _INFO_REASONS.get(key, "models have no descriptions of their own here"))
    params.lose_rest(_PARAMS_REASONS, _OTHERWISE)
    entry.lose_rest(_PARAMS_REASONS, _OTHERWISE)


def _routing(params: Section, entry: Section) -> dict[str, Any]:
    """Return what weighs a target against the others of its model, and its clocks.

    `rpm` and `tpm` may stand beside `litellm_params` as well as in it.
    """
    given = {key: params.number(key) or entry.number(key) for key in ("weight", "rpm", "tpm")}
    return {
        "weights": {key: value for key, value in given.items() if value is not None},
        "order": params.number("order"),
        "retries": retries_in(params, "num_retries", "max_retries"),
        "total_s": clock_in(params, "timeout", "request_timeout"),
        "first_token_s": clock_in(params, "stream_timeout"),
    }


def _body(params: Section) -> dict[str, Any]:
    """Return what requests get where their clients do not say, and what they lose."""
    default = {key: params.take(key) for key in _BODY if params.has(key)}
    extra = params.section("extra_body")
    default |= dict(extra.rest())
    drop = tuple(str(field) for _, field in params.items("additional_drop_params"))
    nested = [field for field in drop if not field.replace("_", "").isalnum()]
    for field in nested:
        params.report.lose(
            params.at("additional_drop_params"), f"`{field}` is within a field; whole fields are dropped"
        )
    return {"default": default, "drop": tuple(field for field in drop if field not in nested)}


def _price(params: Section, info: Section) -> dict[str, str]:
    """Return the prices in USD per million tokens, as text; those of the parameters win."""
    prices = {}
    for field, (key, factor) in _PRICES.items():
        for place in (params, info):
            written = place.text(key)
            if written is None:
                continue
            amount = _usd(written, factor)
            if amount is None:
                place.report.lose(place.at(key), "is not a price")
            elif field in prices:
                place.report.change(place.at(key), "is passed over: the price of `litellm_params` wins, as in LiteLLM")
            else:
                prices[field] = amount
    if prices and not {"input", "image", "audio_input"} & prices.keys():
        prices["input"] = "0"
    if prices.get("input") and "output" not in prices:
        prices["output"] = "0"
    return prices


def _usd(written: str, factor: int) -> str | None:
    try:
        amount = (Decimal(written) * factor).quantize(_NANO, rounding=ROUND_HALF_EVEN)
    except InvalidOperation:
        return None
    if not amount.is_finite() or amount < 0:
        return None
    return format(amount.normalize(), "f")
