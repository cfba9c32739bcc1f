"""`auth_config.py`: both ways to write a provider, and what is said about a wrong one."""

from __future__ import annotations

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from convexpy import custom_jwt, oidc
from convexpy.errors import DefinitionError
from convexpy.functions.application import load_application
from convexpy.functions.auth_config import checked_providers
from convexpy.limits import AUTH_PROVIDERS_MAX

_numbers = itertools.count()
JWKS = "https://a.test/jwks.json"
KEY = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


def data_uri(document: Any, *, is_base64: bool = True) -> str:
    text = document if isinstance(document, str) else json.dumps(document)
    if is_base64:
        return f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}"
    return f"data:application/json,{text.replace(' ', '%20')}"


def load(tmp_path: Path, source: str, files: dict[str, str] | None = None) -> Any:
    """The auth part of what a push of this `auth_config.py` describes."""
    folder = tmp_path / f"auth_app_{next(_numbers)}"
    folder.mkdir()
    for name, text in {"auth_config.py": source, **(files or {})}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return load_application(folder).describe()["auth"]


def test_both_forms_say_the_same() -> None:
    assert oidc(domain="a.test", application_id="x") == {"domain": "https://a.test", "applicationID": "x"}
    custom = custom_jwt(issuer="https://a.test", jwks=JWKS, algorithm="ES256", application_id="x")
    assert custom == {
        "type": "customJwt",
        "issuer": "https://a.test",
        "jwks": JWKS,
        "algorithm": "ES256",
        "applicationID": "x",
    }
    assert checked_providers([custom, {"domain": "a.test:8443/tenant", "applicationID": "x"}]) == [
        custom,
        {"domain": "https://a.test:8443/tenant", "applicationID": "x"},
    ]


@pytest.mark.parametrize("is_base64", [True, False])
def test_keys_may_stand_in_the_configuration_itself(is_base64: bool) -> None:
    jwks = data_uri({"keys": [KEY]}, is_base64=is_base64)

    assert custom_jwt(issuer="a.test", jwks=jwks, algorithm="RS256")["jwks"] == jwks


def test_a_push_describes_the_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment variables are read when the module is imported, which is at the push."""
    monkeypatch.setenv("AUTH_DOMAIN", "login.test")

    described = load(
        tmp_path,
        "import os\nfrom convexpy import oidc\n"
        "providers = [oidc(domain=os.environ['AUTH_DOMAIN'], application_id='x')]\n",
    )

    assert described == [{"domain": "https://login.test", "applicationID": "x"}]


def test_an_app_without_it_has_no_providers(tmp_path: Path) -> None:
    folder = tmp_path / "plain_app"
    folder.mkdir()

    assert load_application(folder).describe()["auth"] == []


@pytest.mark.parametrize(
    ("source", "line", "text"),
    [
        ("", None, "auth_config.py exports no `providers`."),
        ("providers = {'domain': 'a.test'}", None, "`providers` is {'domain': 'a.test'}. Make it a list"),
        ("providers = ['a.test']", None, "providers[0]: A provider is made by oidc(…) or custom_jwt(…)"),
        ("providers = [{'domain': 'a.test'}]", None, 'providers[0]: "applicationID" is None, and must be a string.'),
        ("from convexpy import oidc\n\nproviders = [oidc(domain='', application_id='x')]", 3, '"domain" is'),
        (
            "import os\nfrom convexpy import oidc\nproviders = [oidc(domain=os.environ.get('NOT_SET'), "
            "application_id='x')]",
            3,
            "If it comes from an environment variable, set that where the server is started.",
        ),
    ],
)
def test_an_error_names_the_file_and_the_mend(tmp_path: Path, source: str, line: int | None, text: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        load(tmp_path, source)

    assert refusal.value.file is not None
    assert (Path(refusal.value.file).name, refusal.value.line) == ("auth_config.py", line)
    assert text in refusal.value.text


def test_a_component_has_no_users(tmp_path: Path) -> None:
    name = f"auth_part_{next(_numbers)}"
    package = tmp_path / "lib" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "auth_config.py").write_text("providers = []")
    config = (
        f"import sys\nsys.path.insert(0, {str(tmp_path / 'lib')!r})\n"
        f"from convexpy import define_app, define_component\n"
        f"app = define_app()\napp.use(define_component('part', functions={name!r}))\nsys.path.pop(0)\n"
    )
    with pytest.raises(DefinitionError, match="components know no users"):
        # The path is only there while the config runs, so the package is imported there.
        load(tmp_path, "providers = []", {"convex_config.py": config.replace("sys.path.pop(0)", f"import {name}")})


CUSTOM = {"type": "customJwt", "issuer": "a.test", "jwks": JWKS, "algorithm": "RS256"}


@pytest.mark.parametrize(
    ("provider", "text"),
    [
        ({"domain": "a b.test", "applicationID": "x"}, '"domain" is'),
        ({"domain": "https://", "applicationID": "x"}, '"domain" is'),
        ({"domain": "ftp://a.test", "applicationID": "x"}, '"domain" is'),
        ({"domain": "https://a.test:99999", "applicationID": "x"}, '"domain" is'),
        ({"domain": "https://me:secret@a.test", "applicationID": "x"}, "Leave the rest of it out."),
        ({"domain": "https://a.test?x=1", "applicationID": "x"}, "Leave the rest of it out."),
        ({"domain": "a.test", "applicationID": "x", "secret": "s"}, "A provider has no field 'secret'."),
        ({"domain": "a.test", "applicationID": 5}, '"applicationID" is 5'),
        ({"type": "saml"}, "\"type\" is 'saml'."),
        ({**CUSTOM, "algorithm": "HS256"}, "\"algorithm\" is 'HS256'. Write one of RS256, ES256."),
        ({**CUSTOM, "algorithm": None}, '"algorithm" is None.'),
        ({**CUSTOM, "jwks": None}, '"jwks" is None, and must be a string.'),
        ({**CUSTOM, "jwks": "file:///etc/passwd"}, '"jwks" is'),
        ({**CUSTOM, "jwks": "data:application/json"}, "it has no comma"),
        ({**CUSTOM, "jwks": "data:;base64,***"}, "its base64 is malformed"),
        ({**CUSTOM, "jwks": data_uri("[" * 100_000)}, "holds no JSON"),
        ({**CUSTOM, "jwks": data_uri({"keys": []})}, "is not {"),
        ({**CUSTOM, "jwks": data_uri([KEY])}, "is not {"),
        ({**CUSTOM, "jwks": data_uri({"keys": [{**KEY, "d": "AA"}]})}, "holds a private or secret key"),
        ({**CUSTOM, "jwks": data_uri({"keys": [{"kty": "oct", "k": "AA"}]})}, "holds a private or secret key"),
        ({**CUSTOM, "jwks": data_uri({"keys": [{**KEY, "x": "A" * 600_000}]})}, "it holds more than"),
    ],
)
def test_a_provider_that_is_written_wrongly(provider: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        checked_providers([{"domain": "good.test", "applicationID": "x"}, provider])

    assert refusal.value.text.startswith("providers[1]: ")
    assert text in refusal.value.text


def test_there_may_not_be_too_many() -> None:
    one = {"domain": "a.test", "applicationID": "x"}

    assert len(checked_providers([one] * AUTH_PROVIDERS_MAX)) == AUTH_PROVIDERS_MAX
    with pytest.raises(DefinitionError, match="at most 100"):
        checked_providers([one] * (AUTH_PROVIDERS_MAX + 1))
