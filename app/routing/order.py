"""In which order targets are tried. Law: pure; the random number is given."""

from collections.abc import Sequence

from app.routing.table import RouteTarget


def order_targets(targets: Sequence[RouteTarget], *, balance: str, draw: float) -> list[RouteTarget]:
    """Return all targets, the first to try first.

    `priority` keeps the file's order. Anything else draws the first by weight (`draw` is uniform over [0, 1)) and
    keeps the file's order for the rest; targets of weight 0 come last.
    """
    if len(targets) == 1 or balance == "priority":
        return list(targets)
    first = _drawn(targets, draw)
    rest = [target for position, target in enumerate(targets) if position != first]
    return [targets[first], *sorted(rest, key=lambda target: target.weight == 0)]


def _drawn(targets: Sequence[RouteTarget], draw: float) -> int:
    total = sum(target.weight for target in targets)
    point = draw * total
    for position, target in enumerate(targets):
        point -= target.weight
        if point < 0:
            return position
    return 0
