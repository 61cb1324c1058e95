"""Makes the providers: one for each account that deployments share. Law: a secret is named, never copied."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from app.commands.litellm.reading import Section
from app.commands.litellm.references import ENVIRON, References
from app.commands.litellm.report import Report
from app.commands.litellm.vendors import KEY_VARIABLES, Upstream, adapter_of
from providers.catalog import Catalog

_NO_KEYS = frozenset(
    {
        "",
        "anything",
        "dummy",
        "empty",
        "fake",
        "local",
        "na",
        "no-key",
        "none",
        "not-needed",
        "null",
        "ollama",
        "unused",
    }
)
_ENTRA = (
    "azure_ad_token",
    "tenant_id",
    "client_id",
    "client_secret",
    "azure_username",
    "azure_password",
    "azure_scope",
)
_AWS_ROLES = ("aws_profile_name", "aws_role_name", "aws_session_name", "aws_web_identity_token", "aws_sts_endpoint")
_OF_A_RESOURCE = re.compile(r"/(?:openai|models)(?:/|$)")
"""Where the paths of Azure's resources begin; a gateway of one's own before them may have a path, too."""
_ENDPOINTS = ("/chat/completions", "/completions", "/embeddings", "/responses", "/v1/messages")
_AT_A_REGION = frozenset({"bedrock", "vertex"})
_ELSEWHERE = frozenset({"custom_openai", "databricks", "docker_model_runner", "infinity", "lemonade", "litellm_proxy"})
"""Vendors that OpenAI's adapter speaks to, but not at OpenAI's address."""
_KEYLESS = frozenset({"vllm", "sglang", "llamacpp", "lmstudio", "ollama", "tgi", "native"})


class Accounts:
    """The providers so far, by name; equal accounts are one provider."""

    def __init__(self, report: Report, catalog: Catalog, *, environ: Mapping[str, str]) -> None:
        self.providers: dict[str, dict[str, Any]] = {}
        self._report = report
        self._catalog = catalog
        self.references = References(report, environ=environ)

    def name_of(self, upstream: Upstream, params: Section) -> str | None:
        """Return the provider of a deployment, made if it is new; `None` where its address is missing.

        Takes the keys of the account from `params`.
        """
        adapter = adapter_of(upstream.vendor)
        base = self._address(params, adapter)
        if upstream.vendor == "huggingface" and base is not None:
            adapter, base = "openai", base if base.endswith("/v1") else f"{base}/v1"
        usual = self._catalog.vendors[adapter].base_url
        provider: dict[str, Any] = {"adapter": adapter}
        if base is not None and base != usual:
            provider["base_url"] = base
        elif adapter not in _AT_A_REGION and (usual is None or upstream.vendor in _ELSEWHERE):
            return None
        self._sign_in(provider, upstream=upstream, params=params)
        self._headers(provider, params)
        return self._named(provider)

    def _named(self, provider: dict[str, Any]) -> str:
        for name, known in self.providers.items():
            if known == provider:
                return name
        adapter = provider["adapter"]
        same = sum(known["adapter"] == adapter for known in self.providers.values())
        name = adapter if not same else f"{adapter}-{same + 1}"
        self.providers[name] = provider
        return name

    def _address(self, params: Section, adapter: str) -> str | None:
        where = params.at("api_base")
        if adapter == "bedrock":
            written = params.text("aws_bedrock_runtime_endpoint", "api_base", "base_url")
        else:
            written = params.text("api_base", "base_url")
        if written is None:
            return None
        base, _, query = self.references.value_of(written, where, example=f"https://{adapter}.invalid").partition("?")
        asked = dict(parse_qsl(query))
        if adapter == "azure" and "api-version" in asked and not params.has("api_version"):
            params.fill({"api_version": asked.pop("api-version")})
        if asked:
            self._report.lose(where, f"the query of the address ({', '.join(asked)}): an address is without one here")
        return _root(base, adapter)

    def _sign_in(self, provider: dict[str, Any], *, upstream: Upstream, params: Section) -> None:
        adapter = provider["adapter"]
        for key in ("api_version", "organization"):
            written = params.text(key)
            if written is not None:
                provider[key] = self.references.value_of(written, params.at(key), example="2024-10-21")
        if adapter == "bedrock":
            self._sign_in_to_aws(provider, params, region=upstream.region)
        elif adapter == "vertex":
            self._sign_in_to_google(provider, params)
        else:
            self._key(provider, params)
        if adapter == "ollama":
            self._loading(provider, params)
        for key in _ENTRA:
            if params.take(key) is not None:
                self._report.lose(params.at(key), "signing in by Entra ID is not known here; use the resource's key")

    def _key(self, provider: dict[str, Any], params: Section) -> None:
        adapter, has_base = provider["adapter"], "base_url" in provider
        variables = self._catalog.vendors[adapter].keys
        usual = KEY_VARIABLES.get(adapter) or (variables[0] if variables else f"{_words(adapter)}_API_KEY")
        written = params.text("api_key")
        is_own = has_base and adapter != "azure"
        if written is None and is_own and adapter == "openai":
            provider["api_key"] = None
            self._report.change(params.at("api_key"), "is absent, so no key is sent to this address")
        elif adapter in _KEYLESS and written is None:
            provider["api_key"] = None
        elif written is None:
            provider["api_key"] = f"env:{usual}"
        elif (is_own or adapter in _KEYLESS) and written.lower() in _NO_KEYS:
            provider["api_key"] = None
        else:
            variable = f"{_words(provider['base_url'])}_API_KEY" if is_own else usual
            provider["api_key"] = self.references.secret_of(written, params.at("api_key"), variable=variable)

    def _loading(self, provider: dict[str, Any], params: Section) -> None:
        """Take how Ollama loads its models, which is said for the server here."""
        context, kept = params.number("num_ctx"), params.text("keep_alive")
        if context is not None:
            provider["num_ctx"] = int(context)
        if kept is not None:
            provider["keep_alive"] = kept

    def _sign_in_to_aws(self, provider: dict[str, Any], params: Section, *, region: str | None) -> None:
        written = params.text("aws_region_name", "region_name")
        if written is not None:
            region = self.references.value_of(written, params.at("aws_region_name"), example="us-east-1")
        elif region is None and "base_url" not in provider:
            region = self.references.value_of(f"{ENVIRON}AWS_REGION", params.at("aws_region_name"), example="us-east-1")
        if region is not None:
            provider["region"] = region
        for key in _AWS_ROLES:
            if params.take(key) is not None:
                self._report.lose(params.at(key), "roles and profiles are not known here; give keys that sign")
        where = params.at("aws_bearer_token" if params.has("aws_bearer_token") else "api_key")
        token = params.text("aws_bearer_token", "api_key")
        if token is not None:
            provider["api_key"] = self.references.secret_of(token, where, variable="AWS_BEARER_TOKEN_BEDROCK")
            return
        names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY"}
        for field, variable in names.items():
            key = f"aws_{field}"
            secret = params.text(key)
            if secret is None:
                self._report.change(params.at(key), f"is read from {variable}; nothing else is searched for keys")
            provider[field] = self.references.secret_of(secret or ENVIRON + variable, params.at(key), variable=variable)
        session = params.text("aws_session_token")
        if session is not None:
            provider["session_token"] = self.references.secret_of(
                session, params.at("aws_session_token"), variable="AWS_SESSION_TOKEN"
            )

    def _sign_in_to_google(self, provider: dict[str, Any], params: Section) -> None:
        for field in ("project", "location"):
            key = f"vertex_{field}"
            written = params.text(key, f"vertex_ai_{field}")
            if written is not None:
                provider[field] = self.references.value_of(written, params.at(key), example=f"my-{field}")
        api_key = params.text("api_key")
        if api_key is not None:
            provider["api_key"] = self.references.secret_of(api_key, params.at("api_key"), variable="GOOGLE_API_KEY")
            return
        where = params.at("vertex_credentials")
        written = params.text("vertex_credentials", "vertex_ai_credentials")
        if written is not None and written.startswith("/"):
            provider["credentials"] = f"file:{written}"
            return
        if written is None:
            self._report.change(where, "is absent, and nothing is searched for an account: see `credentials`")
        else:
            self._report.change(where, "must hold the key file itself, not its path; for a path write `file:/…`")
        provider["credentials"] = self.references.secret_of(
            written or f"{ENVIRON}VERTEX_CREDENTIALS", where, variable="VERTEX_CREDENTIALS"
        )

    def _headers(self, provider: dict[str, Any], params: Section) -> None:
        for key in ("extra_headers", "headers"):
            headers = params.section(key)
            for name, value in headers.rest():
                if not isinstance(value, str):
                    self._report.lose(headers.at(name), "is not the text of a header")
                    continue
                is_plain = not value.startswith(ENVIRON) and not _is_secret(name)
                variable = f"{_words(name)}_HEADER"
                written = value if is_plain else self.references.secret_of(value, headers.at(name), variable=variable)
                provider.setdefault("headers", {})[name] = written


def _is_secret(header: str) -> bool:
    return any(word in header.lower() for word in ("authorization", "key", "token", "secret", "cookie", "password"))


def _words(text: str) -> str:
    """Return a name for a variable out of an address or a header."""
    return re.sub(r"\W+", "_", (urlsplit(text).hostname or text)).strip("_").upper()


def _root(base: str, adapter: str) -> str:
    """Return where an API begins, as the adapter wants it, for LiteLLM's address of it."""
    base = base.rstrip("/")
    for endpoint in _ENDPOINTS:
        base = base.removesuffix(endpoint)
    if adapter == "azure":
        return _OF_A_RESOURCE.split(base, maxsplit=1)[0]
    if adapter in {"anthropic", "ollama"}:
        return base.removesuffix("/v1")
    if adapter == "gemini" and "/v1" not in base:
        return f"{base}/v1beta"
    return base
