"""What can be said about a text without asking anyone: its size, its language, its favourite words."""

import re
from collections import Counter
from typing import Any

WORDS_PER_MINUTE = 238  # silent reading of non-fiction; Brysbaert, Journal of Memory and Language 109 (2019)
FREQUENT_SHOWN = 8
LANGUAGE_SHARE_MIN = 0.12  # below it the small words of no language are there often enough to tell

_WORD = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)]*(?=\s|$)")

# The small words of each language: they tell the language, and they are not what a text is about.
SMALL_WORDS = {
    "English": """a about after all also an and any are as at be because been before but by can could did do does down
        each even every first for from had has have he her here him his how i if in into is it its
        just like made make many may me more most much must my no not now of off on one only or
        other our out over own said same she should so some such than that the their them then there
        these they this those through to too two under until up very was we were what when where
        which while who whose why will with without would yet you your""",
    "German": """aber alle als also am an auch auf aus bei bin bis da damit dann das dass dem den denn der des die
        dies diese dieser doch du durch ein eine einem einen einer eines er es für hat haben hatte
        ich ihr im immer in ist ja kann kein keine mehr mich mir mit nach nicht noch nun nur ob oder
        ohne schon sehr sein seine sich sie sind so über um und uns unter vom von vor war waren was
        weil wenn wer werden wie wieder wir wird wo zu zum zur""",
    "French": """à alors au aussi autre aux avec ce ces cette comme dans de des deux dont du elle elles en est et été
        être eux fait il ils je jusque la le les leur lui mais même mes moi mon ne nos nous on ont
        ou où par pas plus pour qu quand que qui quoi sa sans se ses si son sont sous sur ta tes toi
        ton tout tous très tu un une vos vous y""",
    "Spanish": """a al algo como con cuando de del desde donde dos el ella ellos en entre era es esa ese eso esta
        estaba este esto fue ha había hasta hay la las le les lo los más me mi muy nada ni no nos o
        para pero poco por porque que quien se ser si sin sobre son su sus también tan tiene todo
        todos tu un una uno y ya yo""",
}
_SMALL = {language: frozenset(words.split()) for language, words in SMALL_WORDS.items()}


def words_of(text: str) -> list[str]:
    """The words in order, in lower case; numbers and signs are no words, `mother-in-law` is one."""
    return [match.casefold() for match in _WORD.findall(text)]


def count_sentences(text: str) -> int:
    """Ends of sentences, and a last one that has none; 0 only for a text without words."""
    pieces = _SENTENCE_END.split(text)
    return sum(1 for piece in pieces if _WORD.search(piece))


def guess_language(words: list[str]) -> str:
    """The language whose small words are the largest share of the text, or `unknown`."""
    if not words:
        return "unknown"
    shares = {language: sum(word in small for word in words) / len(words) for language, small in _SMALL.items()}
    best = max(shares, key=lambda language: shares[language])
    return best if shares[best] >= LANGUAGE_SHARE_MIN else "unknown"


def significant_words(text: str, language: str) -> Counter[str]:
    """How often each word occurs that is longer than two letters and none of its language's small words."""
    small = _SMALL.get(language, frozenset())
    return Counter(word for word in words_of(text) if len(word) > 2 and word not in small)


def analyse_text(text: str) -> dict[str, Any]:
    """Everything the page shows of a text, in the shape of the schema's `analysis`."""
    words = words_of(text)
    language = guess_language(words)
    frequent = significant_words(text, language).most_common(FREQUENT_SHOWN)
    return {
        "words": len(words),
        "sentences": count_sentences(text),
        "readingSeconds": round(len(words) * 60 / WORDS_PER_MINUTE),
        "language": language,
        "frequent": [{"word": word, "count": count} for word, count in frequent],
    }
