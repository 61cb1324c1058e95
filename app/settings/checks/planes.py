"""Where the planes listen and whom they believe."""

import ipaddress
import re
from urllib.parse import urlsplit

from app.settings.checks.findings import Findings
from app.settings.model import AdminJwt, GatewayJwt
from app.settings.store_url import is_web_url
from app.settings.suggestions import shown

_HOST_PATTERN = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?(:[0-9]{1,5})?$")
_ANY_ADDRESS = frozenset({"0.0.0.0", "::", "[::]", ""})  # noqa: S104 - compared with, not bound to


def check_planes(findings: Findings) -> None:
    """Check addresses, `Host` lists, tokens' issuers, and the gateway's own secrets."""
    settings = findings.settings
    _check_ports(findings)
    for plane, allowed in (("gateway", settings.gateway.allowed_hosts), ("admin", settings.admin.allowed_hosts)):
        _check_allowed_hosts(findings, f"{plane}.allowed_hosts", allowed)
    if not is_web_url(settings.admin.gateway_url):
        findings.error("admin.gateway_url", "must be a URL", suggestion="such as http://127.0.0.1:3020")
    _check_jwt(findings, "gateway.jwt", settings.gateway.jwt)
    _check_jwt(findings, "admin.jwt", settings.admin.jwt)


def _check_ports(findings: Findings) -> None:
    gateway, admin = findings.settings.gateway, findings.settings.admin
    hosts = {gateway.host, admin.host}
    if gateway.port != admin.port or (len(hosts) > 1 and not hosts & _ANY_ADDRESS):
        return
    path = "admin.port" if findings.is_set("admin.port") else "gateway.port"
    findings.error(path, f"both planes would listen on port {admin.port}", suggestion="give each plane its own port")


def _check_allowed_hosts(findings: Findings, path: str, allowed: tuple[str, ...]) -> None:
    if not allowed:
        findings.error(path, "is empty, so that nobody would be answered", suggestion='write ["*"] for any host')
    if "*" in allowed and len(allowed) > 1:
        findings.warn(path, 'holds "*", so the other entries have no effect', suggestion='remove "*"')
    for index, host in enumerate(allowed):
        if host != "*" and not _HOST_PATTERN.match(host) and not _is_address(host):
            findings.error(
                f"{path}[{index}]",
                f"{shown(host)} is not a host name",
                suggestion="write names without scheme and path, such as llm.example.com or *.example.com",
            )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _check_jwt(findings: Findings, path: str, jwt: GatewayJwt | AdminJwt | None) -> None:
    if jwt is None:
        return
    for field, url in (("issuer", jwt.issuer), ("jwks_url", jwt.jwks_url)):
        if url is None or (field == "issuer" and jwt.jwks_url is not None):
            continue
        if not is_web_url(url):
            findings.error(f"{path}.{field}", "must be a URL", suggestion="such as https://login.example.com")
        elif url.lower().startswith("http://") and not _is_loopback(url):
            findings.error(
                f"{path}.{field}",
                "must be https: whoever changes the keys on their way could sign in as anybody",
                suggestion=f"write https://{url[7:]}",
            )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
