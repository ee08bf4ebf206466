# What the rules of study 2 (msp.smk) share: the settings, tables and figures of a study.
#
# Needs  `study(root)`, the validated config of the study at `root`, and `canonical(value)`

MSP_TABLES = [
    "auroc",
    "mann_whitney",
    "cells",
    "datasets",
    "one_sample",
    "intervals",
    "calibration",
    "platt",
    "correlations",
    "points",
    "scores",
    "abstention",
    "thresholds",
]
#: Figures that are drawn for all data sets and for each of them.
MSP_FIGURES = [
    "calibration",
    "calibration_platt",
    "accuracy_vs_calibration",
    "accuracy_vs_calibration_platt",
    "accuracy_vs_auroc",
    "size_vs_auroc",
    "accuracy_vs_auroc_by_phrasing",
    "size_vs_auroc_by_phrasing",
    "score_vs_threshold",
    "score_vs_k",
]


def unlisted_archive(w):
    """The local archive that a study is imported from, where no manifest tells of its content."""
    source = study(w.root).source
    given = os.environ.get("MSP_V2_ARCHIVE") or source.archive
    return [] if source.manifest or not given else given


def msp_params(*keys):
    """The parameters of a job: the study's models and data sets, and the settings `keys`."""
    return lambda w: canonical(msp_settings(w.root, keys))


def msp_settings(root, keys=()):
    """Settings of the study at `root` that a job uses, by their names in its program."""
    plan = study(root)
    known = {
        "models": [model.model_dump() for model in plan.models],
        "datasets": [dataset.model_dump() for dataset in plan.datasets],
        "prompts": plan.prompts,
        "archive": plan.source.archive,
        "repository": plan.source.repository,
        "commit": plan.source.commit,
        "folder": plan.source.folder,
        "significance": plan.significance,
        "bins": plan.bins,
        "replicates": plan.bootstrap.replicates,
        "level": plan.bootstrap.level,
        "bootstrap_seed": plan.bootstrap.seed,
        "seed": plan.abstention.seed,
        "seeds": plan.abstention.seeds,
        "ks": plan.abstention.ks,
        "main_k": plan.abstention.main_k,
        "schemes": plan.abstention.schemes,
        "grid": plan.abstention.grid,
    }
    return {"study": root} | {key: known[key] for key in ("models", "datasets", *keys)}


def msp_figure_params(w):
    """A figure's parameters: `w.scope` is empty for all data sets, or a dot and one's id."""
    return canonical(msp_settings(w.root) | {"dataset": w.scope.lstrip(".") or "all"})


def msp_table(name):
    """A table, its LaTeX and its sidecar."""
    return multiext(f"{{root}}/tables/{name}", ".csv", ".tex", ".json")


def msp_figure(name, scope="{scope}"):
    """A figure for print, for the screen (and the report), and its sidecar."""
    stem = f"{{root}}/figures/{name}{scope}"
    # Not within the list: there, a line that begins with `report` is taken for the directive.
    shown = report(
        f"{stem}.png",
        caption=f"../report/msp_{name}.rst",
        category="Study 2",
        labels=lambda w: {
            "figure": readable(name),
            "data set": w.get("scope", "").lstrip(".") or "all",
        },
    )
    return [f"{stem}.pdf", shown, f"{stem}.json"]


def msp_products(root):
    """Every table and figure of the study at `root`."""
    scopes = ["", *(f".{dataset.id}" for dataset in study(root).datasets)]
    figures = [f"{name}{scope}" for name in MSP_FIGURES for scope in scopes]
    return [
        *(f"{root}/tables/{name}.csv" for name in MSP_TABLES),
        *(f"{root}/figures/{name}.pdf" for name in [*figures, "dataset_bars"]),
    ]
