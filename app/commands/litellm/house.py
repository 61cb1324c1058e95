"""Carries what concerns the whole gateway: the cache, Redis, the database, the admin key, a budget, limits."""

from typing import Any

from app.commands.litellm.accounts import Accounts
from app.commands.litellm.reading import Section
from app.commands.litellm.references import ENVIRON

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
_PERIODS = {"1d": "day", "24h": "day", "7d": "week", "1w": "week", "30d": "month", "31d": "month", "1mo": "month"}
_MAX_TTL_S = 31_622_400
_CALLBACKS = "metrics are at `/metrics`, usage at `/admin/v1/usage`; other receivers are not written to"
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
}
_OTHERWISE = "the gateway has nothing like it"
_QUIET_LIBRARY = (
    "drop_params", "set_verbose", "telemetry", "json_logs", "turn_off_message_logging", "suppress_debug_info",
    "redact_user_api_key_info", "enable_json_schema_validation", "cache_responses", "drop_unknown_params",
)  # fmt: skip
_QUIET_GENERAL = (
    "port", "host", "proxy_batch_write_at", "database_connection_pool_limit", "database_connection_timeout",
    "disable_spend_logs", "disable_error_logs", "allow_requests_on_db_unavailable", "proxy_batch_polling_interval",
    "disable_master_key_return", "health_check_interval", "disable_spend_updates",
)  # fmt: skip
_QUIET_ROUTER = ("enable_pre_call_checks", "set_verbose", "debug_level", "cache_responses", "optional_pre_call_checks")


def carry_house(file: dict[str, Any], *, accounts: Accounts, places: dict[str, Section]) -> None:
    """Write the sections of the whole gateway into the file, and report what is left in the places read."""
    library, router, general = (places[name] for name in ("litellm_settings", "router_settings", "general_settings"))
    caching = library.section("cache_params")
    redis = _redis(accounts, (router, caching, library))
    _carry_cache(file, library=library, caching=caching)
    if redis is not None:
        file["state"] = redis
        router.report.change(
            "state", "Redis holds the gateway's money: give it one of its own, with AOF on, no eviction"
        )
    _carry_budget(file, library)
    _carry_general(general)
    library.ignore(*_QUIET_LIBRARY)
    router.ignore(*_QUIET_ROUTER)
    general.ignore(*_QUIET_GENERAL)
    library.lose_rest(_LIBRARY_REASONS, _OTHERWISE)
    router.lose_rest(_ROUTER_REASONS, _OTHERWISE)
    general.lose_rest(_GENERAL_REASONS, _OTHERWISE)


def _redis(accounts: Accounts, places: tuple[Section, ...]) -> str | None:
    """Return the URL of Redis, or the variable that has to hold it; `None` where no Redis is named."""
    found: str | None = None
    for place in places:
        url, host = place.text("redis_url", "url"), place.text("redis_host", "host")
        password = place.text("redis_password", "password")
        port, database = place.text("redis_port", "port"), place.text("redis_db", "db")
        nodes = place.take("redis_startup_nodes")
        place.ignore("redis_username", "username", "redis_ssl", "ssl", "startup_nodes")
        if nodes is not None:
            place.report.lose(place.at("redis_startup_nodes"), "write `state: redis+cluster://h1,h2` yourself")
        if found is None and url is not None:
            found = accounts.references.secret_of(url, place.at("redis_url"), variable="REDIS_URL")
        elif found is None and host is not None:
            found = _redis_of(place, host=host, port=port, database=database, password=password)
    return found


def _redis_of(place: Section, *, host: str, port: str | None, database: str | None, password: str | None) -> str:
    parts = (host, port or "6379", database or "0")
    if password is None and not any(part.startswith(ENVIRON) or not part.isprintable() for part in parts):
        return f"redis://{parts[0]}:{parts[1]}/{parts[2]}"
    place.report.change(place.at("redis_host"), "set REDIS_URL to `redis://:PASSWORD@HOST:PORT/0`")
    return "env:REDIS_URL"


def _carry_cache(file: dict[str, Any], *, library: Section, caching: Section) -> None:
    is_on = library.flag("cache")
    kind = caching.text("type") or "redis"
    ttl_s, similarity = caching.number("ttl", "default_in_redis_ttl"), caching.number("similarity_threshold")
    is_by_choice = caching.text("mode") == "default_off"
    if is_on:
        mode = _CACHES.get(kind)
        if mode is None:
            caching.report.lose(caching.at("type"), f"`{kind}` is no cache that is known here")
            return
        cache: dict[str, Any] = {"mode": "off" if is_by_choice else mode}
        if is_by_choice:
            caching.report.change(caching.at("mode"), "requests ask for it by `x-gateway-cache: exact`")
        if ttl_s is not None and ttl_s >= 1:
            cache["ttl_s"] = int(min(ttl_s, _MAX_TTL_S))
        if mode == "semantic" and similarity is not None:
            caching.report.change(caching.at("similarity_threshold"), "is left to the calibration of our own embedder")
        file["cache"] = cache
    caching.ignore("namespace", "max_connections", "socket_timeout", "supported_call_types")
    caching.lose_rest({}, "the cache keeps what is its own in `state`, or at `cache.url`")


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
