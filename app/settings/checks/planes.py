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
    _check_audiences(findings)
    _check_browser_sign_in(findings)


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


def _check_audiences(findings: Findings) -> None:
    """Check that a token for inference is none for administration."""
    gateway, admin = findings.settings.gateway.jwt, findings.settings.admin.jwt
    if gateway is None or admin is None or gateway.issuer != admin.issuer:
        return
    for field in ("audience", "client_id"):
        if getattr(admin, field) == gateway.audience:
            findings.error(
                f"admin.jwt.{field}",
                "is also gateway.jwt.audience: tokens of the inference API would be let in here",
                suggestion="have the issuer name another audience for administration",
            )


def _check_browser_sign_in(findings: Findings) -> None:
    """Check what signing in by browser needs: an address that the issuer can send people back to."""
    url, jwt = findings.settings.admin.url, findings.settings.admin.jwt
    if url is not None and not _is_origin(url):
        findings.error("admin.url", "must be an origin", suggestion="such as https://llm-admin.example.com")
    elif url is not None and url.lower().startswith("http://") and not _is_loopback(url):
        findings.error(
            "admin.url", "must be https: sessions could be taken on their way", suggestion=f"write https://{url[7:]}"
        )
    if jwt is None or jwt.client_id is None:
        return
    if url is None:
        findings.error("admin.url", "is required for `admin.jwt.client_id`", suggestion="write this plane's origin")
    if "openid" not in jwt.scopes:
        findings.error("admin.jwt.scopes", "must hold openid", suggestion='write ["openid", …]')


def _is_origin(url: str) -> bool:
    parts = urlsplit(url) if is_web_url(url) else None
    return parts is not None and "@" not in parts.netloc and not (parts.path or parts.query or parts.fragment)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
