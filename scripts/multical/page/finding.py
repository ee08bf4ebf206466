"""What a study finds, in sentences made from its numbers. The terminal and the page say the same.

A sentence names a direction only where all models go there, and gives the number of each model.
"""

from __future__ import annotations

from multical.config.schema import Config
from multical.errors import InputError
from multical.figures.params import Conditions
from multical.page import finding_answers, finding_base, finding_changes
from multical.page.contents import answered
from multical.page.finding_parts import Detail, Finding
from multical.workflow import job_params


def find(config: Config, root: str) -> Finding:
    """The finding of a study; raises `InputError` for an unknown study and for missing tables."""
    if root not in config.studies:
        raise InputError(f"{root}: no such study, expected one of {list(config.studies)}")
    if answered(config, root):
        return finding_answers.find(config, root)
    params = job_params.figure(config, root, Conditions)
    by_kind = finding_base if params.sft is None else finding_changes
    return by_kind.find(params)


def detail(config: Config, root: str) -> Detail | None:
    """How large the changes of paper 1 are, or what abstention gains in paper 2; None for neither.

    A study of base models alone has no changes, and one without splits no gains.
    """
    if answered(config, root):
        return finding_answers.detail(config, root)
    if config.measured(root).figures.sft is None:
        return None
    return finding_changes.detail(job_params.figure(config, root, Conditions))


def headline_figure(config: Config, root: str) -> str:
    """The name of the main figure."""
    return "accuracy_vs_auroc" if answered(config, root) else "ece_by_lang"
