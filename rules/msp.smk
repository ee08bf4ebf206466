# Paper 2: from per-question answers to every table and figure.
#
# Needs  for kind `released`, the authors' outputs: the path in the environment variable that
#        `source.variable` names, else `source.archive` of the study, else a download of the pinned
#        commit; each file's SHA-256 is in `source.manifest`, else the content of local files counts
#        for kind `chat_confidence`, ROOT/records/RUN/BENCHMARK.parquet of all runs and benchmarks,
#        and results/inputs/benchmarks/BENCHMARK.parquet of the first one, for the figure of prompts
# Makes  ROOT/records/released.parquet  records, with a summary of the import beside them (.json)
#        ROOT/tables/NAME.csv           full precision, with LaTeX (.tex) and a sidecar (.json)
#        ROOT/figures/NAME.pdf          all data sets together, with a .png and a sidecar (.json)
#        ROOT/figures/DATASET/NAME.pdf  one data set
#        ROOT/headline.txt              the result in a few lines, once all else is made
#        ROOT/tables/verification.csv   the published numbers against ours, if the study names the
#                                       file with the published numbers (`msp_v2_verify`)
#
# Margin and entropy (figure 15 of the paper) need the logits of all options, which v2 did not
# release. Kind `chat_confidence` has them in its tables and in additional figures. The prompts
# (figure 19) are known only for our own runs.


rule msp_v2:
    input:
        lambda w: msp_params.products(CONFIG, "results/msp_v2"),


rule msp_v2_verify:
    input:
        paths.STUDY_TABLE.format(root="results/msp_v2", name="verification.csv"),


rule import_released:
    input:
        manifest=lambda w: study(w.root).source.manifest or [],
        answers=unlisted_files,
    output:
        records=paths.RELEASED_RECORDS,
        summary=paths.RELEASED_SUMMARY,
    log:
        paths.log("{root}/import_released"),
    benchmark:
        paths.timing("{root}/import_released")
    wildcard_constraints:
        root=roots("released"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=settings_of(msp_params.release),
        code=code("import_released"),
    shell:
        command("import_released", ["manifest"], ["records", "summary"], CODE)
        + " 2>{log:q}"


ANSWERS = {"records": lambda w: msp_params.records(CONFIG, w.root)}
PAPER_2 = ["released", "chat_confidence"]

#: Each job: its inputs and outputs, by option of its program, and its settings.
COMPARED = {
    "compute_msp_auroc": (
        ANSWERS,
        tables("auroc", "mann_whitney", "cells", "datasets", "one_sample"),
        settings_of(msp_params.auroc),
    ),
    "compute_msp_intervals": (
        ANSWERS,
        tables("intervals"),
        settings_of(msp_params.intervals),
    ),
    "compute_msp_calibration": (
        ANSWERS,
        tables("calibration", "platt") | {"curves": study_table("calibration_curves")},
        settings_of(msp_params.calibration),
    ),
    "compute_msp_abstention": (
        ANSWERS,
        tables("scores", "abstention", "thresholds")
        | {"curves": study_table("score_curves")},
        settings_of(msp_params.abstention),
    ),
    "compute_msp_changes": (
        ANSWERS
        | {"before_records": lambda w: msp_params.compared_records(CONFIG, w.root)},
        tables(*msp_params.CHANGES),
        settings_of(msp_params.changes),
    ),
    "compute_msp_correlations": (
        {"cells": study_table("cells"), "calibration": study_table("calibration")},
        tables("correlations", "points"),
        settings_of(msp_params.compared),
    ),
    "plot_msp_calibration": (
        {
            "curves": study_table("calibration_curves"),
            "points": study_table("points"),
        },
        figures(
            "calibration",
            "calibration_platt",
            "accuracy_vs_calibration",
            "accuracy_vs_calibration_platt",
        ),
        lambda w: canonical(msp_params.calibration_figure(CONFIG, w.root, w.panel)),
    ),
    "plot_msp_auroc": (
        {"points": study_table("points")},
        figures(
            "accuracy_vs_auroc",
            "size_vs_auroc",
            "accuracy_vs_auroc_by_phrasing",
            "size_vs_auroc_by_phrasing",
        ),
        compared_figure(msp_params.MAIN),
    ),
    "plot_msp_auroc_margin_entropy": (
        {"points": study_table("points")},
        figures("accuracy_vs_auroc_margin_entropy"),
        compared_figure(msp_params.OWN),
    ),
    "plot_msp_abstention": (
        {"curves": study_table("score_curves"), "scores": study_table("scores")},
        figures("score_vs_threshold", "score_vs_k"),
        compared_figure(msp_params.MAIN),
    ),
    "plot_msp_abstention_margin_entropy": (
        {"curves": study_table("score_curves"), "scores": study_table("scores")},
        figures("score_vs_threshold_margin_entropy"),
        compared_figure(msp_params.OWN),
    ),
    "plot_msp_datasets": (
        {"datasets": study_table("datasets")},
        figures("dataset_bars", panel=""),
        compared_figure(msp_params.ALL),
    ),
    "plot_msp_prompts": (
        {
            "questions": lambda w: paths.BENCHMARK.format(
                benchmark=msp_params.shown_benchmark(CONFIG, w.root)
            )
        },
        figures("prompts", panel=""),
        settings_of(msp_params.prompts_figure),
    ),
}

#: The jobs that need the logits of all letters, or our prompts
OWN = [
    "plot_msp_auroc_margin_entropy",
    "plot_msp_abstention_margin_entropy",
    "plot_msp_prompts",
]

#: The studies that are compared with another one
CHANGED = [
    root
    for root, one in CONFIG.studies.items()
    if one.kind in PAPER_2 and one.compared_with
]
#: The studies of a job, if not all of paper 2
ONLY = dict.fromkeys(OWN, roots("chat_confidence"))
ONLY["compute_msp_changes"] = one_of(CHANGED)


for job, (inputs, made, settings) in COMPARED.items():
    parallel = job == "compute_msp_intervals"
    make_rule(
        job,
        inputs,
        made,
        settings,
        [CODE, *["--threads {threads}"] * parallel],
        threads=2 if parallel else 1,
        root=ONLY.get(job, roots(*PAPER_2)),
    )


VERIFIED = (
    "auroc calibration correlations mann_whitney one_sample scores abstention".split()
)


rule verify_expected:
    input:
        expected=lambda w: study(w.root).expected,
        tables=[study_table(name) for name in VERIFIED],
    output:
        study_table("verification"),
    log:
        paths.log("{root}/verify_expected"),
    benchmark:
        paths.timing("{root}/verify_expected")
    wildcard_constraints:
        root=one_of(
            root
            for root, one in CONFIG.studies.items()
            if getattr(one, "expected", None)
        ),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        code=code("verify_expected"),
    shell:
        r"""
        python scripts/verify_expected.py --expected {input.expected:q} --tables {input.tables:q} \
            --report {output:q} 2>&1 | tee {log:q}
        """


rule write_msp_headline:
    input:
        auroc=study_table("auroc"),
        calibration=study_table("calibration"),
        intervals=study_table("intervals"),
        products=lambda w: msp_params.products(CONFIG, w.root),
        parts=headlines_of_parts,
    output:
        output=paths.HEADLINE,
    log:
        paths.log("{root}/write_msp_headline"),
    benchmark:
        paths.timing("{root}/write_msp_headline")
    wildcard_constraints:
        root=roots(*PAPER_2),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=settings_of(msp_params.headline),
        code=code("write_msp_headline"),
    shell:
        command(
            "write_msp_headline",
            ["auroc", "calibration", "intervals", "parts"],
            ["output"],
        )
        + " >{log:q} 2>&1"
