"""Carries what concerns the whole gateway: the cache, Redis, the database, the admin key, a budget, limits."""

from typing import Any

from app.commands.litellm.accounts import Accounts
from app.commands.litellm.reading import Section
from app.commands.litellm.redis import state_of

_CACHES = {
    "local": "exact",
    "in-memory": "exact",
    "disk": "exact",
    "redis": "exact",
    "redis-semantic": "semantic",
    "qdrant-semantic": "semantic",
    "valkey-semantic": "semantic",
    "s3": "exact",
    "gcs": "exact",
    "azure-blob": "exact",
}
_AT_HAND = frozenset({"local", "in-memory", "redis", "redis-semantic"})
"""Caches that are where those of the gateway are: in memory, or in Redis."""
_CACHE_REASONS = {"supported_call_types": "what is cached is not chosen by the kind of the call"}
_PERIODS = {"1d": "day", "24h": "day", "7d": "week", "1w": "week", "30d": "month", "31d": "month", "1mo": "month"}
_MAX_TTL_S = 31_622_400
_CALLBACKS = "metrics are at `/metrics`, usage at `/admin/v1/usage`; other receivers are not written to"
_CACHED = "`cache: true` of `litellm_settings` turns the cache on, and `cache.mode` here"
_LIBRARY_REASONS = {
    "callbacks": _CALLBACKS,
    "success_callback": _CALLBACKS,
    "failure_callback": _CALLBACKS,
    "service_callback": _CALLBACKS,
    "guardrails": "there are no guardrails; a plug-in of `llm_gateway.layers` may be one",
    "ssl_verify": "certificates are always verified; `ca_file` of a provider names other authorities",
    "modify_params": "requests are not rewritten unasked; see `transform`",
    "budget_duration": "budgets belong to organisations, teams and keys",
    "max_end_user_budget": "budgets belong to organisations, teams and keys",
    "default_team_settings": "teams are made by the admin API",
    "service_callbacks": _CALLBACKS,
    "enable_json_schema_validation": "answers are not held against the schema that a request gives",
    "cache_responses": _CACHED,
    "default_internal_user_params": "there are no users; people sign in by OIDC, and grants give them roles",
}
_GENERAL_REASONS = {
    "custom_auth": "callers have keys, or JSON Web Tokens that stand for one (`gateway.jwt`)",
    "enable_jwt_auth": "see `gateway.jwt` and `admin.jwt`",
    "store_model_in_db": "models made by LiteLLM's API stay in its database; make them by `/admin/v1/models`",
    "alerting": "alerts are Prometheus rules, see `infra/monitoring`",
    "max_parallel_requests": "see `limits.concurrency` of organisations, teams and keys",
    "global_max_parallel_requests": "`inflight` bounds what one worker serves at once",
    "pass_through_endpoints": "only the paths of the inference API are served",
    "background_health_checks": "health comes from the traffic itself",
    "enforce_user_param": "usage is by key, team and tag",
}
_ROUTER_REASONS = {
    "retry_policy": "which errors are tried again is not a setting: connections, timeouts, 408, 429 and 5xx",
    "model_group_retry_policy": "which errors are tried again is not a setting; `retries` of a model says how often",
    "allowed_fails_policy": "when the breaker opens is not a setting",
    "retry_after": "the wait between attempts is not a setting; a `retry-after` of the provider is kept",
    "tag_filtering": "requests are not routed by tags; make a model for each, and give keys the models they may use",
    "enable_tag_filtering": "requests are not routed by tags; make a model for each, and give keys those they may use",
    "provider_budget_config": "budgets belong to organisations, teams and keys",
    "routing_strategy_args": "balances have no settings of their own",
    "max_fallbacks": "a model's fallbacks are tried each once",
    "cache_responses": _CACHED,
    "optional_pre_call_checks": "see `sticky` of a model, for equal beginnings and for sessions",
}
_OTHERWISE = "the gateway has nothing like it"
LIBRARY_UNNEEDED = (
    "drop_params", "set_verbose", "telemetry", "json_logs", "turn_off_message_logging", "suppress_debug_info",
    "redact_user_api_key_info", "drop_unknown_params",
)  # fmt: skip
GENERAL_UNNEEDED = (
    "port", "host", "proxy_batch_write_at", "database_connection_pool_limit", "database_connection_timeout",
    "disable_spend_logs", "disable_error_logs", "allow_requests_on_db_unavailable", "proxy_batch_polling_interval",
    "disable_master_key_return", "health_check_interval", "disable_spend_updates",
)  # fmt: skip
ROUTER_UNNEEDED = ("set_verbose", "debug_level")
CACHE_UNNEEDED = ("namespace", "max_connections", "socket_timeout")
"""What needs no equal: how LiteLLM's own process, logs and tables work, or what is always so here."""


def carry_house(file: dict[str, Any], *, accounts: Accounts, places: dict[str, Section]) -> None:
    """Write the sections of the whole gateway into the file, and report what is left in the places read."""
    library, router, general = (places[name] for name in ("litellm_settings", "router_settings", "general_settings"))
    caching = library.section("cache_params")
    redis = state_of(accounts.references, (router, caching, library))
    _carry_cache(file, library=library, caching=caching)
    if redis is not None:
        file["state"] = redis
        router.report.change(
            "state", "Redis holds the gateway's money: give it one of its own, with AOF on, no eviction"
        )
    _carry_budget(file, library)
    _carry_general(general)
    if router.flag("enable_pre_call_checks"):
        reason = "a prompt's length is not counted beforehand: `fallbacks: {context_length: […]}` answer a refusal"
        router.report.change(router.at("enable_pre_call_checks"), reason)
    library.ignore(*LIBRARY_UNNEEDED)
    router.ignore(*ROUTER_UNNEEDED)
    general.ignore(*GENERAL_UNNEEDED)
    library.lose_rest(_LIBRARY_REASONS, _OTHERWISE)
    router.lose_rest(_ROUTER_REASONS, _OTHERWISE)
    general.lose_rest(_GENERAL_REASONS, _OTHERWISE)


def _carry_cache(file: dict[str, Any], *, library: Section, caching: Section) -> None:
    is_on = library.flag("cache")
    kind = caching.text("type") or "redis"
    ttl_s, similarity = caching.number("ttl", "default_in_redis_ttl"), caching.number("similarity_threshold")
    default = caching.text("mode")
    is_by_choice = default == "default_off"
    if default not in {None, "default_on", "default_off"}:
        caching.report.lose(caching.at("mode"), f"`{default}` is neither `default_on` nor `default_off`")
    mode = _CACHES.get(kind)
    if is_on and mode is None:
        caching.report.lose(caching.at("type"), f"`{kind}` is no cache that is known here")
    elif is_on and mode is not None:
        file["cache"] = {"mode": "off" if is_by_choice else mode} | _kept(caching, ttl_s)
        if is_by_choice:
            caching.report.change(caching.at("mode"), f"requests ask for it by `x-gateway-cache: {mode}`")
        if similarity is not None:
            caching.report.change(caching.at("similarity_threshold"), "is left to the calibration of our own embedder")
        if kind not in _AT_HAND:
            caching.report.change(caching.at("type"), f"what `{kind}` kept is kept where the gateway's state is")
    caching.ignore(*CACHE_UNNEEDED)
    caching.lose_rest(_CACHE_REASONS, "the cache keeps what is its own in `state`, or at `cache.url`")


def _kept(caching: Section, ttl_s: float | None) -> dict[str, int]:
    """Return how long answers are kept, in the range that the file takes."""
    if ttl_s is None:
        return {}
    kept_s = max(1, int(min(ttl_s, _MAX_TTL_S)))
    if kept_s != ttl_s:
        caching.report.change(caching.at("ttl"), f"is {kept_s} s here")
    return {"ttl_s": kept_s}


def _carry_budget(file: dict[str, Any], library: Section) -> None:
    amount = library.number("max_budget")
    if amount is None:
        return
    duration, zone = library.text("budget_duration"), library.text("timezone")
    period = "total" if duration is None else _PERIODS.get(duration)
    if period is None:
        library.report.change(
            library.at("budget_duration"), f"`{duration}` is no period of the calendar; it is `month`"
        )
    elif duration is not None:
        library.report.change(library.at("budget_duration"), f"begins anew with the calendar's {period}")
    file["budget"] = {"amount": f"{amount:.9f}".rstrip("0").rstrip("."), "period": period or "month"}
    if zone is not None:
        file["budget"]["timezone"] = zone
    library.report.change(library.at("max_budget"), "binds each organisation; there is one until you make others")


def _carry_general(general: Section) -> None:
    if general.text("master_key") is not None:
        reason = "set GATEWAY_ADMIN_KEY (32 characters or more): it manages, and clients get keys of their own"
        general.report.change(general.at("master_key"), reason)
    if general.text("database_url") is not None:
        reason = (
            "LiteLLM's tables are not read: give the gateway a database of its own in `database`, and make keys anew"
        )
        general.report.change(general.at("database_url"), reason)
    if general.text("completion_model") is not None:
        general.report.lose(general.at("completion_model"), "every request names its model")
