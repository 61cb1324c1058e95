"""How `llm-gateway top` looks: plain text for scripts, a screen that is refreshed in place for people.

Law: a failure to read is shown where the numbers were, and tried again; nothing that a terminal would obey is printed.
"""

import sys
import time
from collections.abc import Callable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.commands.columns import aligned
from app.commands.failure import CommandFailed
from app.commands.top import Watch
from app.commands.top_view import Pace, View

_ROWS = 12
_STYLES = {"ok": "green", "degraded": "yellow", "down": "bold red"}
_PERCENT = 100
_GOOD_TO_KNOW = "Ctrl-C ends"


def as_text(view: View) -> str:
    """Return the view as aligned plain text."""
    parts = [f"status {view.status}", aligned(_summary(view), left=2)]
    for title, rows in _tables(view):
        if len(rows) > 1:
            parts.append(f"{title}\n{aligned(rows, left=1)}")
    return "\n\n".join(parts)


def watch(watched: Watch, *, interval_s: float, pause: Callable[[float], None] = time.sleep) -> None:
    """Show the gateway until the user ends it; raises `CommandFailed` where there is no terminal."""
    if not sys.stdout.isatty():
        raise CommandFailed("the live view needs a terminal; `llm-gateway top --once` prints it once")
    console = Console()
    with Live(Text("Looking …"), console=console, screen=True, auto_refresh=False) as live:
        try:
            while True:
                pause(interval_s)
                live.update(_screen(watched), refresh=True)
        except KeyboardInterrupt:
            return


def _screen(watched: Watch) -> Group:
    try:
        view = watched.look()
    except CommandFailed as failure:
        return Group(_head(watched.where, "unreachable", "bold red"), Text(str(failure)), Text("Trying again …"))
    tables = [_table(title, rows) for title, rows in _tables(view) if len(rows) > 1]
    head = _head(watched.where, view.status, _STYLES.get(view.status, ""))
    return Group(head, Text(aligned(_summary(view), left=2)), *tables)


def _head(where: str, status: str, style: str) -> Text:
    return Text.assemble(("llm-gateway top  ", "bold"), f"{where}  ", (status, style), f"   {_GOOD_TO_KNOW}\n")


def _table(title: str, rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for position, name in enumerate(rows[0]):
        table.add_column(name, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*(Text(cell if cell.isprintable() else repr(cell)) for cell in row))
    return table


def _summary(view: View) -> list[list[str]]:
    stores = ", ".join(f"{name} {'up' if up else 'DOWN'}" for name, up in view.stores.items())
    hits = "-" if view.cache_hit_share is None else f"{view.cache_hit_share * _PERCENT:.1f} %"
    lag = "-" if view.ledger_lag_s is None else f"{view.ledger_lag_s:.1f} s"
    return [
        ["traffic", (f"{view.requests:.1f} requests/s, {view.requests_total} in all; "
         f"{view.client_errors:.1f}/s refused, {view.server_errors:.1f}/s failed")],
        ["open", f"{view.in_flight} in flight, {view.streams} streams, {view.queued} waiting; {view.shed:.1f}/s shed"],
        ["latency", (f"request {_said(view.latency)}; first token {_said(view.first_token)}; "
         f"in the gateway {_said(view.overhead)}")],
        ["tokens", f"{view.input_tokens:.0f}/s in, {view.output_tokens:.0f}/s out"],
        ["spend", f"{view.cost_per_hour_usd:.4f} USD/h, {view.cost_total_usd:.6f} USD in all"],
        ["cache", f"{hits} hits"],
        ["inside", f"{stores}; ledger {lag} behind; loop {view.loop_lag_ms:.1f} ms late"],
    ]  # fmt: skip


def _said(pace: Pace) -> str:
    if pace.p50_ms is None or pace.p95_ms is None:
        return "-"
    return f"p50 {pace.p50_ms:.1f} p95 {pace.p95_ms:.1f} ms"


def _tables(view: View) -> list[tuple[str, list[list[str]]]]:
    models = [["model", "req/s", "failed/s", "tokens/s", "USD/h", "requests", "USD"]] + [
        [each.model, f"{each.requests:.1f}", f"{each.errors:.1f}", f"{each.tokens:.0f}",
         f"{each.cost_per_hour_usd:.4f}", str(each.requests_total), f"{each.cost_total_usd:.6f}"]
        for each in view.models[:_ROWS]
    ]  # fmt: skip
    providers = [["provider", "status", "calls/s", "failed/s", "ttft ms", "in flight", "breakers"]] + [
        [each.provider, each.status, f"{each.attempts:.1f}", f"{each.failed:.1f}",
         "-" if each.ttft_ms is None else f"{each.ttft_ms:.1f}",
         "-" if each.in_flight is None else str(each.in_flight), ", ".join(each.not_closed) or "closed"]
        for each in view.providers[:_ROWS]
    ]  # fmt: skip
    denials = [["limit", "denied/s", "denied"]] + [
        [f"{each.dimension} of {each.scope}", f"{each.denied:.1f}", str(each.denied_total)]
        for each in view.denials[:_ROWS]
    ]
    return [("Models", models), ("Providers", providers), ("Refused by limits", denials)]
