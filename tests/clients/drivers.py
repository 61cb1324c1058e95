"""Runs clients that live in processes of their own: a driver makes its checks by every route.

A driver finds what to say, whom to call and which models there are in the variable `TALK`, and prints one line of JSON:
for each route and check the error, or null.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers.gateway import GatewayProcess

from clients import conversation
from clients.chain import CLAUDE, EMBEDDING_ROUTES, GEMINI, GPT, KINDS, ROUTES, TUNED, model
from providers.testing import FakeProvider

LIKE = {"gpt": GPT, "tuned": TUNED, "claude": CLAUDE, "gemini": GEMINI}
_WITHIN_S = 110
Outcome = dict[str, dict[str, str | None]]
"""By route and by check: what went wrong, or nothing."""


def run_driver(
    command: Sequence[str | Path], *, front: GatewayProcess, fake: FakeProvider, cwd: Path | None = None
) -> Outcome:
    """Run a driver against the gateway and return what came of its checks."""
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    environ["TALK"] = json.dumps(_talk(front, fake))
    done = subprocess.run(
        [str(word) for word in command],
        env=environ,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=_WITHIN_S,
    )
    assert done.returncode == 0, (
        f"the driver ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    outcome: Outcome = json.loads(done.stdout.splitlines()[-1])
    return outcome


def _talk(front: GatewayProcess, fake: FakeProvider) -> dict[str, object]:
    return {
        "url": front.base_url,
        "key": front.key,
        "journal": f"{fake.origin}/__journal",
        "models": {route: {like: _models(route, name) for like, name in LIKE.items()} for route in ROUTES},
        "embeddings": {route: model("embedding", route, like="text") for route in EMBEDDING_ROUTES},
        "question": conversation.QUESTION,
        "rule": conversation.RULE,
        "reasoning": conversation.REASONING,
        "signature": conversation.SIGNATURE,
        "refusal": conversation.REFUSAL,
        "tool": conversation.TOOL,
        "toolSays": conversation.TOOL_SAYS,
        "parameters": conversation.PARAMETERS,
        "arguments": conversation.ARGUMENTS,
        "result": conversation.RESULT,
        "png": conversation.PNG,
        "forecast": conversation.FORECAST.model_dump(),
    }


def _models(route: str, like: str) -> dict[str, str]:
    """Return the names of the models that come by a route, by kind."""
    return {kind: model(kind, route, like=like) for kind in KINDS}


def demand_success(outcome: Outcome, route: str) -> None:
    """Raise if a check of a route failed, or if there was none at all."""
    assert outcome[route], "the driver made no checks"
    failed = [f"--- {name}\n{error}" for name, error in outcome[route].items() if error is not None]
    assert not failed, f"{len(failed)} of {len(outcome[route])} checks failed:\n" + "\n".join(failed)
