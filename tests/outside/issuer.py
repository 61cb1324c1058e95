"""An issuer of JSON Web Tokens on a socket, with its keys and a count of who fetched them.

It also signs people in: its page asks nothing and sends the browser back as the person of `signs_in`.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from joserfc import jws
from joserfc.jwk import RSAKey

AUDIENCE = "llm-gateway"
KEY_CLAIM = "gateway_key"
KID = "the-key"


class Issuer:
    """Signs tokens, and serves its discovery document and keys; `fetched` are the paths that were asked for."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.key = RSAKey.generate_key(2048)
        self.stranger = RSAKey.generate_key(2048)
        self.fetched: list[str] = []
        self.signs_in: dict[str, Any] = {"sub": "ada"}
        self.client_secret = ""
        self._codes: dict[str, dict[str, str]] = {}

    def document(self, path: str) -> dict[str, Any] | None:
        """Return what is served under a path."""
        self.fetched.append(path)
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.origin,
                "jwks_uri": f"{self.origin}/keys",
                "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/token",
            }
        public = {**self.key.as_dict(private=False), "kid": KID, "alg": "RS256", "use": "sig"}
        return {"keys": [public]} if path == "/keys" else None

    def authorize(self, query: str) -> str:
        """Return where the browser is sent once the person has signed in."""
        asked = dict(parse_qsl(query))
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'session_state': 'x'})}"

    def redeem(self, form: str, authorization: str) -> dict[str, Any] | None:
        """Return the tokens of a code, once, to the client that can prove what it is."""
        said = dict(parse_qsl(form))
        asked = self._codes.pop(said.get("code", ""), None)
        if asked is None or said["redirect_uri"] != asked["redirect_uri"]:
            return None
        pair = base64.b64encode(f"{asked['client_id']}:{self.client_secret}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(said["code_verifier"].encode()).digest())
        if authorization != f"Basic {pair}" or challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return None
        now_s = int(time.time())
        claims = {"iss": self.origin, "aud": asked["client_id"], "exp": now_s + 60, "nonce": asked["nonce"]}
        return {"id_token": self.token(claims | {"auth_time": now_s} | self.signs_in), "token_type": "Bearer"}

    def claims(self, public_id: str, **changed: Any) -> dict[str, Any]:
        """Return good claims with changes; `...` leaves one out."""
        now_s = int(time.time())
        good = {"iss": self.origin, "aud": AUDIENCE, "exp": now_s + 600, "nbf": now_s - 5, KEY_CLAIM: public_id}
        return {name: value for name, value in {**good, **changed}.items() if value is not ...}

    def token(self, claims: dict[str, Any], *, header: dict[str, Any] | None = None, key: RSAKey | None = None) -> str:
        """Return a token signed with our key, or with `key`."""
        head = {"alg": "RS256", "kid": KID, **(header or {})}
        registry = jws.JWSRegistry(algorithms=["RS256"], strict_check_header=False)
        return jws.serialize_compact(head, json.dumps(claims), key or self.key, registry=registry)

    def unsigned(self, claims: dict[str, Any]) -> str:
        """Return a token of the algorithm `none`."""
        return ".".join([_b64(json.dumps({"alg": "none", "kid": KID})), _b64(json.dumps(claims)), ""])

    def confused(self, claims: dict[str, Any]) -> str:
        """Return a token whose HMAC key is our public key: for verifiers that let the token choose."""
        signed = ".".join([_b64(json.dumps({"alg": "HS256", "kid": KID})), _b64(json.dumps(claims))])
        digest = hmac.new(self.key.as_pem(private=False), signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def _b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


@contextlib.contextmanager
def issuer_in_thread() -> Iterator[Issuer]:
    """Run an issuer on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(302)
                self.send_header("location", issuer.authorize(parts.query))
                self.send_header("content-length", "0")
                self.end_headers()
                return
            self.answer(issuer.document(self.path))

        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["content-length"])).decode()
            self.answer(issuer.redeem(form, self.headers.get("authorization", "")))

        def answer(self, document: dict[str, Any] | None) -> None:
            body = json.dumps(document or {}).encode()
            self.send_response(200 if document is not None else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="issuer", daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
