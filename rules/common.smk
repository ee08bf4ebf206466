# What the rules of study 1, and of harness runs, share: which files a job takes, and what it makes.
#
# Needs  CONFIG, the validated config (Snakefile)


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


def one_of_runs(runs):
    """Studies with some of their runs each, as a constraint of the wildcard `root`."""
    return (
        "|".join(
            f"{re.escape(root)}(?=/runs/({one_of(names)})/)"
            for root, names in runs.items()
        )
        or "(?!)"
    )


def roots(kind):
    """The roots of the studies of a kind, as a constraint of a wildcard."""
    return one_of(root for root, one in CONFIG.studies.items() if one.kind == kind)


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
        f"results/inputs/models/{plan.run(CONFIG, w.root, w.run).model}/manifest.json"
    )


def scored_manifest(w):
    """The manifest of what is scored: a base model, or an SFT run."""
    if plan.run(CONFIG, w.root, w.run).sft is None:
        return f"results/inputs/models/{w.run}/manifest.json"
    return f"{w.root}/runs/{w.run}/manifest.json"


def tuned_checkpoint(w):
    """The weights of an SFT run, which may be temporary; none for a base model."""
    if plan.run(CONFIG, w.root, w.run).sft is None:
        return []
    return f"{w.root}/runs/{w.run}/checkpoint"


def all_records(w):
    """The records of a study."""
    return [
        f"{w.root}/records/{run}/{benchmark}.parquet"
        for run, benchmark in schema.scored(CONFIG.measured(w.root))
    ]


def figure(name):
    """The files of a figure; the screen version and the sidecar go into the report."""
    stem = f"{{root}}/figures/{name}"
    label = name.replace("_", " ")
    shown = report(
        f"{stem}.png",
        caption=f"../report/{name}.rst",
        category="Figures",
        labels={"figure": label},
    )
    told = report(f"{stem}.json", category="Provenance", labels={"of": label})
    return {"pdf": f"{stem}.pdf", "png": shown, "sidecar": told}


def figure_settings(name, *keys):
    """The settings of a figure's job, as a function of its wildcards."""
    return lambda w: canonical(
        plan.figure(CONFIG, w.root, f"{w.root}/figures/{name}.pdf", *keys)
    )
