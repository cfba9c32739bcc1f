"""`limits.NAME` of a deployment: in its pyproject.toml, or as an option, which wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from convexpy.errors import ConvexpyError
from convexpy.limits import LogLimits
from convexpy.serving.settings import read_settings


def test_functions_and_the_log_each_get_their_own(tmp_path: Path) -> None:
    text = "[tool.convexpy.limits]\ntimeout_seconds = 2\nlog_retention_seconds = 3600\n"
    (tmp_path / "pyproject.toml").write_text(text)

    settings = read_settings(tmp_path, {}, is_redacted=False)

    assert settings.limits == {"timeout_seconds": 2}
    assert settings.log_limits == LogLimits(log_retention_seconds=3600)
    assert settings.log_limits.log_retention_bytes == LogLimits().log_retention_bytes


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({"log_retention": 1}, "limits.log_retention is no limit. Known limits: action_timeout_seconds, "),
        ({"log_retention": 1}, "log_retention_bytes, log_retention_seconds, "),
        ({"log_retention_seconds": -1}, "limits.log_retention_seconds is a finite number of at least 0, not -1."),
        ({"log_retention_bytes": 1.5}, "limits.log_retention_bytes is a whole number, not 1.5."),
        ({"timeout_seconds": 0}, "limits.timeout_seconds must be above 0"),
    ],
)
def test_what_is_no_limit_is_refused_with_a_sentence(tmp_path: Path, limits: dict[str, float], text: str) -> None:
    with pytest.raises(ConvexpyError) as refusal:
        read_settings(tmp_path, {"limits": limits}, is_redacted=False)

    assert text in str(refusal.value)
