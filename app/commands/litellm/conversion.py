"""The whole way from a read file to the parts of ours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from app.commands.litellm.accounts import Accounts
from app.commands.litellm.deployments import Deployment, Deployments
from app.commands.litellm.groups import model_of
from app.commands.litellm.house import carry_house
from app.commands.litellm.reading import Section, read
from app.commands.litellm.report import Report
from app.commands.litellm.routing import carry_routing
from app.commands.litellm.wildcards import written_out
from app.commands.litellm.writing import file_text
from providers.catalog import Catalog

_PLACES = ("litellm_settings", "router_settings", "general_settings")
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
    models = _models(named, report)
    places = {name: root.section(name) for name in _PLACES}
    carry_routing(models, router=places["router_settings"], library=places["litellm_settings"])
    file: dict[str, Any] = {"providers": _used(accounts, models), "models": models}
    carry_house(file, accounts=accounts, places=places)
    root.lose_rest(_ROOT_REASONS, "the gateway has nothing like it")
    return Converted(file_text(file, source=path.name, report=report), report)


def _deployments(root: Section, *, accounts: Accounts, catalog: Catalog) -> list[Deployment]:
    credentials = {}
    for _, element in root.items("credential_list"):
        if isinstance(element, dict) and isinstance(element.get("credential_values"), dict):
            credentials[str(element.get("credential_name"))] = element["credential_values"]
    reader = Deployments(accounts, catalog, credentials=credentials)
    found = []
    for where, element in root.items("model_list"):
        if not isinstance(element, dict):
            root.report.lose(where, "is not an object")
            continue
        deployment = reader.read(Section(element, where, root.report))
        if deployment is not None:
            found.append(deployment)
    return found


def _models(deployments: list[Deployment], report: Report) -> dict[str, dict[str, Any]]:
    groups: dict[str, list[Deployment]] = {}
    for deployment in deployments:
        groups.setdefault(deployment.name, []).append(deployment)
    return {name: model_of(group, report) for name, group in groups.items()}


def _used(accounts: Accounts, models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the providers that a model uses; all of them where no model is left."""
    names = {target["provider"] for model in models.values() for target in model["targets"]}
    return {name: given for name, given in accounts.providers.items() if name in names or not models}
