"""Providers: addresses, credentials, headers."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from app.settings.checks.findings import Findings
from app.settings.document import below
from app.settings.model import ProviderSettings
from app.settings.store_url import is_web_url
from app.settings.suggestions import shown
from providers.types import Secret

MAX_NAME = 64

_NAME = re.compile(r"[^\s/\x00-\x1f\x7f]+$")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+$")
_TRANSPORT_HEADERS = frozenset(
    {"host", "content-length", "content-type", "connection", "transfer-encoding", "accept-encoding", "te", "upgrade"}
)
_CREDENTIAL_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/messages", "/responses")


def check_providers(findings: Findings) -> None:
    """Check each provider, and that something uses it."""
    settings = findings.settings
    used = {target.provider for model in settings.models.values() for target in model.targets}
    for name, provider in settings.providers.items():
        path = below("providers", name)
        _check_name(findings, path, name)
        _check_base_url(findings, below(path, "base_url"), provider.base_url)
        _check_credentials(findings, path, provider)
        check_headers(findings, below(path, "headers"), provider.headers)
        if provider.ca_file is not None and not Path(provider.ca_file).is_file():
            findings.error(below(path, "ca_file"), "names no file")
        if settings.models and name not in used and findings.is_set(path):
            findings.warn(path, "is used by no model", suggestion="name it in the targets of a model, or remove it")


def _check_name(findings: Findings, path: str, name: str) -> None:
    if not _NAME.match(name) or len(name) > MAX_NAME:
        findings.error(
            path, f"a provider's name has 1 to {MAX_NAME} characters, without spaces and slashes", suggestion=None
        )


def _check_base_url(findings: Findings, path: str, url: str | None) -> None:
    if url is None:
        return
    if not is_web_url(url):
        findings.error(path, "must be a URL without credentials", suggestion="such as https://api.example.com/v1")
        return
    if "?" in url or "#" in url:
        findings.error(path, "must not have a query or fragment")
    for endpoint in _ENDPOINTS:
        if url.endswith(endpoint):
            findings.error(
                path, "is where one operation lives, not where the API begins", suggestion=f"drop {endpoint}"
            )
            return


def _check_credentials(findings: Findings, path: str, provider: ProviderSettings) -> None:
    if provider.api_key is not None and provider.api_keys:
        findings.error(below(path, "api_keys"), "is given beside `api_key`", suggestion="keep one of the two")
    _check_has_credential(findings, path, provider)
    if len(set(provider.api_keys)) < len(provider.api_keys):
        findings.warn(below(path, "api_keys"), "holds the same credential twice, which adds nothing")
    if provider.api_key is not None:
        _check_header_text(findings, below(path, "api_key"), provider.api_key)
    for index, key in enumerate(provider.api_keys):
        _check_header_text(findings, f"{below(path, 'api_keys')}[{index}]", key)


def _check_has_credential(findings: Findings, path: str, provider: ProviderSettings) -> None:
    """Warn of a forgotten credential; `api_key: null` says that none is meant, another address may need none."""
    variables = findings.key_variables.get(provider.adapter)
    has_another = provider.base_url is not None or findings.is_set(below(path, "api_key")) or _has_secret(provider)
    if variables and not provider.credentials and not has_another:
        findings.warn(path, "has no credential", suggestion=f'write `api_key: "env:{variables[0]}"`')


def _has_secret(provider: ProviderSettings) -> bool:
    """Whether the adapter's own options hold a credential, such as a key that signs."""
    options = provider.options
    fields = msgspec.structs.asdict(options).values() if isinstance(options, msgspec.Struct) else ()
    return any(isinstance(value, Secret) for value in fields)


def _check_header_text(findings: Findings, path: str, value: Secret) -> None:
    text = value.reveal()
    if not text.isascii() or not text.isprintable():
        findings.error(path, "holds a character that cannot go into a header, such as a line break")


def check_headers(findings: Findings, path: str, headers: Mapping[str, Secret]) -> None:
    """Check headers that the operator adds to calls."""
    for name, value in headers.items():
        where = below(path, name)
        if not _TOKEN.match(name):
            findings.error(where, f"{shown(name)} is not the name of a header")
        if name.lower() in _TRANSPORT_HEADERS:
            findings.error(where, "is a header that the gateway writes itself")
        is_reference = findings.is_text(where, "env:") or findings.is_text(where, "file:") or findings.takes_secrets
        if name.lower() in _CREDENTIAL_HEADERS and not is_reference:
            findings.error(
                where, "a secret is not written here, but where it is", suggestion='write "env:NAME" or "file:/path"'
            )
        _check_header_text(findings, where, value)
