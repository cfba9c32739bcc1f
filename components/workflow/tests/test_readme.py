"""The code in the README: written into a project folder and run as it stands there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_readmes_app_does_what_its_test_says(tmp_path: Path) -> None:
    blocks = dict(BLOCK.findall(README.read_text()))
    tests = [name for name in blocks if not name.endswith(".py")]
    assert tests == ["test", "test_approvals", "test_mails"]
    folder = tmp_path / "readme_app"
    folder.mkdir()
    for name in blocks.keys() - set(tests):
        (folder / name).write_text(blocks[name])

    for name in tests:
        exec(compile(blocks[name], str(README), "exec"), {"folder": folder, "timedelta": timedelta})


def test_the_readme_names_every_table_and_bound() -> None:
    """What it says of rows and bounds is said of those that there are."""
    from convexpy_workflow import budget
    from convexpy_workflow.component.schema import schema

    text = README.read_text()
    for table in schema.export()["tables"]:
        assert f"| `{table}` |" in text
    for bound in (budget.STEPS_PER_WAVE_MAX, budget.PENDING_STEPS_MAX, budget.JOURNAL_ROWS_MAX):
        assert str(bound) in text
