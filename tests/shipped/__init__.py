"""The files that ship the gateway, read as data, and the command line that they must agree with."""

import importlib.util
import shutil
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from app.cli import cli
from app.commands.sources import Sources
from app.server.plan import STOP_ALLOWANCE_S
from app.settings import Settings

ROOT = Path(__file__).parents[2]
KILL_S = 1
"""How long after its last deadline the parent still waits for what it killed."""
STOP_S = STOP_ALLOWANCE_S + KILL_S


def parse(arguments: list[str]) -> dict[str, Any]:
    """Return what a command line means; fails as the command would."""
    context = cli.make_context("llm-gateway", list(arguments))
    name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    return {"command": name, **command.make_context(name, rest, parent=context).params}


def settings_of(path: Path | None, environ: dict[str, str]) -> Settings:
    """Return the settings that a service would begin with."""
    return Sources(path=path, environ=environ).read()


def script(path: str) -> ModuleType:
    """Load a script of `infra` as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def built(overlay: str) -> list[dict[str, Any]]:
    """Return the objects of an overlay, as kustomize makes them."""
    kustomize, kubectl = shutil.which("kustomize"), shutil.which("kubectl")
    if kustomize is None and kubectl is None:
        pytest.skip("neither kustomize nor kubectl is found")
    command = [kustomize, "build"] if kustomize else [str(kubectl), "kustomize"]
    folder = ROOT / "infra/kubernetes/overlays" / overlay
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(made.stdout))
