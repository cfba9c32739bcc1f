"""The public keys of a provider (a JWK set), and whether one of them made a token's signature.

A key is used for the one algorithm that its type has here, whatever a token says: a token cannot choose how it is
judged. Keys that cannot be used are left out, as the standard wants it.

Source: RFC 7517 section 5, RFC 8725 section 3.1.
"""

from __future__ import annotations

import binascii
from typing import Any, NamedTuple

from joserfc import jwk, jws
from joserfc.errors import JoseError

from convexpy.auth.tokens import UnverifiedToken, decode_base64url
from convexpy.errors import Unauthenticated
from convexpy.limits import AUTH_KEYS_MAX, AUTH_RSA_BITS_MAX, AUTH_RSA_BITS_MIN, AUTH_TOKEN_CHARS_MAX

_PUBLIC_MEMBERS = ("kty", "n", "e", "crv", "x", "y")


class PublicKey(NamedTuple):
    """A key that may verify tokens of these algorithms."""

    key_id: str | None
    algorithms: frozenset[str]
    key: jwk.Key


class _PinnedRegistry(jws.JWSRegistry):
    """Knows one algorithm. "EdDSA" of JWTs is Ed25519 here, which is the one that providers use."""

    max_header_length = max_payload_length = AUTH_TOKEN_CHARS_MAX
    max_signature_length = AUTH_RSA_BITS_MAX // 6 + 4

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)

    def get_alg(self, name: str) -> Any:
        return super().get_alg(name) if name != "EdDSA" else self.algorithms["Ed25519"]


def read_keys(document: Any) -> list[PublicKey]:
    """The usable keys of a JWK set.

    Raises:
        ValueError: it is no JWK set.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it is not {"keys": […]}')
    found = (_read_key(entry) for entry in entries[:AUTH_KEYS_MAX])
    return [key for key in found if key is not None]


def _read_key(entry: Any) -> PublicKey | None:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    operations = entry.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    match entry:
        case {"kty": "RSA", "n": str(modulus)} if _is_good_modulus(modulus):
            algorithms = {"RS256"}
        case {"kty": "EC", "crv": "P-256"}:
            algorithms = {"ES256"}
        case {"kty": "OKP", "crv": "Ed25519"}:
            algorithms = {"EdDSA", "Ed25519"}
        case _:
            return None
    if entry.get("alg") is not None:
        algorithms &= {entry["alg"]} if isinstance(entry["alg"], str) else set()
    try:
        key = jwk.import_key({name: entry[name] for name in _PUBLIC_MEMBERS if name in entry})
    except (JoseError, ValueError, TypeError, KeyError, ArithmeticError):
        return None
    key_id = entry.get("kid")
    return PublicKey(key_id if isinstance(key_id, str) else None, frozenset(algorithms), key) if algorithms else None


def _is_good_modulus(text: str) -> bool:
    if len(text) > AUTH_RSA_BITS_MAX // 6 + 4:
        return False
    try:
        bits = int.from_bytes(decode_base64url(text.rstrip("="), "modulus")).bit_length()
    except (Unauthenticated, binascii.Error):
        return False
    return AUTH_RSA_BITS_MIN <= bits <= AUTH_RSA_BITS_MAX


def matching(keys: list[PublicKey], key_id: str | None, algorithm: str) -> list[PublicKey]:
    """The keys that may have signed a token with this header. Without a key id there must be no choice."""
    able = [key for key in keys if algorithm in key.algorithms]
    if key_id is None:
        return able if len(able) == 1 else []
    return [key for key in able if key.key_id == key_id]


def is_signed_by(token: UnverifiedToken, key: PublicKey) -> bool:
    """Whether `key` made the token's signature."""
    registry = _PinnedRegistry(token.algorithm)
    try:
        compact = jws.extract_compact(token.text.encode("ascii"), registry=registry)
        return jws.validate_compact(compact, key.key, registry=registry)
    except (JoseError, ValueError, TypeError):
        return False
