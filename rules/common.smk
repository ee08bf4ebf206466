# What the rules of all studies share: which files a job takes, and what it makes.
#
# Needs  CONFIG and CLAIMS, the validated config and claims (Snakefile)


def study(root):
    """The validated study whose results lie under `root`."""
    return CONFIG.studies[root]


def own_files(source):
    """The local files of a source of kind `file` or `folder`, so that their content counts."""
    if source.kind == "folder":
        return sorted(
            str(file) for file in Path(source.path).glob("*") if file.is_file()
        )
    return [source.path] if source.kind == "file" else []


def one_of(names):
    """Names as a constraint of a wildcard."""
    return "|".join(map(re.escape, sorted(names, reverse=True))) or "(?!)"


def one_of_runs(runs, folder="runs"):
    """Studies with some of their runs each, as a constraint of the wildcard `root`."""
    return (
        "|".join(
            f"{re.escape(root)}(?=/{folder}/({one_of(names)})/)"
            for root, names in runs.items()
        )
        or "(?!)"
    )


#: The studies with metrics by language: study 1, harness runs, models behind APIs.
MEASURED = [
    root for root, one in CONFIG.studies.items() if one.kind not in ("released", "chat_confidence")
]


def roots(*kinds):
    """The roots of the studies of some kinds, as a constraint of a wildcard."""
    return one_of(root for root, one in CONFIG.studies.items() if one.kind in kinds)


def scored_roots(kind, api):
    """Those of a kind, and those of study 2 with the runs that are behind an API, or are not."""
    runs = {
        root: [name for name in one.by_run if job_params.is_behind_api(CONFIG, root, name) == api]
        for root, one in CONFIG.studies.items()
        if one.kind == "chat_confidence"
    }
    runs = {root: names for root, names in runs.items() if names}
    return "|".join([roots(kind), one_of_runs(runs, "records")])


def sharded_roots():
    """The roots of the studies that score a benchmark in more than one job, likewise."""
    return one_of(
        root
        for root, one in CONFIG.studies.items()
        if one.kind == "multilingual" and one.scoring.languages_per_job
    )


def base_manifest(w):
    """The manifest of the base model that a run starts from."""
    return (
        f"results/inputs/models/{job_params.run(CONFIG, w.root, w.run).model}/manifest.json"
    )


def scored_manifest(w):
    """The manifest of what is scored: a base model, or an SFT run."""
    if job_params.run(CONFIG, w.root, w.run).sft is None:
        return f"results/inputs/models/{w.run}/manifest.json"
    return f"{job_params.trainer(CONFIG, w.root, w.run)}/runs/{w.run}/manifest.json"


def tuned_checkpoint(w):
    """The weights of an SFT run, which may be temporary; none for a base model."""
    if job_params.run(CONFIG, w.root, w.run).sft is None:
        return []
    return weights(f"{job_params.trainer(CONFIG, w.root, w.run)}/runs/{w.run}/checkpoint")


def weights(checkpoint):
    """A checkpoint as an input beside its manifest, which has the digests of its files.

    Of a folder Snakemake knows only a time, which a copy of it changes.
    """
    return ancient(checkpoint)


def kept(checkpoint):
    """A checkpoint as an output."""
    return checkpoint if CONFIG.keep_checkpoints else temp(checkpoint)


def trial_weights(w):
    """The checkpoints of the trials for a run."""
    return [weights(f"{w.root}/runs/{trial.id}/checkpoint") for trial in own_trials(w)]


def trial_files(name):
    """Files of the trials for the model and SFT data of a job's wildcards."""
    return lambda w: [f"{w.root}/runs/{trial.id}/{name}" for trial in own_trials(w)]


def own_trials(w):
    """The trials for a run, or for a model and SFT data."""
    one = job_params.run(CONFIG, w.root, w.run) if hasattr(w, "run") else w
    return job_params.trials_of(CONFIG, w.root, one.model, one.sft)


def shard_files(suffix):
    """Files of the shards of a run on a benchmark."""
    return lambda w: [
        f"{w.root}/records/{w.run}/{w.benchmark}{shard}.{suffix}"
        for shard in scoring_params.shards(CONFIG, w.root, w.benchmark)
    ]


def all_records(w):
    """The records of a study."""
    return [
        f"{w.root}/records/{run}/{benchmark}.parquet"
        for run, benchmark in studies.scored(CONFIG.measured(w.root))
    ]


def labelled_records(w):
    """Those of benchmarks that tell cultures apart; all where none does, to be refused."""
    found = [
        f"{w.root}/records/{run}/{benchmark}.parquet"
        for run, benchmark in studies.scored(CONFIG.measured(w.root))
        if job_params.labelled(CONFIG, w.root, benchmark)
    ]
    return found or all_records(w)


def optional_panel():
    """What a path has before a figure's name, as a constraint of a wildcard."""
    panels = {panel for root in MEASURED for panel in job_params.panels(CONFIG, root)}
    return f"({one_of(panels - {''})})?"


def shown(label, kind="of"):
    """What the report says of a figure or table, or of its sidecar: its name, and its data."""

    def labels(w):
        benchmark, sft = job_params.panels(CONFIG, w.root)[w.panel]
        name = f"{label} {w.model}" if "model" in w.keys() else label
        return {kind: name, "benchmark": benchmark, "SFT data": sft or "none"}

    return labels


def readable(name):
    """A figure's name as its readers write it."""
    words = {
        "ece": "ECE",
        "auroc": "AUROC",
        "platt": "(Platt)",
        "lang": "language",
        "vs": "against",
    }
    return " ".join(words.get(word, word) for word in name.split("_"))


def figure(name, part=""):
    """The files of a figure, or of one part of it.

    The screen version and the sidecar go into the report.
    """
    stem = f"{{root}}/figures/{{panel}}{name}{part}"
    label = readable(name)
    screen = report(
        f"{stem}.png",
        caption=f"../report/{name}.rst",
        category="Figures",
        labels=shown(label, "figure"),
    )
    told = report(f"{stem}.json", category="Provenance", labels=shown(label))
    return {"pdf": f"{stem}.pdf", "png": screen, "sidecar": told}


def product_settings(target, *keys):
    """The settings of the job that makes a figure or table, as a function of its wildcards."""

    def settings(w):
        path = target.format(**dict(w.items()))
        one = w.get("model")
        return job_params.figure(CONFIG, w.root, path, *keys, panel=w.panel, model=one)

    return lambda w: canonical(settings(w))


def figure_settings(name, *keys):
    """Those of a figure."""
    return product_settings(f"{{root}}/figures/{{panel}}{name}.pdf", *keys)


def figures_and_tables(w):
    """The figures (FIGURES, and more) and tables of all panels of a study."""
    made = []
    for panel, (benchmark, _) in job_params.panels(CONFIG, w.root).items():
        models = job_params.shown_models(CONFIG, w.root, benchmark)
        names = [*FIGURES, *(f"reliability_by_lang.{model}" for model in models)]
        names += [f"effects_by_lang.{model}" for model in models]
        names += ["culture"] * job_params.labelled(CONFIG, w.root, benchmark)
        names += ["recalibration_transfer"] * job_params.recalibrated(CONFIG, w.root)
        made += [f"{w.root}/figures/{panel}{name}.pdf" for name in names]
        tables = ["main", "p_values"]
        tables += ["recalibration"] * job_params.recalibrated(CONFIG, w.root)
        made += [f"{w.root}/tables/{panel}{name}.csv" for name in tables]
    if study(w.root).kind == "multilingual":
        made.append(f"{w.root}/tables/settings.csv")
    return made


def headlines_of_parts(w):
    """The headlines of the studies inside of this one."""
    return [f"{part}/headline.txt" for part in job_params.parts(CONFIG, w.root)]


def verdicts_of_parts(w):
    """The verdicts of the studies inside of this one, on claims that its own kind cannot show."""
    if study(w.root).kind == "chat_confidence":
        return []
    return [f"{part}/claims/verdicts.json" for part in job_params.parts(CONFIG, w.root)]


def claimed(w):
    """What the verdicts on a study depend on."""
    kind = study(w.root).kind
    if kind in ("released", "chat_confidence"):
        settings = msp_settings(w.root, ["bins"])
        settings["bootstrap"] = study(w.root).bootstrap.model_dump()
    else:
        settings = {"study": w.root} | job_params.metrics(CONFIG, w.root)
    return canonical({**settings, "kind": kind, **claims_schema.dumped(CLAIMS)})


def claimed_records(w):
    """The records of a study, of whatever kind."""
    if study(w.root).kind in ("released", "chat_confidence"):
        return answers_of(w)
    return all_records(w)
