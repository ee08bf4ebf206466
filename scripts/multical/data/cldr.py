"""The benchmark `cldr-facts`, and English SFT pairs about other territories.

Stems are in English and names are localised: our own design. The data contain no translations of
our own. Every language has the same question ids, options, order of options and right answers. Only
the names differ. If a language lacks a name, it lacks the questions with this name.

Wrong options are the answers of *other facts* of the same kind, so that an answer is a wrong option
about as often as a right one. Guessing the most common answer therefore does not help (0.22 to 0.30
are right, depending on the seed). Other clues do help: two thirds of the names of currencies, and
one third of the names of languages, contain the name of the territory ("Swiss Franc"). We take
facts without this clue first. The report counts the other facts by language, since the clue makes a
question easier in some languages than in others.

All options of a question are of one kind. Options of the kind `country` are held-out territories,
so that no territory is in both the benchmark and the SFT data.
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

#: Largest share of the questions of a kind with the same right answer
LARGEST_SHARE = 0.2

#: The benchmark uses the first stem, SFT data use all
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
        """The question id, such as `currency.FR`."""
        return f"{self.fact.kind}.{self.fact.territory}"


def benchmark(
    seed: int,
    kinds: Sequence[str],
    languages: Sequence[str],
    held_out: float,
    questions_per_language: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Questions in the schema of `multical.data.questions`, and a report on their names.

    `held_out` is the fraction of territories kept for the benchmark. The report has a row per
    (language, kind) with these counts: `questions`; questions `left_out` since a name is missing or
    two options have the same name; distinct `names` needed; names that are `missing`; names that
    are `same_as_english`; and questions whose stem `gives_away` the answer.
    """
    if questions_per_language < 1:
        raise InputError(f"questions_per_language: found {questions_per_language}, expected >= 1")
    chosen = choose(seed, kinds, held_out, questions_per_language)
    rows, report = [], []
    for language in languages:
        names = Names(language)
        for kind in kinds:
            of_kind = [question for question in chosen if question.fact.kind == kind]
            named = [row for question in of_kind if (row := _row(question, names)) is not None]
            rows.extend(named)
            report.append(_report(of_kind, named, names, kind))
    columns = ["question_id", "language", "subject", "question", "options", "answer"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(report)


def choose(seed: int, kinds: Sequence[str], held_out: float, limit: int) -> list[Question]:
    """At most `limit` questions about held-out territories, with equal numbers of each kind.

    If a kind has fewer facts, the other kinds get more questions. Facts whose English names give
    away the answer come last. The positions of right answers are evenly distributed.
    """
    side, _ = split(seed, held_out)
    candidates = {kind: _candidates(seed, kind, side) for kind in kinds}
    chosen: list[Question] = []
    room = limit
    for place, kind in enumerate(sorted(kinds, key=lambda kind: (len(candidates[kind]), kind))):
        spread = _spread(candidates[kind][: room // (len(kinds) - place)])
        room -= len(spread)
        chosen.extend(_questions(seed, kind, spread, side))
    return chosen


def sft_pairs(seed: int, kinds: Sequence[str], held_out: float) -> list[Conversation]:
    """English question-answer pairs about the territories that are *not* held out.

    There is one conversation per fact and stem, in an order that depends on the seed. The result
    depends only on the arguments. The name of a currency or language in an answer may hint at a
    held-out territory (the Swiss franc of Liechtenstein), but no question asks about it.
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
    candidates = [fact for fact in facts(kind) if fact.territory in side]
    random.Random(f"{seed}:{kind}").shuffle(candidates)
    names = Names("en")
    return sorted(candidates, key=lambda fact: _gives_away(fact, names))


def _spread(candidates: list[Fact]) -> list[Fact]:
    """Drop facts from the end until no answer has more than its share."""
    while candidates:
        answer, count = Counter(fact.answer for fact in candidates).most_common(1)[0]
        if count <= max(1, LARGEST_SHARE * len(candidates)):
            break
        last = max(i for i, fact in enumerate(candidates) if fact.answer == answer)
        candidates = candidates[:last] + candidates[last + 1 :]
    return candidates


def _questions(seed: int, kind: str, chosen: list[Fact], side: frozenset[str]) -> list[Question]:
    pool = [fact for fact in facts(kind) if kind != "country" or fact.territory in side]
    positions = [i % OPTIONS for i in range(len(chosen))]
    random.Random(f"{seed}:{kind}:positions").shuffle(positions)
    questions = []
    for fact, position in zip(chosen, positions, strict=True):
        others = [other.answer for other in pool if other.answer not in fact.also_right]
        random.Random(f"{seed}:{kind}:{fact.territory}").shuffle(others)
        options = list(dict.fromkeys(others))[: OPTIONS - 1]
        if len(options) < OPTIONS - 1:
            raise InputError(f"held_out: too few territories for the options of kind {kind!r}")
        options.insert(position, fact.answer)
        questions.append(Question(fact, tuple(options)))
    return questions


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
    questions: list[Question], rows: list[dict[str, object]], names: Names, kind: str
) -> dict[str, object]:
    needed = {(kind, code) for question in questions for code in question.options}
    stem_kind = "language" if kind == "country" else "country"
    needed |= {(stem_kind, question.fact.asked) for question in questions}
    present = {name for name in needed if names.get(*name) is not None}
    ids = {row["question_id"] for row in rows}
    return {
        "language": names.tag,
        "kind": kind,
        "questions": len(rows),
        "left_out": len(questions) - len(rows),
        "names": len(needed),
        "missing": len(needed) - len(present),
        "same_as_english": sum(names.is_english(*name) for name in present),
        "gives_away": sum(_gives_away(q.fact, names) for q in questions if q.id in ids),
    }
