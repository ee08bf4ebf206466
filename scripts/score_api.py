"""Score a model behind an API on a benchmark: one record per question, language and prompt.

--params is a JSON object: run, benchmark, languages (null for all), questions_per_language
(null for all), prompts (each {name, multiple_choice, cloze}, of which cloze is not used, and
perhaps headings), num_fewshot, chat_format, and api {url, model, endpoint, top_logprobs,
eos_token, request}.
--access is a JSON object with how it is asked: key (the name of an environment variable),
requests_per_minute, tokens_per_minute, concurrency, timeout, retries, prices {input, output,
currency} and budget.

Answers are kept in --cache as they come, and never asked for again: a job that was killed goes
on, and one that is run again costs nothing. What it may cost is said before the first request,
and refused if that is more than the budget; what it did cost is in --usage.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from tqdm import tqdm

from multical import params, records
from multical.data import questions
from multical.errors import InputError, program
from multical.files import write_json
from multical.models.chat import TEMPLATES
from multical.provenance.libraries import libraries
from multical.provenance.machine import machine
from multical.scoring.api import Answer, Body, Cache, expected, key, read, request
from multical.scoring.api_client import Client
from multical.scoring.prices import Bill
from multical.scoring.prompting import (
    Part,
    answered,
    check,
    choose,
    conversation,
    nothing,
    parts,
    read_fewshot,
)

#: So many questions without a letter tell that the others will have none either
ENOUGH = 100
NULL = type(None)
NUMBER = (int, float, NULL)
KINDS: params.Kinds = {
    "run": str,
    "benchmark": str,
    "languages": (list, NULL),
    "questions_per_language": (int, NULL),
    "prompts": list,
    "num_fewshot": int,
    "chat_format": str,
    "api": dict,
}
API: params.Kinds = {
    "url": str,
    "model": str,
    "endpoint": str,
    "top_logprobs": int,
    "eos_token": str,
    "request": dict,
}
ACCESS: params.Kinds = {
    "key": (str, NULL),
    "requests_per_minute": NUMBER,
    "tokens_per_minute": NUMBER,
    "concurrency": int,
    "timeout": (int, float),
    "retries": int,
    "prices": (dict, NULL),
    "budget": NUMBER,
}


def main() -> None:
    started = time.monotonic()
    args = arguments()
    settings = read_settings(args.params)
    access = params.read(args.access, ACCESS)
    asked = choose(questions.read(args.questions), settings, args.questions)
    told = {**settings, "multiple_choice_languages": None}
    cut = [
        part
        for part in parts(asked, told, read_fewshot(settings, args.fewshot))
        if part.multiple_choice
    ]
    with Cache(args.cache) as cache:
        asking = Asking(settings, access, cache)
        asking.announce(cut)
        found = nothing(settings, asked)
        total = len(asked) * len(found)
        with tqdm(desc=asking.title, total=total, unit="question", mininterval=5) as bar:
            for part in cut:
                for index, values in asking.score(part):
                    found[part.prompt["name"]][index] = values
                    bar.update()
    asking.has_letters()
    asking.report()
    shared = {key: settings[key] for key in ("run", "benchmark")}
    records.write(args.output, answered(asked, found, **shared, model=settings["run"]))
    write_json(args.usage, asking.document(time.monotonic() - started))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", required=True, metavar="PARQUET")
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument("--params", required=True, metavar="JSON", help="see above")
    parser.add_argument("--access", required=True, metavar="JSON", help="see above")
    parser.add_argument("--cache", required=True, type=Path, metavar="SQLITE")
    parser.add_argument("--output", required=True, metavar="PARQUET", help="the records")
    parser.add_argument("--usage", required=True, type=Path, help="requests and cost, .json")
    return parser.parse_args()


def read_settings(text: str) -> dict[str, Any]:
    """The settings in `--params`; raises `InputError` naming the first that is wrong."""
    settings = params.parse(text)
    check(settings, KINDS)
    params.check(settings["api"], API)
    params.known("api.endpoint", [settings["api"]["endpoint"]], ["chat", "completions"])
    formats = ["template"] if settings["api"]["endpoint"] == "chat" else list(TEMPLATES)
    params.known("chat_format", [settings["chat_format"]], formats)
    return settings


class Asking:
    """A model's answers to a benchmark, and what they cost.

    Args:
        settings, access: as `--params` and `--access` have them.
        cache: of the model's answers.
    """

    def __init__(self, settings: dict[str, Any], access: dict[str, Any], cache: Cache) -> None:
        self.settings, self.access, self.cache = settings, access, cache
        self.client = Client(settings["api"], access)
        self.title = f"{settings['run']} on {settings['benchmark']}"
        self.paid = Bill()  # in this try
        self.whole = Bill()  # with what was answered before
        self.models = Counter[str]()
        self.questions, self.bounds, self.without = 0, 0, 0

    def requests(self, part: Part) -> dict[Any, tuple[str, Body]]:
        """The request for each question of a part, by the question's index, and its key."""
        found = {}
        for row in part.rows.itertuples():
            messages = conversation(part, row, "multiple_choice")
            body = request(self.settings["api"], self.settings["chat_format"], messages)
            found[row.Index] = key(self.client.url, body), body
        return found

    def announce(self, cut: list[Part]) -> None:
        """Say what is still to be asked, and its cost; refuse it if that is over the budget."""
        bills = {
            name: expected(body)
            for part in cut
            for name, body in self.requests(part).values()
            if self.cache.get(name) is None
        }
        bill = sum(bills.values(), Bill())
        told = bill.told(self.access["prices"])
        print(f"{self.title}: to ask, as far as known before: {told}", file=sys.stderr)
        self.within_budget(bill, "would cost some")

    def within_budget(self, bill: Bill, verb: str) -> None:
        budget, cost = self.access["budget"], bill.cost(self.access["prices"])
        if budget is not None and cost is not None and cost > budget:
            currency = self.access["prices"]["currency"]
            raise InputError(
                f"{self.title}: {verb} {cost:,.2f} {currency}, expected at most "
                f"{budget:,.2f} (access.budget)"
            )

    def score(self, part: Part) -> list[tuple[Any, dict[str, Any]]]:
        """What the records hold of each question of a part, by the question's index."""
        asked = self.requests(part)
        todo = {name: body for name, body in asked.values() if self.cache.get(name) is None}
        # closed, so that an error here ends the asking, too
        with closing(self.client.fill(todo, self.cache)) as answers:
            for answer in answers:
                self.paid += answer.bill
                if self.access["budget"] is not None and answer.prompt_tokens is None:
                    raise InputError(
                        f"{self.title}: the API tells no prompt_tokens, expected them, or no "
                        "access.budget: it cannot be kept"
                    )
                self.within_budget(self.paid, "has cost")
        found = [
            (index, self.values(str(self.cache.get(name)), part.rows.loc[index, "options"]))
            for index, (name, _) in asked.items()
        ]
        if self.questions >= ENOUGH:  # before the rest is paid for
            self.has_letters()
        return found

    def values(self, text: str, options: list[str]) -> dict[str, Any]:
        """What the records hold of a question, from its answer."""
        answer: Answer = read(text, self.settings["api"])
        logits, bounds = answer.letters(len(options))
        self.whole += answer.bill
        self.models[answer.model] += 1
        self.questions += 1
        self.bounds += sum(bounds)
        self.without += all(bounds)
        return {
            "letter_logits": logits,
            "letter_bounds": bounds,
            "logsumexp": 0.0,
            "prompt_tokens": answer.prompt_tokens,
        }

    def has_letters(self) -> None:
        """Raise `InputError` if all letters of all questions are but bounds."""
        if self.without == self.questions:
            raise InputError(
                f"{self.title}: in none of {self.questions} questions is a letter among the listed "
                "tokens, expected a prompt that is answered with one, or more top_logprobs"
            )

    def report(self) -> None:
        """Say what it cost, and how many letters are but bounds."""
        print(
            f"{self.title}: asked {self.paid.told(self.access['prices'])}; {self.bounds} letters "
            f"were not listed; in {self.without} of {self.questions} questions none was",
            file=sys.stderr,
        )

    def document(self, seconds: float) -> dict[str, Any]:
        """What the job used."""
        prices = self.access["prices"]
        return {
            "seconds": round(seconds, 1),
            "gpu_seconds": 0.0,
            "machines": [machine()],
            "python": platform.python_version(),
            "libraries": libraries(),
            "source": {"kind": "api", **self.settings["api"]},
            "asked": self.paid.document(prices),
            "answers": self.whole.document(prices),
            "models": dict(sorted(self.models.items())),
            "unlisted_letters": self.bounds,
            "questions_without_letter": self.without,
        }


if __name__ == "__main__":
    program(main)
