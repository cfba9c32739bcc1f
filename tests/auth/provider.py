"""An identity provider on a port of the loopback: real keys, real HTTP, and whatever faults a test asks for.

Beside what OpenID Connect wants it serves `/token?subject=…&lifetime=…`, so that clients in other processes can fetch
tokens as they would after a login.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests.patience import PATIENCE_SECONDS

AUDIENCE = "app"
SigningKey = RSAKey | ECKey | OKPKey

_RSA_KEYS = [RSAKey.generate_key(2048) for _ in range(3)]  # slow to make, so all providers of a run share them
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "Ed25519"}


def rsa_key(number: int = 0) -> RSAKey:
    """One of a few keys, the same in every call."""
    return _RSA_KEYS[number]


def algorithm_of(key: SigningKey) -> str:
    """The algorithm that a key signs with."""
    return _ALGORITHMS[key.key_type]


def signed(header: dict[str, Any], claims: dict[str, Any] | bytes, key: Any) -> str:
    """A compact JWS with any header and payload."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    registry.max_payload_length = registry.max_header_length = 10**6
    return jws.serialize_compact(header, payload, key, registry=registry)


class IdentityProvider:
    """Use it as a context manager; it serves meanwhile.

    Attributes:
        keys: what it publishes and may sign with, by key id.
        requests: the paths that were asked for, in order.
        status: answered to every request for a document while it is not 200.
        cache_control: header of every document.
    """

    def __init__(self) -> None:
        self.keys: dict[str, SigningKey] = {"first": rsa_key()}
        self.requests: list[str] = []
        self.status = 200
        self.cache_control: str | None = None
        self.content_type = "application/json"
        self.discovery_issuer: str | None = None
        self.is_hanging = False
        self.body: bytes | None = None
        self._may_answer = threading.Event()
        self._was_asked = threading.Condition()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def jwks_url(self) -> str:
        """Where its keys are."""
        return f"{self.issuer}/jwks.json"

    def claims(self, now: float | None = None, **changes: Any) -> dict[str, Any]:
        """Good claims, valid for an hour from `now`; a change to None leaves a claim out."""
        instant = int(time.time() if now is None else now)
        good = {"iss": self.issuer, "aud": AUDIENCE, "sub": "ada", "iat": instant, "exp": instant + 3600}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, key_id: str = "first", now: float | None = None, **changes: Any) -> str:
        """A token that it has signed with one of its keys."""
        key = self.keys[key_id]
        return signed({"alg": algorithm_of(key), "kid": key_id, "typ": "JWT"}, self.claims(now, **changes), key)

    def jwks(self) -> dict[str, Any]:
        """Its published keys."""
        return {"keys": [{**key.as_dict(private=False), "kid": key_id} for key_id, key in self.keys.items()]}

    def rotate(self) -> None:
        """Sign with another key from now on, and publish that alone."""
        self.keys = {"second": rsa_key(1)}

    def fetches(self, path: str = "/jwks.json") -> int:
        """How often a document was asked for."""
        return self.requests.count(path)

    def wait_for_fetches(self, count: int, path: str) -> None:
        """Until a document was asked for so often."""
        with self._was_asked:
            assert self._was_asked.wait_for(lambda: self.fetches(path) >= count, PATIENCE_SECONDS), self.requests

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        url = urlsplit(request.path)
        with self._was_asked:
            self.requests.append(url.path)
            self._was_asked.notify_all()
        if url.path == "/token":
            self._send(request, 200, "text/plain", self._minted(parse_qs(url.query)).encode())
            return
        if self.is_hanging:
            self._may_answer.wait()
        documents = {
            "/.well-known/openid-configuration": {
                "issuer": self.discovery_issuer or self.issuer,
                "jwks_uri": self.jwks_url,
            },
            "/jwks.json": self.jwks(),
        }
        body = json.dumps(documents[url.path]).encode() if self.body is None else self.body
        self._send(request, self.status, self.content_type, body)

    def _minted(self, query: dict[str, list[str]]) -> str:
        now = int(time.time())
        (subject,) = query["subject"]
        lifetime = int(query.get("lifetime", ["3600"])[0])
        # Each token differs from the one before, as fresh tokens do.
        return self.token(next(iter(self.keys)), sub=subject, iat=now, exp=now + lifetime, jti=str(len(self.requests)))

    def _send(self, request: BaseHTTPRequestHandler, status: int, kind: str, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            request.send_header("Location", "http://127.0.0.1:9/secret")
        if self.cache_control is not None:
            request.send_header("Cache-Control", self.cache_control)
        request.end_headers()
        try:
            request.wfile.write(body)
        except OSError:
            return  # who asked did not want it all
