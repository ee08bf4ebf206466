"""The benchmark `cldr-facts`, and English SFT pairs about other territories.

Stems are English and names localised, our own design: no translator's hand is in
the data. Every language has the same question ids, options, order of options and
right answer; only the names differ. A question with a missing name is left out
in that language alone.

Wrong options are the answers of *other facts* of the same kind, so that each
answer is a wrong option about as often as it is a right one, and guessing the
commonest answer does not pay (.22 to .30 right, over seeds). What does help:
two in three names of currencies and a third of those of languages hold the
territory's ("Swiss Franc"). Facts without that are taken first, and the report
counts the rest by language, since it makes a question easier in one language
than in another.

Options are all of one kind; those of `country` come from the held-out side, so
that no territory is on both sides.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from multical.data.cldr_facts import Fact, Names, facts, gives_away, split
from multical.data.conversations import Conversation, Message
from multical.errors import InputError

OPTIONS = 4

#: At most this share of a kind's questions has the same right answer.
LARGEST_SHARE = 0.2

#: The first is the benchmark's stem; SFT uses each of them.
STEMS = {
    "currency": ("What is the currency of {}?", "Which currency is used in {}?"),
    "language": ("What is the official language of {}?", "Which language is official in {}?"),
    "country": (
        "In which country is {} an official language?",
        "Which country has given {} official status?",
    ),
}


@dataclass(frozen=True)
class Question:
    """A fact with its options in order, as CLDR codes."""

    fact: Fact
    options: tuple[str, ...]

    @property
    def id(self) -> str:
        """Such as `currency.FR`."""
        return f"{self.fact.kind}.{self.fact.territory}"


def benchmark(
    seed: int,
    kinds: Sequence[str],
    languages: Sequence[str],
    held_out: float,
    questions_per_language: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Questions in the schema of `multical.data.questions`, and a report of their names.

    `held_out` is the fraction of territories kept for the benchmark. The report
    has a row per (language, kind): `questions`, `left_out` for want of a name or
    for two options alike; distinct `names` needed, how many are `missing`, and how
    many `same_as_english`; questions whose answer the stem `gives_away`.
    """
    if questions_per_language < 1:
        raise InputError(f"questions_per_language: found {questions_per_language}, expected 1 up")
    chosen = choose(seed, kinds, held_out, questions_per_language)
    rows, report = [], []
    for language in languages:
        names = Names(language)
        for kind in kinds:
            asked = [question for question in chosen if question.fact.kind == kind]
            made = [row for q in asked if (row := _row(q, names)) is not None]
            rows.extend(made)
            report.append(_report(asked, made, names, kind))
    columns = ["question_id", "language", "subject", "question", "options", "answer"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(report)


def choose(seed: int, kinds: Sequence[str], held_out: float, limit: int) -> list[Question]:
    """At most `limit` questions about held-out territories, the kinds in equal parts.

    A kind with fewer leaves its places to the others. Facts that the English names
    give away come last. Right answers are spread evenly over the options.
    """
    side, _ = split(seed, held_out)
    found = {kind: _candidates(seed, kind, side) for kind in kinds}
    chosen: list[Question] = []
    room = limit
    for place, kind in enumerate(sorted(kinds, key=lambda kind: (len(found[kind]), kind))):
        kept = _spread(found[kind][: room // (len(kinds) - place)])
        room -= len(kept)
        chosen.extend(_questions(seed, kind, kept, side))
    return chosen


def sft_pairs(seed: int, kinds: Sequence[str], held_out: float) -> list[Conversation]:
    """English question-answer pairs about the territories that are *not* held out.

    One conversation per fact and stem, in a seeded order. They depend on nothing
    but these arguments. A currency or language name in an answer may remind of a
    held-out territory (the Swiss franc of Liechtenstein): it is not asked about.
    """
    _, side = split(seed, held_out)
    names = Names("en")
    pairs: list[Conversation] = []
    for fact in (fact for kind in kinds for fact in facts(kind) if fact.territory in side):
        asked, answer = _asked(fact, names), names.get(fact.kind, fact.answer)
        if asked is None or answer is None:
            raise InputError(f"CLDR has no English name for {fact}")
        for i, stem in enumerate(STEMS[fact.kind]):
            user = Message(role="user", content=stem.format(asked))
            assistant = Message(role="assistant", content=answer)
            key = f"{fact.kind}.{fact.territory}.{i}"
            pairs.append(Conversation(id=key, messages=[user, assistant]))
    random.Random(f"{seed}:sft").shuffle(pairs)
    return pairs


def _candidates(seed: int, kind: str, side: frozenset[str]) -> list[Fact]:
    found = [fact for fact in facts(kind) if fact.territory in side]
    random.Random(f"{seed}:{kind}").shuffle(found)
    names = Names("en")
    return sorted(found, key=lambda fact: _gives_away(fact, names))


def _spread(kept: list[Fact]) -> list[Fact]:
    """Drop facts, the last first, until no answer has more than its share."""
    while kept:
        answer, count = Counter(fact.answer for fact in kept).most_common(1)[0]
        if count <= max(1, LARGEST_SHARE * len(kept)):
            break
        last = max(i for i, fact in enumerate(kept) if fact.answer == answer)
        kept = kept[:last] + kept[last + 1 :]
    return kept


def _questions(seed: int, kind: str, kept: list[Fact], side: frozenset[str]) -> list[Question]:
    pool = [fact for fact in facts(kind) if kind != "country" or fact.territory in side]
    positions = [i % OPTIONS for i in range(len(kept))]
    random.Random(f"{seed}:{kind}:positions").shuffle(positions)
    made = []
    for fact, position in zip(kept, positions, strict=True):
        others = [other.answer for other in pool if other.answer not in fact.also_right]
        random.Random(f"{seed}:{kind}:{fact.territory}").shuffle(others)
        options = list(dict.fromkeys(others))[: OPTIONS - 1]
        if len(options) < OPTIONS - 1:
            raise InputError(f"held_out: too few territories for the options of kind {kind!r}")
        options.insert(position, fact.answer)
        made.append(Question(fact, tuple(options)))
    return made


def _asked(fact: Fact, names: Names) -> str | None:
    return names.get("language" if fact.kind == "country" else "country", fact.asked)


def _row(question: Question, names: Names) -> dict[str, object] | None:
    fact = question.fact
    asked = _asked(fact, names)
    options = [names.get(fact.kind, code) for code in question.options]
    if asked is None or None in options or len(set(options)) < OPTIONS:
        return None
    return {
        "question_id": question.id,
        "language": names.tag,
        "subject": fact.kind,
        "question": STEMS[fact.kind][0].format(asked),
        "options": options,
        "answer": question.options.index(fact.answer),
    }


def _gives_away(fact: Fact, names: Names) -> bool:
    asked, answer = _asked(fact, names), names.get(fact.kind, fact.answer)
    return asked is not None and answer is not None and gives_away(asked, answer, names.script)


def _report(
    asked: list[Question], made: list[dict[str, object]], names: Names, kind: str
) -> dict[str, object]:
    needed = {(kind, code) for question in asked for code in question.options}
    stem_kind = "language" if kind == "country" else "country"
    needed |= {(stem_kind, question.fact.asked) for question in asked}
    present = {name for name in needed if names.get(*name) is not None}
    ids = {row["question_id"] for row in made}
    return {
        "language": names.tag,
        "kind": kind,
        "questions": len(made),
        "left_out": len(asked) - len(made),
        "names": len(needed),
        "missing": len(needed) - len(present),
        "same_as_english": sum(names.is_english(*name) for name in present),
        "gives_away": sum(_gives_away(q.fact, names) for q in asked if q.id in ids),
    }
