"""Score a model behind an API on a benchmark: one record per question, language and prompt.

Answers are kept in --cache as they come, and never asked for again: a job that was killed goes
on, and one that is run again costs nothing. The program says what it may cost before the first
request, and stops if that is more than the budget; what it did cost is in --usage.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections import Counter
from contextlib import closing
from typing import Any

from tqdm import tqdm

from multical import records
from multical.data import questions
from multical.errors import InputError, program
from multical.files import write_json
from multical.models.api_params import Access
from multical.params import command_line, parse
from multical.provenance.libraries import libraries
from multical.provenance.machine import machine
from multical.scoring.api import Answer, Body, Cache, expected, key, read, request
from multical.scoring.api_client import Client
from multical.scoring.api_params import ApiScoringJob
from multical.scoring.prices import Bill
from multical.scoring.prompting import (
    Part,
    choose_questions,
    conversation,
    empty_results,
    parts,
    read_fewshot,
    records_of,
)

#: After this many questions without a letter we expect none in the others either
ENOUGH = 100


def main() -> None:
    started = time.monotonic()
    args = arguments()
    job: ApiScoringJob = args.params
    access = parse(Access, args.access, "--access")
    chosen = choose_questions(questions.read(args.questions), job, args.questions)
    cut = [
        part for part in parts(chosen, job, read_fewshot(job, args.fewshot)) if part.multiple_choice
    ]
    with Cache(args.cache) as cache:
        scorer = ApiScorer(job, access, cache)
        scorer.announce(cut)
        results = empty_results(job, chosen)
        total = len(chosen) * len(results)
        with tqdm(desc=scorer.title, total=total, unit="question", mininterval=5) as bar:
            for part in cut:
                for index, values in scorer.score(part):
                    results[part.prompt.name][index] = values
                    bar.update()
    scorer.has_letters()
    scorer.report()
    shared = {"run": job.run, "model": job.run, "benchmark": job.benchmark}
    records.write(args.output, records_of(chosen, results, **shared))
    write_json(args.usage, scorer.document(time.monotonic() - started))


def arguments() -> argparse.Namespace:
    parser = command_line(
        __doc__,
        ApiScoringJob,
        questions="of the benchmark, .parquet",
        cache="all answers ever given, .sqlite",
        output="the records, .parquet",
        usage="requests and cost, .json",
    )
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument(
        "--access", required=True, metavar="JSON", help="multical.models.api_params.Access"
    )
    return parser.parse_args()


class ApiScorer:
    """A model's answers to a benchmark, and what they cost.

    Args:
        job, access: as `--params` and `--access` have them.
        cache: of the model's answers.
    """

    def __init__(self, job: ApiScoringJob, access: Access, cache: Cache) -> None:
        self.job, self.access, self.cache = job, access, cache
        self.client = Client(job.api, access)
        self.title = f"{job.run} on {job.benchmark}"
        self.paid = Bill()  # in this try
        self.whole = Bill()  # with what was answered before
        self.models = Counter[str]()
        self.questions, self.bounds, self.without = 0, 0, 0

    def requests(self, part: Part) -> dict[Any, tuple[str, Body]]:
        """The request for each question of a part, by the question's index, and its key."""
        found = {}
        for row in part.rows.itertuples():
            messages = conversation(part, row, "multiple_choice")
            body = request(self.job.api, self.job.chat_format, messages)
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
        cost = bill.describe(self.access.prices)
        print(f"{self.title}: to ask, as far as known before: {cost}", file=sys.stderr)
        self.within_budget(bill, "would cost some")

    def within_budget(self, bill: Bill, verb: str) -> None:
        budget, prices = self.access.budget, self.access.prices
        cost = bill.cost(prices)
        if budget is not None and prices is not None and cost is not None and cost > budget:
            raise InputError(
                f"{self.title}: {verb} {cost:,.2f} {prices.currency}, expected at most "
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
                if self.access.budget is not None and answer.prompt_tokens is None:
                    raise InputError(
                        f"{self.title}: the API gives no prompt_tokens, expected them, or no "
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
        answer: Answer = read(text, self.job.api)
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
            f"{self.title}: asked {self.paid.describe(self.access.prices)}; {self.bounds} letters "
            f"were not listed; in {self.without} of {self.questions} questions none was",
            file=sys.stderr,
        )

    def document(self, seconds: float) -> dict[str, Any]:
        """What the job used."""
        prices = self.access.prices
        return {
            "seconds": round(seconds, 1),
            "gpu_seconds": 0.0,
            "machines": [machine()],
            "python": platform.python_version(),
            "libraries": libraries(),
            "source": {"kind": "api", **self.job.api.model_dump(mode="json")},
            "asked": self.paid.document(prices),
            "answers": self.whole.document(prices),
            "models": dict(sorted(self.models.items())),
            "unlisted_letters": self.bounds,
            "questions_without_letter": self.without,
        }


if __name__ == "__main__":
    program(main)
