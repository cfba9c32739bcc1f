"""What functions see of a token's claims (wire-protocol 9.3)."""

from __future__ import annotations

from typing import Any

import pytest

from convexpy.auth.claims import custom_identity, oidc_identity
from convexpy.functions.identity import STANDARD_ATTRIBUTES, UserIdentity

WHO = {"iss": "https://id.test", "sub": "7"}
SELF = {"issuer": "https://id.test", "subject": "7", "tokenIdentifier": "https://id.test|7"}

STANDARD = {
    "name": "Ada Lovelace",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "nickname": "ada",
    "preferred_username": "ada1815",
    "profile": "https://id.test/ada",
    "picture": "https://id.test/ada.png",
    "website": "https://ada.test",
    "email": "ada@id.test",
    "email_verified": True,
    "gender": "female",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "phone_number": "+44 1",
    "phone_number_verified": False,
    "address": {"formatted": "12 St James's Square", "country": "UK"},
    "updated_at": 1_700_000_000,
}
ATTRIBUTES = {
    "name": "Ada Lovelace",
    "givenName": "Ada",
    "familyName": "Lovelace",
    "nickname": "ada",
    "preferredUsername": "ada1815",
    "profileUrl": "https://id.test/ada",
    "pictureUrl": "https://id.test/ada.png",
    "websiteUrl": "https://ada.test",
    "email": "ada@id.test",
    "emailVerified": True,
    "gender": "female",
    "birthday": "1815-12-10",
    "timezone": "Europe/London",
    "language": "en-GB",
    "phoneNumber": "+44 1",
    "phoneNumberVerified": False,
    "address": "12 St James's Square",
    "updatedAt": "2023-11-14T22:13:20+00:00",
}


def test_standard_claims_have_convex_names() -> None:
    assert oidc_identity({**WHO, **STANDARD}) == {**SELF, **ATTRIBUTES}
    assert ATTRIBUTES.keys() == STANDARD_ATTRIBUTES


def test_other_claims_of_an_oidc_token_keep_their_names_and_shapes() -> None:
    claims = {"https://app.test/roles": ["admin"], "org": {"id": 3, "slug": "acme"}, "sid": "s"}

    assert oidc_identity({**WHO, **claims}) == {**SELF, **claims}


def test_what_changes_with_every_refresh_is_left_out() -> None:
    """Else each refresh would be another identity, and every query of that user would run again."""
    fresh = {"aud": "app", "exp": 5, "nbf": 1, "iat": 1, "jti": "x", "fva": [0, 1]}
    login = {"auth_time": 1, "nonce": "n", "acr": "0", "amr": ["pwd"], "azp": "app", "at_hash": "h", "c_hash": "h"}

    assert oidc_identity({**WHO, **fresh, **login}) == SELF
    assert custom_identity({**WHO, **fresh}) == SELF


def test_claims_of_a_custom_signer_are_flattened_and_not_translated() -> None:
    claims = {"given_name": "Ada", "properties": {"id": 7, "plan": {"name": "pro"}}, "tags": [{"a": 1}], "empty": {}}

    assert custom_identity({**WHO, **claims}) == {
        **SELF,
        "given_name": "Ada",
        "properties.id": 7,
        "properties.plan.name": "pro",
        "tags": [{"a": 1}],
    }


@pytest.mark.parametrize("identity_of", [oidc_identity, custom_identity])
def test_no_claim_can_pretend_to_be_somebody_else(identity_of: Any) -> None:
    forged = {"tokenIdentifier": "https://id.test|admin", "issuer": "eve", "subject": "admin"}

    assert identity_of({**WHO, **forged}) == SELF


def test_a_standard_claim_wins_over_a_custom_one_of_its_attribute() -> None:
    assert oidc_identity({**WHO, "email_verified": False, "emailVerified": True})["emailVerified"] is False


@pytest.mark.parametrize(("claim", "value"), [("true", True), ("false", False), (True, True)])
def test_a_flag_is_a_boolean_however_it_is_written(claim: Any, value: bool) -> None:
    """The string "false" would be true in a condition."""
    assert oidc_identity({**WHO, "email_verified": claim})["emailVerified"] is value


@pytest.mark.parametrize(
    "claims",
    [
        {"email_verified": "no"},
        {"email_verified": 1},
        {"name": 5},
        {"updated_at": True},
        {"updated_at": 1e18},
        {"sub": ""},
        {"sub": None},
    ],
)
def test_a_claim_of_another_type_than_the_standard_says(claims: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^It"):
        oidc_identity({**WHO, **claims})


@pytest.mark.parametrize("claims", [{"address": "x"}, {"address": {"country": "UK"}}, {"name": None}])
def test_a_standard_claim_that_says_nothing_is_left_out(claims: dict[str, Any]) -> None:
    assert oidc_identity({**WHO, **claims}) == SELF


def test_an_identity_is_read_by_key_or_by_attribute() -> None:
    identity = UserIdentity({**SELF, "givenName": "Ada", "org_id": 3, "https://app.test/roles": ["admin"]})

    assert identity["givenName"] == identity.given_name == "Ada"
    assert identity.token_identifier == "https://id.test|7"
    assert identity.org_id == 3
    assert identity["https://app.test/roles"] == ["admin"]
    assert identity.email is None
    assert "email" not in identity
    with pytest.raises(AttributeError, match="This identity has no 'orgName'"):
        _ = identity.org_name
