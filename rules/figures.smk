# Figures and tables of study 1, each with a sidecar that says where it came from.
#
# Needs  ROOT/metrics.csv, summary.csv, reliability.csv, reliability_by_lang.csv, culture.csv; for
#        the table of settings, what the jobs of inputs, train and score say of themselves
# Makes  ROOT/figures/NAME.pdf, .png and .json, of the benchmark and the SFT data that the
#        study's `figures` names; ROOT/tables/main.csv, .tex and .json
#        ROOT/figures/BENCHMARK.SFT/NAME.*, ROOT/tables/BENCHMARK.SFT/main.*, of any other
#        ROOT/tables/settings.csv, .tex and .json; ROOT/headline.txt, the study's result in a few lines

FIGURES = [
    "ece_by_lang",
    "confidence_vs_accuracy_shift",
    "reliability",
    "smoothing_sweep",
    "entropy_by_lang",
    "ece_by_resource",
    "conditions_by_resource",
    "effects_by_resource",
]


wildcard_constraints:
    panel=optional_panel(),


rule plot_ece_by_lang:
    input:
        paths.METRICS,
    output:
        **figure("ece_by_lang"),
    log:
        paths.log("{root}/{panel}plot_ece_by_lang"),
    benchmark:
        paths.timing("{root}/{panel}plot_ece_by_lang")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.ByLanguage),
        code=code("plot_ece_by_lang"),
    shell:
        r"""
        python scripts/plot_ece_by_lang.py --metrics {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_entropy_by_lang:
    input:
        paths.METRICS,
    output:
        **figure("entropy_by_lang"),
    log:
        paths.log("{root}/{panel}plot_entropy_by_lang"),
    benchmark:
        paths.timing("{root}/{panel}plot_entropy_by_lang")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Entropies),
        code=code("plot_entropy_by_lang"),
    shell:
        r"""
        python scripts/plot_entropy_by_lang.py --metrics {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_confidence_vs_accuracy_shift:
    input:
        paths.METRICS,
    output:
        **figure("confidence_vs_accuracy_shift"),
    log:
        paths.log("{root}/{panel}plot_confidence_vs_accuracy_shift"),
    benchmark:
        paths.timing("{root}/{panel}plot_confidence_vs_accuracy_shift")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.ByLanguage),
        code=code("plot_confidence_vs_accuracy_shift"),
    shell:
        r"""
        python scripts/plot_confidence_vs_accuracy_shift.py --metrics {input:q} \
            --params {params.settings:q} --code {params.code:q} --pdf {output.pdf:q} \
            --png {output.png:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_reliability:
    input:
        paths.RELIABILITY,
    output:
        **figure("reliability"),
    log:
        paths.log("{root}/{panel}plot_reliability"),
    benchmark:
        paths.timing("{root}/{panel}plot_reliability")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.ConditionsAndGuess),
        code=code("plot_reliability"),
    shell:
        r"""
        python scripts/plot_reliability.py --reliability {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_smoothing_sweep:
    input:
        paths.SUMMARY,
    output:
        **figure("smoothing_sweep"),
    log:
        paths.log("{root}/{panel}plot_smoothing_sweep"),
    benchmark:
        paths.timing("{root}/{panel}plot_smoothing_sweep")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Guess),
        code=code("plot_smoothing_sweep"),
    shell:
        r"""
        python scripts/plot_smoothing_sweep.py --summary {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_ece_by_resource:
    input:
        paths.SUMMARY,
    output:
        **figure("ece_by_resource"),
    log:
        paths.log("{root}/{panel}plot_ece_by_resource"),
    benchmark:
        paths.timing("{root}/{panel}plot_ece_by_resource")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Panel),
        code=code("plot_ece_by_resource"),
    shell:
        r"""
        python scripts/plot_ece_by_resource.py --summary {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_conditions_by_resource:
    input:
        paths.SUMMARY,
    output:
        **figure("conditions_by_resource"),
    log:
        paths.log("{root}/{panel}plot_conditions_by_resource"),
    benchmark:
        paths.timing("{root}/{panel}plot_conditions_by_resource")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Guess),
        code=code("plot_conditions_by_resource"),
    shell:
        r"""
        python scripts/plot_conditions_by_resource.py --summary {input:q} \
            --params {params.settings:q} --code {params.code:q} --pdf {output.pdf:q} \
            --png {output.png:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_reliability_by_lang:
    input:
        paths.RELIABILITY_BY_LANG,
    output:
        **figure("reliability_by_lang", ".{model}"),
    log:
        paths.log("{root}/{panel}plot_reliability_by_lang.{model}"),
    benchmark:
        paths.timing("{root}/{panel}plot_reliability_by_lang.{model}")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.ModelConditions),
        code=code("plot_reliability_by_lang"),
    shell:
        r"""
        python scripts/plot_reliability_by_lang.py --reliability_by_lang {input:q} \
            --params {params.settings:q} --code {params.code:q} --pdf {output.pdf:q} \
            --png {output.png:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
        """


rule plot_culture:
    input:
        paths.CULTURE,
    output:
        **figure("culture"),
    log:
        paths.log("{root}/{panel}plot_culture"),
    benchmark:
        paths.timing("{root}/{panel}plot_culture")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.ConditionsAndGuess),
        code=code("plot_culture"),
    shell:
        r"""
        python scripts/plot_culture.py --culture {input:q} \
            --params {params.settings:q} --code {params.code:q} --pdf {output.pdf:q} \
            --png {output.png:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
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
