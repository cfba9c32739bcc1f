"""What the example says about a text is true: its analysis is plain code, so it is tested as such."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def text() -> ModuleType:
    """The example's module by its file: the package `app` is only imported by a server."""
    spec = importlib.util.spec_from_file_location("reading_room_text", EXAMPLES / "app" / "text.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bundled_sample(text: ModuleType) -> None:
    """Counted by hand once: the demo prints these, so they have to be right."""
    analysis = text.analyse_text((EXAMPLES / "sample.txt").read_text())

    assert analysis["language"] == "English"
    assert analysis["words"] == 315
    assert analysis["sentences"] == 20
    assert analysis["readingSeconds"] == 79
    assert analysis["frequent"][0] == {"word": "lamp", "count": 8}


@pytest.mark.parametrize(
    ("sample", "language"),
    [
        ("The cat is on the roof, and it will not come down.", "English"),
        ("Die Katze ist auf dem Dach und sie will nicht herunter.", "German"),
        ("Le chat est sur le toit et il ne veut pas descendre.", "French"),
        ("El gato está en el tejado y no quiere bajar de ahí.", "Spanish"),
        ("Kissa istuu katolla eikä tule alas.", "unknown"),
        ("", "unknown"),
    ],
)
def test_the_language_is_told_by_its_small_words(text: ModuleType, sample: str, language: str) -> None:
    """A text in a language that has no list here is `unknown`, not the least bad guess."""
    assert text.analyse_text(sample)["language"] == language


@pytest.mark.parametrize(
    ("sample", "count"),
    [
        ("", 0),
        ("No full stop", 1),
        ("One. Two! Three?", 3),
        ("He said “Go.” Then he left.", 2),
        ("Pi is 3.14 or so.", 1),
    ],
)
def test_sentences_are_counted(text: ModuleType, sample: str, count: int) -> None:
    """A point inside a number ends nothing; the last sentence needs no point."""
    assert text.count_sentences(sample) == count


def test_significant_words_leave_out_small_and_short_ones(text: ModuleType) -> None:
    """Letter case and typographic apostrophes do not make a word another one."""
    counts = text.significant_words("The Harbour, the harbour; a mother-in-law of 12 at the harbour!", "English")

    assert counts == {"harbour": 3, "mother-in-law": 1}
