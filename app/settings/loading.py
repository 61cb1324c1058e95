"""The door: a file and the environment come in, the tree or every fault comes out."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from app.settings.adapters import AdapterOptions, CatalogRow, ProviderReader, discover_providers
from app.settings.checks import Findings, check_all
from app.settings.checks.findings import IsPriced
from app.settings.document import MAX_BYTES, Node, Unreadable, is_clean, parse
from app.settings.effective import leaf_paths
from app.settings.environment import (
    ADAPTER_TOKEN,
    ADMIN_KEY,
    FILE_SUFFIX,
    MASTER_SECRET,
    OLD_MASTER_SECRET,
    OWN_SECRETS,
    PREFIX,
    lay_text,
    overlay,
)
from app.settings.faults import Fault, SettingsError
from app.settings.model import ProviderSettings, Settings
from app.settings.reading import Reader, struct_info
from app.settings.references import BadReference, referenced_variable, resolve
from app.settings.scalars import leaves
from providers.types import Secret

MIN_MASTER_SECRET_BYTES = 32
MIN_ADMIN_KEY_CHARACTERS = 32

KnownModels = Callable[[Settings], Collection[str] | None]
"""Returns the names that are served without `models`, or `None` where a provider tells them only when it is asked."""

_DOCUMENT = Path("document")
"""What origins call a document that is no file."""
_NOTHING = Node(None, origin="default")
_NAMED_SECTIONS = ("providers", "models", "ensembles")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "[::]": "[::1]"}  # noqa: S104 - read, not bound to


def load(
    source: Path | bytes | None,
    *,
    environ: Mapping[str, str],
    adapter_options: AdapterOptions,
    adapters: Collection[str] = (),
    catalog_rows: Sequence[CatalogRow] = (),
    known_models: KnownModels = lambda _: None,
    is_priced: IsPriced | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of a file, or of a document itself (none: the defaults), under those of the environment.

    `adapter_options` gives an adapter's options struct by name, `None` for an unknown one; `adapters` are the names to
    suggest. `catalog_rows` are the vendors to look for in the environment where neither file nor environment has
    `providers`. `known_models` tells the names that providers of a file serve without `models`. `overrides` are
    texts by dotted path that win over all, for the command line.

    Raises `SettingsError` with every fault, in the order of the file, if one of them is an error.
    """
    root, faults = _document(source)
    info = struct_info(Settings)
    faults += overlay(root, info, environ=environ, used=_referenced(root, environ))
    for where, text in (overrides or {}).items():
        lay_text(root, info, path=where, text=text, origin="command line")
    reader = Reader(environ=environ)
    reader.special[ProviderSettings] = ProviderReader(reader, adapter_options=adapter_options, adapters=adapters).read
    settings: Settings = reader.read(info, root, "")
    settings = _with_environment_secrets(settings, reader, environ=environ)
    settings = _with_gateway_url(settings, reader)
    is_discovered = root.value.get("providers", _NOTHING).value is None
    if is_discovered:
        found = discover_providers(environ, catalog_rows, adapter_options=adapter_options)
        settings = _with_discovered(settings, reader, found=found)
    names = {section: _names(root, section) or [*getattr(settings, section)] for section in _NAMED_SECTIONS}
    findings = Findings(
        settings,
        marks=reader.marks,
        names=names,
        # An Ollama next door may still be added to what was discovered.
        known_models=None if is_discovered or names["models"] else known_models(settings),
        is_priced=is_priced,
        key_variables={name: variables for name, _, variables in catalog_rows},
    )
    check_all(findings)
    return _finished(settings, reader, faults=_in_order([*faults, *reader.faults, *findings.faults]))


def _finished(settings: Settings, reader: Reader, *, faults: list[Fault]) -> Settings:
    if any(fault.severity == "error" for fault in faults):
        raise SettingsError(faults)
    origins = {path: reader.marks[path].origin if path in reader.marks else "default" for path in leaf_paths(settings)}
    return msgspec.structs.replace(settings, origins=origins, warnings=tuple(faults))


def _in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Return each fault once, by line; those without a line come last."""
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: (fault.line is None, fault.line or 0))


def _document(source: Path | bytes | None) -> tuple[Node, list[Fault]]:
    if source is None:
        return Node({}, origin="default"), []
    path, content = (_DOCUMENT, source) if isinstance(source, bytes) else (source, _content(source))
    try:
        root, faults = parse(_text(path, content), name=path.name)
    except Unreadable as error:
        raise SettingsError([error.fault]) from None
    return root.copy(), faults


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or 'it is not a file'}") from None


def _text(path: Path, content: bytes) -> str:
    """Return the file's text; raise `SettingsError` if it is too large or not UTF-8."""
    if len(content) > MAX_BYTES:
        raise _unreadable(path, "is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _unreadable(path, "is not UTF-8 text") from None


def _unreadable(path: Path, problem: str) -> SettingsError:
    return SettingsError([Fault(path="", message=f"the file {path} {problem}", origin=path.name)])


def _referenced(root: Node, environ: Mapping[str, str]) -> frozenset[str]:
    """Return the variables that secrets refer to, which are no misspelt settings though they begin as those do."""
    texts = [leaf for leaf in leaves(root) if isinstance(leaf, str)]
    texts += [value for name, value in environ.items() if name.upper().startswith(PREFIX)]
    return frozenset(name for name in map(referenced_variable, texts) if name)


def _names(root: Node, section: str) -> list[str]:
    node = root.value.get(section)
    return [*node.value] if node is not None and isinstance(node.value, dict) else []


def _with_environment_secrets(settings: Settings, reader: Reader, *, environ: Mapping[str, str]) -> Settings:
    """Add the gateway's own secrets, which are variables only; an empty one counts as unset."""
    secrets = {name: _own_secret(name, reader, environ=environ) for name in OWN_SECRETS}
    master, old, admin, token = (secrets[name] for name in (MASTER_SECRET, OLD_MASTER_SECRET, ADMIN_KEY, ADAPTER_TOKEN))
    if master is not None and len(master.encode("utf-8", "replace")) < MIN_MASTER_SECRET_BYTES:
        reader.fault(
            MASTER_SECRET,
            f"must have {MIN_MASTER_SECRET_BYTES} bytes or more",
            suggestion="make one with `openssl rand -base64 48`",
        )
    if admin is not None and len(admin) < MIN_ADMIN_KEY_CHARACTERS:
        reader.fault(
            ADMIN_KEY,
            f"must have {MIN_ADMIN_KEY_CHARACTERS} characters or more",
            suggestion="make one with `openssl rand -base64 48`",
        )
    return msgspec.structs.replace(
        settings,
        master_secret=None if master is None else Secret(master),
        old_master_secret=None if old is None else Secret(old),
        admin_key=None if admin is None else Secret(admin),
        adapter_token=None if token is None else Secret(token),
    )


def _own_secret(name: str, reader: Reader, *, environ: Mapping[str, str]) -> str | None:
    """Return the secret of a variable, or of the file that the variable with `_FILE` at its end names."""
    value, in_file = environ.get(name) or None, f"{name}{FILE_SUFFIX}"
    path = environ.get(in_file)
    if path and value is not None:
        reader.fault(in_file, f"is set, and {name} is too", suggestion="keep one")
    elif path:
        try:
            return resolve(f"file:{path}", environ=environ)
        except BadReference as error:
            reader.fault(in_file, error.message, suggestion=error.suggestion)
    elif value is not None and not is_clean(value):
        reader.fault(name, "is not UTF-8 text")
    return value


def _with_gateway_url(settings: Settings, reader: Reader) -> Settings:
    """Let the admin plane find a gateway that was moved: an absent `gateway_url` follows `gateway.host` and `port`."""
    if "admin.gateway_url" in reader.marks:
        return settings
    host, port = settings.gateway.host, settings.gateway.port
    host = _WILDCARDS.get(host, f"[{host}]" if ":" in host and not host.startswith("[") else host)
    admin = msgspec.structs.replace(settings.admin, gateway_url=f"http://{host}:{port}")
    return msgspec.structs.replace(settings, admin=admin)


def _with_discovered(
    settings: Settings, reader: Reader, *, found: Mapping[str, tuple[ProviderSettings, str]]
) -> Settings:
    for name, (provider, origin) in found.items():
        if provider.api_key is not None:
            reader.marks[f"providers.{name}.api_key"] = Node(None, origin=origin)
    return msgspec.structs.replace(settings, providers={name: provider for name, (provider, _) in found.items()})
