"""Limits, budget and models as a form has them. Law: what the form does not show stays as it was."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from app.api.dashboard.changes import whole_number
from app.domain.tenants.policies import Budget, Limits

LIMIT_FIELDS = ("requests_per_minute", "tokens_per_minute", "concurrency", "max_output_tokens")


def policy_of(form: Mapping[str, str], *, limits: Limits | None = None, budget: Budget | None = None) -> dict[str, Any]:
    """Return `models`, `limits` and `budget` as a body of the API has them; blank fields are null.

    `limits` and `budget` are those that the object has now.
    """
    return {
        "models": _models(form.get("models")),
        "limits": _limits(form, limits),
        "budget": _budget(form, budget),
    }


def expiry_of(form: Mapping[str, str]) -> str | None:
    """Return the end of the day that was picked, in UTC."""
    day = form.get("expires_on")
    return None if day is None else f"{day}T23:59:59Z"


def shown_day(moment: datetime | None) -> str:
    """Return a moment's day as a field of that type takes it."""
    return "" if moment is None else f"{moment:%Y-%m-%d}"


def _models(text: str | None) -> list[str] | None:
    if text is None:
        return None
    return [name.strip() for name in text.replace("\n", ",").split(",") if name.strip()]


def _limits(form: Mapping[str, str], before: Limits | None) -> dict[str, Any] | None:
    given = {name: whole_number(name, form[name]) if name in form else None for name in LIMIT_FIELDS}
    after = msgspec.to_builtins(before or Limits()) | given
    return None if after == msgspec.to_builtins(Limits()) else after


def _budget(form: Mapping[str, str], before: Budget | None) -> dict[str, Any] | None:
    if "budget_amount" not in form:
        return None
    kept = {} if before is None else msgspec.to_builtins(before)
    return {**kept, "amount": form["budget_amount"], "period": form.get("budget_period", "month")}
