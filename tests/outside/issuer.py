"""An issuer of JSON Web Tokens on a socket, with its keys and a count of who fetched them."""

import base64
import contextlib
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

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

    def document(self, path: str) -> dict[str, Any] | None:
        """Return what is served under a path."""
        self.fetched.append(path)
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.origin, "jwks_uri": f"{self.origin}/keys"}
        public = {**self.key.as_dict(private=False), "kid": KID, "alg": "RS256", "use": "sig"}
        return {"keys": [public]} if path == "/keys" else None

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
            document = issuer.document(self.path)
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
