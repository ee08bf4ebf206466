"""Score a model behind an API on a benchmark: one record per question, language and prompt.

The program stores each answer in --cache and never asks for it again. A killed job therefore
resumes, and a repeated job costs nothing. Before the first request the program prints the likely
cost, and stops if that exceeds the budget. --usage tells the actual cost.
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

#: After this number of questions, stop if none of the answers lists a letter
ENOUGH = 100


def main() -> None:
    started = time.monotonic()
    args = arguments()
    job: ApiScoringJob = args.params
    access = parse(Access, args.access, "--access")
    chosen = choose_questions(questions.read(args.questions), job, args.questions)
    all_parts = [
        part for part in parts(chosen, job, read_fewshot(job, args.fewshot)) if part.multiple_choice
    ]
    with Cache(args.cache) as cache:
        scorer = ApiScorer(job, access, cache)
        scorer.announce(all_parts)
        results = empty_results(job, chosen)
        total = len(chosen) * len(results)
        with tqdm(desc=scorer.title, total=total, unit="question", mininterval=5) as bar:
            for part in all_parts:
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
        questions="questions of the benchmark, .parquet",
        cache="all answers of the model, .sqlite",
        output="output: the records, .parquet",
        usage="output: requests and cost, .json",
    )
    parser.add_argument("--fewshot", nargs="?", metavar="FILE", help="few-shot examples, if any")
    parser.add_argument(
        "--access", required=True, metavar="JSON", help="multical.models.api_params.Access"
    )
    return parser.parse_args()


class ApiScorer:
    """A model's answers to a benchmark, and what they cost.

    Args:
        job, access: the values of `--params` and `--access`.
        cache: the answers of the model.
    """

    def __init__(self, job: ApiScoringJob, access: Access, cache: Cache) -> None:
        self.job, self.access, self.cache = job, access, cache
        self.client = Client(job.api, access)
        self.title = f"{job.run} on {job.benchmark}"
        self.paid = Bill()  # for the requests of this process
        self.total = Bill()  # for all answers, with those from the cache
        self.models = Counter[str]()
        self.questions, self.bounds, self.without = 0, 0, 0

    def requests(self, part: Part) -> dict[Any, tuple[str, Body]]:
        """By the index of each question of a part, the key and body of its request."""
        keyed = {}
        for row in part.rows.itertuples():
            messages = conversation(part, row, "multiple_choice")
            body = request(self.job.api, self.job.chat_format, messages)
            keyed[row.Index] = key(self.client.url, body), body
        return keyed

    def announce(self, all_parts: list[Part]) -> None:
        """Print the number of open requests and their cost.

        Raises `InputError` over the budget, and if an answer was of no use in an earlier run.
        """
        refused = self.cache.refused()
        bills = {
            name: expected(body)
            for part in all_parts
            for name, body in self.requests(part).values()
            if self.cache.get(name) is None
        }
        if reasons := [refused[name] for name in bills if name in refused]:
            raise InputError(reasons[0])
        bill = sum(bills.values(), Bill())
        cost = bill.describe(self.access.prices)
        print(f"{self.title}: still to ask, by our estimate: {cost}", file=sys.stderr)
        self.within_budget(bill, "would cost about")

    def within_budget(self, bill: Bill, verb: str) -> None:
        budget, prices = self.access.budget, self.access.prices
        cost = bill.cost(prices)
        if budget is not None and prices is not None and cost is not None and cost > budget:
            raise InputError(
                f"{self.title}: {verb} {cost:,.2f} {prices.currency}, expected at most "
                f"{budget:,.2f} (access.budget)"
            )

    def score(self, part: Part) -> list[tuple[Any, dict[str, Any]]]:
        """The index of each question of a part, and its values for the records."""
        keyed = self.requests(part)
        todo = {
            name: (f"{part.language}, question {part.rows.loc[index, 'question_id']}", body)
            for index, (name, body) in keyed.items()
            if self.cache.get(name) is None
        }
        # closed, so that an error here also stops the requests
        with closing(self.client.fill(todo, self.cache)) as answers:
            for answer in answers:
                self.paid += answer.bill
                if self.access.budget is not None and answer.prompt_tokens is None:
                    raise InputError(
                        f"{self.title}: the API gives no prompt_tokens, expected them, or no "
                        "access.budget: it cannot be kept"
                    )
                self.within_budget(self.paid, "has cost")
        values = [
            (index, self.values(str(self.cache.get(name)), part.rows.loc[index, "options"]))
            for index, (name, _) in keyed.items()
        ]
        if self.questions >= ENOUGH:  # before we pay for the rest
            self.has_letters()
        return values

    def values(self, text: str, options: list[str]) -> dict[str, Any]:
        """The values for the records of a question, from its answer."""
        answer: Answer = read(text, self.job.api)
        logits, bounds = answer.letters(len(options))
        self.total += answer.bill
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
        """Raise `InputError` if no answer lists a letter, so that all values are bounds."""
        if self.without == self.questions:
            raise InputError(
                f"{self.title}: found no letter among the listed tokens of {self.questions} "
                "questions, expected a prompt that asks for a letter, or more top_logprobs"
            )

    def report(self) -> None:
        """Print the cost, and the number of letters that are not listed."""
        print(
            f"{self.title}: asked {self.paid.describe(self.access.prices)}; {self.bounds} letters "
            f"are not listed; {self.without} of {self.questions} questions have no listed letter",
            file=sys.stderr,
        )

    def document(self, seconds: float) -> dict[str, Any]:
        """The content of --usage."""
        prices = self.access.prices
        return {
            "seconds": round(seconds, 1),
            "gpu_seconds": 0.0,
            "machines": [machine()],
            "python": platform.python_version(),
            "libraries": libraries(),
            "source": {"kind": "api", **self.job.api.model_dump(mode="json")},
            "asked": self.paid.document(prices),
            "answers": self.total.document(prices),
            "models": dict(sorted(self.models.items())),
            "unlisted_letters": self.bounds,
            "questions_without_letter": self.without,
        }


if __name__ == "__main__":
    program(main)
