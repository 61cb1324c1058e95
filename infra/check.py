"""Checks every file of `infra`, the container's and the workflows', without a network: `python infra/check.py`.

    Kubernetes    both overlays are built, and every object is held to its schema, unknown fields included
    compose.yaml, workflows, settings    their schemas; workflows also for what an attacker would use (zizmor)
    Containerfile                        hadolint
    Prometheus, Grafana                  promtool: configuration, rules and the rules' tests; dashboards are JSON

Law: what could not be checked for want of a tool is said plainly, and is never counted as checked.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_PATIENCE_S = 60


@dataclass(frozen=True)
class Outcome:
    """What became of one check: `ok`, `failed`, or `not checked` with the reason."""

    verdict: str
    what: str
    said: str = ""


Check = Callable[[], Iterable[Outcome]]


# --- Tools


def tool(name: str) -> str | None:
    """Return the path of a program: beside this interpreter, else on PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a program at the root of the repository, and return how it went."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)


def by(name: str, *arguments: str, what: str) -> Outcome:
    """Return the outcome of one program, whose exit code is its verdict."""
    program = tool(name)
    if program is None:
        return Outcome("not checked", what, f"{name} is not found")
    done = run([program, *arguments])
    return Outcome("ok", what) if done.returncode == 0 else Outcome("failed", what, f"{done.stdout}{done.stderr}")


def names(paths: Iterable[Path]) -> list[str]:
    """Return paths as they are written from the root of the repository."""
    return sorted(str(path.relative_to(ROOT)) for path in paths)


# --- Kubernetes


def kubernetes() -> Iterator[Outcome]:
    """Build each overlay and hold its objects to their schemas."""
    builder = tool("kustomize"), tool("kubectl")
    overlays = sorted((ROOT / "infra/kubernetes/overlays").iterdir())
    if not any(builder):
        yield Outcome("not checked", "Kubernetes: overlays", "neither kustomize nor kubectl is found")
        return
    with tempfile.TemporaryDirectory() as folder:
        for overlay in overlays:
            yield from _overlay(overlay, builder=builder, into=Path(folder))


def _overlay(overlay: Path, *, builder: tuple[str | None, str | None], into: Path) -> Iterator[Outcome]:
    kustomize, kubectl = builder
    command = [kustomize, "build"] if kustomize else [str(kubectl), "kustomize"]
    built = run([*command, str(overlay)])
    what = f"Kubernetes: {overlay.name}"
    if built.returncode != 0:
        yield Outcome("failed", what, built.stderr)
        return
    file = into / f"{overlay.name}.yaml"
    file.write_text(built.stdout, encoding="utf-8")
    validator = tool("kubernetes-validate")
    if validator is None:
        yield Outcome("not checked", f"{what}: schemas", "kubernetes-validate is not found")
        return
    held = run([validator, "--strict", str(file)])
    lines = f"{held.stdout}{held.stderr}".splitlines()
    passed = sum(" passed for resource " in line for line in lines)
    unknown = [line for line in lines if "find schema for kind" in line]
    faults = [line for line in lines if " passed for resource " not in line and line not in unknown]
    objects = built.stdout.count("\nkind: ")
    if held.returncode or faults or passed + len(unknown) != objects:
        yield Outcome(
            "failed", f"{what}: {objects} objects", "\n".join(faults) or "not every object was held to a schema"
        )
    else:
        yield Outcome("ok", f"{what}: {passed} objects")
    for line in unknown:
        yield Outcome(
            "not checked", what, f"no schema of {line.partition('for kind ')[2].partition(' for kubernetes')[0]}"
        )


# --- The others


def compose() -> Iterator[Outcome]:
    """Hold `compose.yaml` to the Compose specification."""
    yield by("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml", what="compose.yaml: schema")
    docker = tool("docker")
    if docker is None or run([docker, "compose", "version"]).returncode != 0:
        yield Outcome("not checked", "compose.yaml: as Docker reads it", "`docker compose` is not found")
        return
    yield by(
        "docker", "compose", "--file", "compose.yaml", "config", "--quiet", what="compose.yaml: as Docker reads it"
    )


def workflows() -> Iterator[Outcome]:
    """Hold workflows to their schema, and look for what could be misused."""
    files = names((ROOT / ".github/workflows").iterdir())
    schema = "vendor.github-workflows"
    yield by("check-jsonschema", "--builtin-schema", schema, *files, what=f"workflows: schema of {len(files)}")
    yield by("zizmor", "--offline", "--quiet", "--persona", "pedantic", *files, what="workflows: security")


def container() -> Iterator[Outcome]:
    """Lint the Containerfile."""
    yield by("hadolint", "Containerfile", what="Containerfile")


def settings() -> Iterator[Outcome]:
    """Hold every file of settings to the schema for editors."""
    files = names(
        [
            *(ROOT / "infra/config").glob("*.yaml"),
            *(ROOT / "infra/kubernetes").rglob("settings.yaml"),
            ROOT / "infra/compose/gateway.yaml",
        ]
    )
    schema = "infra/config/gateway.schema.json"
    yield by("check-jsonschema", "--schemafile", schema, *files, what=f"settings: {len(files)} files")


def prometheus() -> Iterator[Outcome]:
    """Check configurations, rules, and the tests of the rules."""
    monitoring = ROOT / "infra/monitoring"
    rules, tests = names(monitoring.glob("rules/*.yml")), names(monitoring.glob("tests/*.yml"))
    own = names(monitoring.glob("prometheus.yml"))
    compose_file = "infra/compose/prometheus.yml"
    for file in [*own, compose_file]:
        # Compose mounts the rules elsewhere: there only the file itself is looked at.
        how = ["--syntax-only"] if file == compose_file else []
        yield by("promtool", "check", "config", *how, file, what=f"Prometheus: {file}")
    if rules:
        yield by("promtool", "check", "rules", *rules, what=f"Prometheus: {len(rules)} files of rules")
    if tests:
        yield by("promtool", "test", "rules", *tests, what=f"Prometheus: {len(tests)} files of tests of rules")


def grafana() -> Iterator[Outcome]:
    """See that dashboards are JSON with panels; what they ask is held to our metrics by the tests."""
    for path in sorted((ROOT / "infra/monitoring/grafana").rglob("*.json")):
        what = f"Grafana: {path.name}"
        try:
            has_panels = bool(json.loads(path.read_text(encoding="utf-8")).get("panels"))
        except ValueError as error:
            yield Outcome("failed", what, str(error))
            continue
        yield Outcome("ok", what) if has_panels else Outcome("failed", what, "it has no panels")


CHECKS: tuple[Check, ...] = (kubernetes, compose, workflows, container, settings, prometheus, grafana)


def outcomes() -> list[Outcome]:
    """Return the outcomes of all checks, in their order."""
    with ThreadPoolExecutor(max_workers=len(CHECKS)) as pool:
        return [outcome for found in pool.map(lambda check: list(check()), CHECKS) for outcome in found]


def main() -> int:
    """Print what was found; return the exit code."""
    found = outcomes()
    for outcome in found:
        print(f"{outcome.verdict:11}  {outcome.what}{': ' if outcome.said else ''}{outcome.said.strip()}")
    failed = sum(outcome.verdict == "failed" for outcome in found)
    unchecked = sum(outcome.verdict == "not checked" for outcome in found)
    print(f"{len(found) - failed - unchecked} ok, {failed} failed, {unchecked} not checked")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
