# Figures and tables of paper 1, each with a sidecar that says where it came from.
#
# Needs  ROOT/metrics.csv, summary.csv, reliability.csv, reliability_by_lang.csv, culture.csv; for
#        the table of settings, what the jobs of inputs, train and score say of themselves
# Makes  ROOT/figures/NAME.pdf, .png and .json, of the benchmark and the SFT data that the
#        study's `figures` names; ROOT/tables/main.csv, .tex and .json
#        ROOT/figures/BENCHMARK.SFT/NAME.*, ROOT/tables/BENCHMARK.SFT/main.*, of any other
#        ROOT/tables/settings.csv, .tex and .json; ROOT/headline.txt, the study's result in a few lines

#: Each figure: the table that it is drawn from, and its parameters. One of a model is named by it.
FIGURES = {
    "ece_by_lang": (paths.METRICS, figure_params.ByLanguage),
    "confidence_vs_accuracy_shift": (paths.METRICS, figure_params.ByLanguage),
    "entropy_by_lang": (paths.METRICS, figure_params.Entropies),
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
    "effects_by_resource": (paths.MIXED_EFFECTS, figure_params.Conditions),
    "recalibration_transfer": (paths.RECALIBRATION, figure_params.ByLanguage),
}


wildcard_constraints:
    panel=optional_panel(),


# One rule a figure: plot_ece_by_lang runs scripts/plot_ece_by_lang.py, and so on. The table is
# an option of the program, called as its file.
for name, (table_file, schema) in FIGURES.items():
    program = f"plot_{name.removesuffix('.{model}')}"

    rule:
        name:
            program
        input:
            table_file,
        output:
            **figure(name),
        log:
            paths.log(f"{{root}}/{{panel}}plot_{name}"),
        benchmark:
            paths.timing(f"{{root}}/{{panel}}plot_{name}")
        localrule: True
        conda:
            "../envs/environment.yaml"
        params:
            settings=figure_settings(schema),
            code=code(program),
            # The command is filled in when a job runs, and no longer knows this turn of the loop.
            program=program,
            table=Path(table_file).stem,
        shell:
            r"""
            python scripts/{params.program:q}.py --{params.table:q} {input:q} --params {params.settings:q} \
                --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
                --sidecar {output.sidecar:q} >{log:q} 2>&1
            """


rule make_main_table:
    input:
        paths.SUMMARY,
    output:
        **table("main"),
    log:
        paths.log("{root}/{panel}make_main_table"),
    benchmark:
        paths.timing("{root}/{panel}make_main_table")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Panel),
        code=code("make_main_table"),
    shell:
        r"""
        python scripts/make_main_table.py --summary {input:q} --params {params.settings:q} \
            --code {params.code:q} --csv {output.csv:q} --tex {output.tex:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


# Its inputs are hundreds in a large study: the program finds them by the names in its settings.
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
        settings=lambda w: canonical(job_params.settings_table(CONFIG, w.root)),
        code=code("make_settings_table"),
    shell:
        r"""
        python scripts/make_settings_table.py --params {params.settings:q} \
            --code {params.code:q} --csv {output.csv:q} --tex {output.tex:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule write_headline:
    input:
        summary=paths.SUMMARY,
        products=figures_and_tables,
        parts=headlines_of_parts,
    output:
        paths.HEADLINE,
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
        settings=lambda w: canonical(
            job_params.figure(CONFIG, w.root, figure_params.Conditions)
        ),
        code=code("write_headline"),
    shell:
        r"""
        python scripts/write_headline.py --summary {input.summary:q} \
            --params {params.settings:q} --parts {input.parts:q} --output {output:q} \
            >{log:q} 2>&1
        """
