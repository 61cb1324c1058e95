"""The whole way from a read file to the parts of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.commands.litellm.accounts import Accounts
from app.commands.litellm.deployments import Deployment, Deployments
from app.commands.litellm.house import carry_house
from app.commands.litellm.orders import chain_of
from app.commands.litellm.reading import Section, read
from app.commands.litellm.report import Report
from app.commands.litellm.routing import carry_routing
from app.commands.litellm.wildcards import written_out
from app.commands.litellm.writing import file_text
from providers.catalog import Catalog

_PLACES = ("litellm_settings", "router_settings", "general_settings")
CREDENTIAL_UNNEEDED = ("credential_info",)
"""What only people read."""
_ROOT_REASONS = {
    "environment_variables": "set these variables where the gateway starts; a file holds no secrets",
    "guardrails": "there are no guardrails; a plug-in of `llm_gateway.layers` may be one",
    "mcp_servers": "tools pass through to the models; the gateway runs none",
    "vector_store_registry": "the gateway searches no documents",
    "finetune_settings": "only the paths of the inference API are served",
    "files_settings": "only the paths of the inference API are served",
}


class Converted(NamedTuple):
    """The text of our file, and what became of the rest."""

    text: str
    report: Report


def convert(path: Path, *, catalog: Catalog, environ: Mapping[str, str]) -> Converted:
    """Return our file for that of a LiteLLM proxy; raises `CommandFailed` if it cannot be read."""
    report = Report()
    root = read(path, report)
    accounts = Accounts(report, catalog, environ=environ)
    deployments = _deployments(root, accounts=accounts, catalog=catalog)
    named = written_out(deployments, providers=accounts.providers, catalog=catalog, report=report)
    models, later = _models(named, report)
    places = {name: root.section(name) for name in _PLACES}
    carry_routing(models, later=later, router=places["router_settings"], library=places["litellm_settings"])
    file: dict[str, Any] = {"providers": _used(accounts, models), "models": models}
    carry_house(file, accounts=accounts, places=places)
    root.lose_rest(_ROOT_REASONS, "the gateway has nothing like it")
    return Converted(file_text(file, source=path.name, report=report), report)


def _deployments(root: Section, *, accounts: Accounts, catalog: Catalog) -> list[Deployment]:
    credentials = _credentials(root)
    values = {name: given for name, (_, given) in credentials.items()}
    reader = Deployments(accounts, catalog, credentials=values)
    found = []
    for where, element in root.items("model_list"):
        if not isinstance(element, dict):
            root.report.lose(where, "is not an object")
            continue
        deployment = reader.read(Section(element, where, root.report))
        if deployment is not None:
            found.append(deployment)
    for name, (where, _) in credentials.items():
        if name not in reader.used:
            root.report.lose(f"{where} ({name})", "no model of the file uses it")
    return found


def _credentials(root: Section) -> dict[str, tuple[str, dict[Any, Any]]]:
    """Return the path and the values of each named credential."""
    found: dict[str, tuple[str, dict[Any, Any]]] = {}
    for where, element in root.items("credential_list"):
        credential = Section(element if isinstance(element, dict) else {}, where, root.report)
        name, values = credential.text("credential_name"), credential.take("credential_values")
        if name is None or not isinstance(values, dict):
            root.report.lose(where, "has no `credential_name` or no `credential_values`")
            continue
        found[name] = where, values
        credential.ignore(*CREDENTIAL_UNNEEDED)
        credential.lose_rest({}, "a provider is an account, and no more")
    return found


def _models(
    deployments: list[Deployment], report: Report
) -> tuple[dict[str, dict[str, Any]], dict[str, tuple[str, ...]]]:
    """Return the models, and for each name those of its later orders."""
    groups: dict[str, list[Deployment]] = {}
    for deployment in deployments:
        groups.setdefault(deployment.name, []).append(deployment)
    models: dict[str, dict[str, Any]] = {}
    later: dict[str, tuple[str, ...]] = {}
    for name, group in groups.items():
        chain = chain_of(group, report, taken=groups.keys() | models.keys())
        models |= chain.models
        later[name] = chain.later
    return models, later


def _used(accounts: Accounts, models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the providers that a model uses; all of them where no model is left."""
    names = {target["provider"] for model in models.values() for target in model["targets"]}
    return {name: given for name, given in accounts.providers.items() if name in names or not models}
