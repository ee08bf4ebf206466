# Figures and tables of paper 1, each with a sidecar that says where it came from.
#
# Needs  the tables of rules/metrics.smk; for the table of settings, the manifests and usage of the
#        jobs in inputs.smk, train.smk and score.smk; for the figure of trainings, their loss logs
# Makes  ROOT/figures/NAME.pdf, .png and .json, and ROOT/tables/NAME.csv, .tex and .json, of the
#        benchmark and SFT data that the study's `figures` names
#        ROOT/figures/BENCHMARK.SFT/NAME.*, ROOT/tables/BENCHMARK.SFT/NAME.*, of all others
#        ROOT/tables/settings.csv, .tex and .json, ROOT/figures/training.pdf, .png and .json
#        ROOT/headline.txt, the study's result in a few lines

#: Each figure: the tables that it is drawn from, and its parameters. `.{model}` ends the names of
#: figures that each model has.
FIGURES = {
    "ece_by_lang": (paths.METRICS, figure_params.NamedByLanguage),
    "confidence_vs_accuracy_shift": (paths.METRICS, figure_params.ByLanguage),
    "gap_vs_accuracy": (paths.METRICS, figure_params.ByLanguageAndGuess),
    "entropy_by_lang": (paths.METRICS, figure_params.NamedByLanguageAndGuess),
    "reliability": (paths.RELIABILITY, figure_params.ConditionsAndGuess),
    "reliability_by_lang.{model}": (
        paths.RELIABILITY_BY_LANG,
        figure_params.ModelConditions,
    ),
    "smoothing_sweep": (paths.SUMMARY, figure_params.Guess),
    "ece_by_resource": (paths.SUMMARY, figure_params.Panel),
    "conditions_by_resource": (paths.SUMMARY, figure_params.Guess),
    "culture": (paths.CULTURE, figure_params.ConditionsAndGuess),
    "effects_by_lang.{model}": (paths.EFFECTS, figure_params.ModelByLanguage),
    "effects_by_resource": (paths.EFFECTS_OVER_LANGUAGES, figure_params.Conditions),
    "ece_vs_fertility": ([paths.METRICS, paths.FERTILITY], figure_params.ByLanguage),
    "recalibration_transfer": (paths.RECALIBRATION, figure_params.ByLanguage),
    "temperatures_by_lang": (paths.TEMPERATURES, figure_params.NamedByLanguage),
}
#: Each table: the tables that it is made from, and its parameters.
TABLES = {
    "main": ([paths.SUMMARY], figure_params.Panel),
    "decomposition": ([paths.SUMMARY], figure_params.Panel),
    "p_values": (
        [paths.EFFECTS, paths.EFFECTS_OVER_LANGUAGES],
        figure_params.Conditions,
    ),
    "recalibration": ([paths.RECALIBRATION], figure_params.Reference),
    "selective": ([paths.SUMMARY, paths.METRICS], figure_params.ByLanguage),
}


wildcard_constraints:
    panel=optional_panel(),


# The rule plot_ece_by_lang runs scripts/plot_ece_by_lang.py, and so on. The program's options have
# the names of the tables' files.
for name, (sources, schema) in FIGURES.items():
    sources = [sources] if isinstance(sources, str) else sources
    inputs = {Path(source).stem: of_possible(name, source) for source in sources}
    make_rule(f"plot_{name}", inputs, figure(name), figure_settings(schema))
for name, (sources, schema) in TABLES.items():
    inputs = {Path(source).stem: of_possible(name, source) for source in sources}
    make_rule(f"make_{name}_table", inputs, table(name), figure_settings(schema))


# As below, the program finds its inputs by the names in its settings, which may be long.
rule plot_training:
    input:
        lambda w: job_params.loss_logs(CONFIG, w.root),
        **STYLES,
    output:
        **figure("training", panel=""),
    log:
        paths.log("{root}/plot_training"),
    benchmark:
        paths.timing("{root}/plot_training")
    wildcard_constraints:
        root=roots("multilingual"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=settings_of(job_params.training_figure),
        code=code("plot_training"),
    shell:
        command(
            "plot_training",
            STYLES,
            figure("training"),
            CODE,
            piped="params.settings",
        )
        + " >{log:q} 2>&1"


# A large study has hundreds of inputs here, so the program finds them by the names in its settings.
rule make_settings_table:
    input:
        lambda w: job_params.settings_files(CONFIG, w.root),
    output:
        **table("settings", paths.STUDY_TABLE, lambda label, kind="of": {kind: label}),
    log:
        paths.log("{root}/make_settings_table"),
    benchmark:
        paths.timing("{root}/make_settings_table")
    wildcard_constraints:
        root=roots("multilingual"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=settings_of(job_params.settings_table),
        code=code("make_settings_table"),
    shell:
        command(
            "make_settings_table",
            [],
            ["csv", "tex", "sidecar"],
            CODE,
            piped="params.settings",
        )
        + " >{log:q} 2>&1"


rule write_headline:
    input:
        summary=paths.SUMMARY,
        products=figures_and_tables,
        parts=headlines_of_parts,
    output:
        output=paths.HEADLINE,
    log:
        paths.log("{root}/write_headline"),
    benchmark:
        paths.timing("{root}/write_headline")
    wildcard_constraints:
        root=one_of(MEASURED),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=settings_of(job_params.figure, figure_params.Conditions),
        code=code("write_headline"),
    shell:
        command("write_headline", ["summary", "parts"], ["output"]) + " >{log:q} 2>&1"
