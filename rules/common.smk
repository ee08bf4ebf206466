# Functions that the rules share: the inputs, outputs and settings of jobs.
#
# Needs  CONFIG, CLAIMS and SITE, the validated config, claims and cluster's values (Snakefile)


def study(root):
    """The validated study whose results lie under `root`."""
    return CONFIG.studies[root]


def one_of(names):
    """A wildcard constraint that matches any of the names, and nothing if there are none."""
    return "|".join(map(re.escape, sorted(names, reverse=True))) or "(?!)"


def optional(part):
    """A wildcard constraint that matches a part of a name or nothing."""
    return f"({re.escape(part)})?"


def one_of_parts(names, divided, part):
    """A wildcard constraint that matches the names; only names in `divided` may precede `part`."""
    return f"({one_of(names)})(?!{re.escape(part)})|({one_of(divided)})"


def one_of_runs(runs, folder="runs"):
    """A constraint of the wildcard `root` that matches studies, each only with its given runs."""
    return (
        "|".join(
            f"{re.escape(root)}(?=/{folder}/({one_of(names)})/)"
            for root, names in runs.items()
        )
        or "(?!)"
    )


#: The studies with metrics by language: of paper 1, of harness runs, and of models behind APIs.
MEASURED = [
    root
    for root, one in CONFIG.studies.items()
    if one.kind not in ("released", "chat_confidence")
]


def roots(*kinds):
    """A wildcard constraint that matches the roots of the studies of some kinds."""
    return one_of(root for root, one in CONFIG.studies.items() if one.kind in kinds)


def scored_roots(kind, api):
    """A constraint of `root`: studies of a kind, and `chat_confidence` studies with some runs.

    With `api`, these are the runs behind an API, else all other runs.
    """
    runs = {
        root: [
            name
            for name in one.by_run
            if job_params.is_behind_api(CONFIG, root, name) == api
        ]
        for root, one in CONFIG.studies.items()
        if one.kind == "chat_confidence"
    }
    runs = {root: names for root, names in runs.items() if names}
    return "|".join([roots(kind), one_of_runs(runs, "records")])


def sharded_roots():
    """A constraint of `root`: the studies that score a benchmark in more than one job."""
    return one_of(
        root
        for root, one in CONFIG.studies.items()
        if one.kind == "multilingual" and one.scoring.languages_per_job
    )


@functools.cache
def check_questions(root):
    """Check once for all jobs that the local files of a study's questions suffice."""
    question_checks.check(CONFIG, root)


def checked(w, path):
    """A file of a study that scores models, if its local files of questions suffice."""
    check_questions(w.root)
    return path


def questions_of(w):
    """The benchmark that a job scores."""
    return checked(w, paths.BENCHMARK.format(benchmark=w.benchmark))


def fewshot_of(w, records):
    """The few-shot examples that a job shows, which makes `records`."""
    made = records.format(**w)
    return scoring_params.fewshot_file(CONFIG, w.root, w.benchmark, made)


@functools.cache
def training(root, run):
    """The settings of a training, on which its scratch folder depends, too."""
    return canonical(job_params.training(CONFIG, root, run))


@functools.cache
def scoring(root, run, benchmark, shard):
    """The settings of a scoring, on which its scratch folder depends, too."""
    return canonical(scoring_params.scoring(CONFIG, root, run, benchmark, shard))


def base_manifest(w):
    """The manifest of the base model that a run starts from."""
    model = job_params.run(CONFIG, w.root, w.run).model
    return paths.MODEL_MANIFEST.format(model=model)


def scored_manifest(w):
    """The manifest of the base model or SFT run that is scored."""
    if job_params.run(CONFIG, w.root, w.run).sft is None:
        return paths.MODEL_MANIFEST.format(model=w.run)
    trainer = job_params.trainer(CONFIG, w.root, w.run)
    return paths.RUN_MANIFEST.format(root=trainer, run=w.run)


def tuned_checkpoint(w):
    """The checkpoint of an SFT run, which may be temporary; none for a base model."""
    if job_params.run(CONFIG, w.root, w.run).sft is None:
        return []
    trainer = job_params.trainer(CONFIG, w.root, w.run)
    return weights(paths.RUN_CHECKPOINT.format(root=trainer, run=w.run))


def weights(checkpoint):
    """A checkpoint as an input whose time does not count.

    A copy of the folder has another time. The manifest, another input, has the files' digests.
    """
    return ancient(checkpoint)


def kept(checkpoint):
    """A checkpoint as an output, which is temporary if the config does not keep checkpoints."""
    return checkpoint if CONFIG.keep_checkpoints else temp(checkpoint)


def trial_weights(w):
    """The checkpoints of the trials for a run."""
    return [weights(checkpoint) for checkpoint in trial_files(paths.RUN_CHECKPOINT)(w)]


def trial_files(path):
    """An input function: the files of the trials for a job's model and SFT data."""
    return lambda w: [path.format(root=w.root, run=trial.id) for trial in own_trials(w)]


def own_trials(w):
    """The trials for a run, or for a model and SFT data."""
    one = job_params.run(CONFIG, w.root, w.run) if hasattr(w, "run") else w
    return job_params.trials_of(CONFIG, w.root, one.model, one.sft)


def shard_files(path):
    """An input function: the files of the shards of a run on a benchmark."""
    return lambda w: [
        path.format(root=w.root, run=w.run, benchmark=w.benchmark, shard=shard)
        for shard in scoring_params.shards(CONFIG, w.root, w.benchmark)
    ]


def all_records(w):
    """The records of a study."""
    return [
        paths.RECORDS.format(root=w.root, run=run, benchmark=benchmark)
        for run, benchmark in studies.scored(CONFIG.measured(w.root))
    ]


def labelled_records(w):
    """The records of benchmarks that label culture.

    If none does, all records, so that the program can refuse them.
    """
    found = [
        paths.RECORDS.format(root=w.root, run=run, benchmark=benchmark)
        for run, benchmark in studies.scored(CONFIG.measured(w.root))
        if job_params.labelled(CONFIG, w.root, benchmark)
    ]
    return found or all_records(w)


def panels(root):
    """The panels of a study by the folder in the path of their figures, and what each shows."""
    if study(root).kind in ("released", "chat_confidence"):
        return msp_params.panels(CONFIG, root)
    return job_params.panels(CONFIG, root)


def optional_panel():
    """A constraint of the wildcard `panel`: the folder of a panel, or nothing."""
    names = {panel for root in CONFIG.studies for panel in panels(root)}
    return f"({one_of(names - {''})})?"


def report_labels(label, kind="of"):
    """A function of wildcards: the report's labels of a figure, table or sidecar."""

    def labels(w):
        name = f"{label} {w.model}" if "model" in w.keys() else label
        data = panels(w.root)[w.get("panel", "")]
        if isinstance(data, str):
            return {"study": w.root, kind: name, "data set": data}
        benchmark, sft = data
        return {kind: name, "benchmark": benchmark, "SFT data": sft or "none"}

    return labels


def figure(name, panel="{panel}", category="Figures"):
    """The files of a figure. If there is one for each model, its name ends with `.{model}`.

    The screen version and the sidecar go into the report. The forms are those of `figures.formats`.
    """
    stem = paths.FIGURE.replace("{panel}", panel).replace("{name}", name)
    name = name.removesuffix(".{model}")
    label = captions.readable(name)
    screen = report(
        f"{stem}.png",
        caption=f"../report/{name}.rst",
        category=category,
        labels=report_labels(label, "figure"),
    )
    sidecar = report(f"{stem}.json", category="Provenance", labels=report_labels(label))
    files = {form: f"{stem}.{form}" for form in CONFIG.figures.formats}
    return files | {"png": screen, "sidecar": sidecar}


def table(name, pattern=paths.TABLE, labels=report_labels):
    """The files of a table. All but the LaTeX go into the report.

    `labels` gives the report's labels, as `report_labels` does.
    """
    stem, label = pattern.replace("{name}", name), captions.readable(name)
    csv = report(
        f"{stem}.csv",
        caption=f"../report/{name}_table.rst",
        category="Tables",
        labels=labels(label, "table"),
    )
    sidecar = report(
        f"{stem}.json", category="Provenance", labels=labels(f"{label} table")
    )
    return {"csv": csv, "tex": f"{stem}.tex", "sidecar": sidecar}


def figures(*names, panel="{panel}"):
    """The files of the figures of paper 2 that one job draws."""
    drawn = [figure(name, panel=panel, category="Paper 2") for name in names]
    return {form: [one[form] for one in drawn] for form in drawn[0]}


def tables(*names):
    """The files of the tables of paper 2 that one job computes."""
    forms = {"csv": "csv", "tex": "tex", "sidecar": "json"}
    return {
        form: [paths.STUDY_TABLE.replace("{name}", f"{name}.{end}") for name in names]
        for form, end in forms.items()
    }


def study_table(name):
    """A table of a study as a whole."""
    return paths.STUDY_TABLE.replace("{name}", f"{name}.csv")


def settings_of(function, *more):
    """A function of wildcards: a job's settings, which `function` computes for a study."""
    return lambda w: canonical(function(CONFIG, w.root, *more))


#: The styles of all figures, as an input
STYLES = {
    "style": lambda w: [
        paths.STYLE,
        *own_files.named("figures.style", CONFIG.figures.style),
    ]
}

#: The option of programs that write the code's fingerprint into sidecars
CODE = "--code {params.code:q}"


def command(program, inputs, outputs, *more, piped="input.records"):
    """The command of a program whose options have the names of the rule's inputs and outputs.

    The program reads the words of `piped` from its standard input, since a study may have more
    runs than a command line takes.
    """
    fields = {"--params": "params.settings"}
    fields |= {option(name): f"input.{name}" for name in inputs}
    words = [
        f"{name} {'-' if field == piped else f'{{{field}:q}}'}"
        for name, field in fields.items()
    ]
    words += [f"{option(name)} {{output.{name}:q}}" for name in outputs]
    listed = f"printf '%s\\n' {{{piped}:q}} | " if piped in fields.values() else ""
    return f"{listed}python scripts/{program}.py {' '.join([*words, *more])}"


# This function makes the rules that differ in their files alone, from tables of jobs. A loop would
# not do: Snakemake puts a shell command together when the job runs, with the last loop's values.
def make_rule(name, inputs, outputs, settings, options=(CODE,), threads=1, root=None):
    """Make a rule. Its program has the rule's name, but for `.{model}` or `_margin_entropy`.

    Programs that use more than one core do so by processes of one thread each.
    """
    program = name.removesuffix(".{model}").removesuffix("_margin_entropy")
    panel = "{panel}" if "{panel}" in str(outputs) else ""
    inputs = inputs | STYLES if "pdf" in outputs else inputs

    rule:
        name:
            name.removesuffix(".{model}")
        input:
            **inputs,
        output:
            **outputs,
        log:
            paths.log(f"{{root}}/{panel}{name}"),
        benchmark:
            paths.timing(f"{{root}}/{panel}{name}")
        wildcard_constraints:
            root=root or one_of(CONFIG.studies),
        localrule: not SITE.submits(name)
        conda:
            "../envs/environment.yaml"
        threads: threads
        params:
            settings=settings,
            code=code(program),
        shell:
            f"export OMP_NUM_THREADS=1; {command(program, inputs, outputs, *options)}"
            " 2>&1 | tee {log:q}"


def figure_settings(schema):
    """A function of wildcards: the settings of the job that makes a figure or table."""
    return lambda w: canonical(
        job_params.figure(CONFIG, w.root, schema, w.panel, w.get("model"))
    )


def compared_figure(among):
    """A function of wildcards: the settings of a figure of paper 2 of the confidences `among`."""
    return lambda w: canonical(
        msp_params.compared_figure(CONFIG, w.root, w.get("panel", ""), among)
    )


def figures_and_tables(w):
    """The figures and tables of all panels of a study."""
    ends = {"figure": "pdf", "table": "csv"}
    return [f"{one.stem(w.root)}.{ends[one.form]}" for one in products(w.root)]


def products(root):
    """The figures and tables of a study, in the order of its page: those of a panel together."""
    if study(root).kind in ("released", "chat_confidence"):
        return [
            Product(form=form, name=name, panel=panel)
            for form, panel, name in msp_params.shown(CONFIG, root)
        ]
    job_params.check_products(CONFIG, root)
    made = []
    for panel, (benchmark, _) in job_params.panels(CONFIG, root).items():
        models = job_params.shown_models(CONFIG, root, benchmark)
        left_out = job_params.left_out(CONFIG, root, benchmark)
        made += [
            Product(form="figure", name=product(name), panel=panel, model=model)
            for name in FIGURES
            if product(name) not in left_out
            for model in (models if name.endswith(".{model}") else [None])
        ]
        made += [
            Product(form="table", name=name, panel=panel)
            for name in TABLES
            if name not in left_out
        ]
        if study(root).kind == "multilingual" and not panel:
            made.append(Product(form="figure", name="training"))
            made.append(Product(form="table", name="settings"))
    return made


def page_settings(w):
    """The settings of the page of a study."""
    return canonical(contents.job(CONFIG, w.root, products(w.root)))


def page_inputs(w):
    """The files that the page of a study is made from."""
    return contents.inputs(contents.job(CONFIG, w.root, products(w.root)))


def pages_of_parts(w):
    """The pages of the studies inside the folder of this one, to which its page has links."""
    return [paths.PAGE.format(root=part) for part in contents.parts(CONFIG, w.root)]


def product(name):
    """The name of a figure without its ending for one model."""
    return name.removesuffix(".{model}")


def of_possible(name, source):
    """An input function: a table, if the study can have the product that is made from it."""

    def table(w):
        job_params.check_products(CONFIG, w.root, [product(name)])
        return source.format(root=w.root)

    return table


def headlines_of_parts(w):
    """The headlines of the studies inside the folder of this one."""
    return [
        paths.HEADLINE.format(root=part) for part in job_params.parts(CONFIG, w.root)
    ]


def verdicts_of_parts(w):
    """The verdicts of the studies inside the folder of this one, on claims that it cannot show.

    Studies of paper 2 take none: those inside them show the same claims.
    """
    if study(w.root).kind in ("released", "chat_confidence"):
        return []
    return [
        paths.VERDICTS.format(root=part) for part in job_params.parts(CONFIG, w.root)
    ]


def claimed(w):
    """The settings of the verdicts on a study."""
    answered = study(w.root).kind in ("released", "chat_confidence")
    params = msp_params if answered else job_params
    return canonical(params.claims(CONFIG, w.root, CLAIMS))


def claimed_records(w):
    """The records of a study, of whatever kind."""
    if study(w.root).kind in ("released", "chat_confidence"):
        return msp_params.records(CONFIG, w.root)
    return all_records(w)


def release_manifest(w):
    """The file with the checksums of a study's released outputs, if it has one."""
    key, manifest = f"studies.{w.root}.source.manifest", study(w.root).source.manifest
    return own_files.named(key, manifest, paths.RELEASED_RECORDS.format(root=w.root))
