# What the rules of study 2 (msp.smk) share: the settings, tables and figures of a study, whether
# from released outputs (kind `released`) or from own runs (kind `chat_confidence`).
#
# Needs  `study(root)`, the validated config of the study at `root`, `canonical(value)`, CONFIG

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
#: Those of own runs, which have the logits of all letters.
OWN_FIGURES = ["accuracy_vs_auroc_margin_entropy", "score_vs_threshold_margin_entropy"]
#: The methods of the main figures, and of those of OWN_FIGURES.
MAIN, OWN = ("msp", "maxlogit"), ("margin", "entropy")


def answers_of(w):
    """The records of a study."""
    one = study(w.root)
    if one.kind == "released":
        return [f"{w.root}/records/released.parquet"]
    return [
        f"{w.root}/records/{run}/{benchmark}.parquet"
        for run, benchmark in studies.scored(one)
    ]


def msp_methods(root, among=(*MAIN, *OWN)):
    """The confidences of a study that any of its models has, as its programs call them."""
    one = study(root)
    if one.kind == "released":
        wanted = MAIN
    else:
        wanted = [name.replace("_", "") for name in one.confidences]
    if not any(model["max_logit"] for model in msp_models(root)):
        wanted = [name for name in wanted if name != "maxlogit"]
    return [name for name in wanted if name in among]


def msp_models(root):
    """The models of a study as its programs take them; `file` is the run in the records."""
    one = study(root)
    if one.kind == "released":
        return [model.model_dump() for model in one.models]
    return [
        {
            "file": model.run,
            "name": model.name,
            "size": model.size,
            # an API tells probabilities alone
            "max_logit": not job_params.is_behind_api(CONFIG, root, model.run),
        }
        for model in one.models
    ]


def msp_datasets(one):
    """The data sets of a study as its programs take them."""
    if one.kind == "released":
        return [
            dataset.model_dump() | {"benchmark": dataset.id, "language": "en"}
            for dataset in one.datasets
        ]
    keys = {"id", "name", "benchmark", "language"}
    return [dataset.model_dump(include=keys) for dataset in one.datasets]


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
    one = study(root)
    known = {
        "models": msp_models(root),
        "datasets": msp_datasets(one),
        "methods": msp_methods(root),
        "significance": one.significance,
        "bins": one.bins,
        "replicates": one.bootstrap.replicates,
        "level": one.bootstrap.level,
        "bootstrap_seed": one.bootstrap.seed,
        "seed": one.abstention.seed,
        "seeds": one.abstention.seeds,
        "ks": one.abstention.ks,
        "main_k": one.abstention.main_k,
        "schemes": one.abstention.schemes,
        "grid": one.abstention.grid,
    }
    if one.kind == "released":
        known |= {"prompts": one.prompts, **one.source.model_dump()}
        known["error"] = "calibration_error"  # of generation v2
    else:
        known["error"] = "calibration_error_cells"  # of v4
    return {"study": root} | {key: known[key] for key in ("models", "datasets", *keys)}


def msp_figure_params(among=None, keys=()):
    """A figure's parameters, with `keys`, and the methods that it shows of those in `among`.

    `w.scope` is empty for all data sets, or a dot and one's id.
    """

    def settings(w):
        methods = {"methods": msp_methods(w.root, among)} if among else {}
        dataset = w.get("scope", "").lstrip(".") or "all"
        return canonical(msp_settings(w.root, keys) | methods | {"dataset": dataset})

    return settings


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
            "study": w.root,  # one may lie inside of another, whose report has both
            "figure": readable(name),
            "data set": w.get("scope", "").lstrip(".") or "all",
        },
    )
    return [f"{stem}.pdf", shown, f"{stem}.json"]


def msp_products(root):
    """Every table and figure of the study at `root`."""
    scopes = ["", *(f".{dataset.id}" for dataset in study(root).datasets)]
    own = OWN_FIGURES if msp_methods(root, OWN) else []
    figures = [f"{name}{scope}" for name in [*MSP_FIGURES, *own] for scope in scopes]
    figures += ["dataset_bars"] + ["prompts"] * (study(root).kind == "chat_confidence")
    return [
        *(f"{root}/tables/{name}.csv" for name in MSP_TABLES),
        *(f"{root}/figures/{name}.pdf" for name in figures),
    ]


def shown_prompts(root):
    """The multiple-choice prompts of a study, with their headings in the language of its first data set."""
    one = study(root)
    prompts = [
        scoring_params.prompt(CONFIG, name, [one.datasets[0].language])
        for name in one.scoring.prompts
    ]
    return [
        prompt.model_dump(exclude={"cloze"}, exclude_defaults=True)
        for prompt in prompts
    ]


def shown_questions(w):
    """The benchmark of a study's first data set."""
    return f"results/inputs/benchmarks/{study(w.root).datasets[0].benchmark}.parquet"
