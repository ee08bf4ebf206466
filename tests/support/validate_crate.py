"""Validate an RO-Crate without a network: python validate_crate.py CRATE

For the environment of tests/requirements.txt: roc-validator wants other versions than multical.
The JSON-LD context is the one that `rocrate` ships, with the two names of 1.1 that it has moved.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import Any

import rocrate
from rocrate_validator import services
from rocrate_validator.models import Severity
from rocrate_validator.utils import http

CONTEXT = json.loads(resources.files(rocrate).joinpath("data/ro-crate.jsonld").read_text("utf-8"))
for name in ("ComputationalWorkflow", "FormalParameter"):
    CONTEXT["@context"][name] = f"https://bioschemas.org/{name}"


class Answer:
    """What the validator gets, whatever it asks the network for."""

    def __init__(self) -> None:
        self.status_code = 200
        self.headers = {"Content-Type": "application/ld+json"}
        self.text = json.dumps(CONTEXT)

    def json(self) -> Any:
        return CONTEXT


def main() -> None:
    http.HttpRequester.get = lambda *_, **__: Answer()
    settings = services.ValidationSettings(
        rocrate_uri=sys.argv[1],
        profile_identifier="provenance-run-crate",
        requirement_severity=Severity.REQUIRED,
    )
    found = services.validate(settings)
    for issue in found.get_issues():
        print(issue.check.identifier, issue.message, issue.violatingEntity)
    sys.exit(not found.passed())


if __name__ == "__main__":
    main()
