# Paper 2: from per-question answers to every table and figure.
#
# Needs  of kind `released` the authors' outputs: $MSP_V2_ARCHIVE, else `source.archive` of the
#        study, else a download of the pinned commit; each file's SHA-256 is in `source.manifest`
#        of kind `chat_confidence` ROOT/records/RUN/BENCHMARK.parquet of all runs and benchmarks, and
#        results/inputs/benchmarks/BENCHMARK.parquet of the first, for the figure of prompts
# Makes  ROOT/records/released.parquet  records, and what was imported beside them (.json)
#        ROOT/tables/NAME.csv           full precision, with LaTeX (.tex) and a sidecar (.json)
#        ROOT/figures/NAME.pdf          all data sets together, with a .png and a sidecar (.json)
#        ROOT/figures/DATASET/NAME.pdf  one data set
#        ROOT/headline.txt              the result in a few lines, once all is made
#        ROOT/tables/verification.csv   the published numbers against ours, of a study that names
#                                       their file (`msp_v2_verify`)
#
# Margin and entropy (figure 15 of the study) need logits of all options, which v2 did not release:
# kind `chat_confidence` has them in the tables, and figures of their own. The study's prompts (figure 19) are
# known of own runs alone.


MSP_ROOTS = f"{roots('chat_confidence')}|{roots('released')}"


rule msp_v2:
    input:
        lambda w: msp_params.products(CONFIG, "results/msp_v2"),


rule msp_v2_verify:
    input:
        paths.STUDY_TABLE.format(root="results/msp_v2", name="verification.csv"),


rule import_released:
    input:
        manifest=lambda w: study(w.root).source.manifest or [],
        archive=unlisted_archive,
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
        settings=lambda w: canonical(msp_params.release(CONFIG, w.root)),
        code=code("import_released"),
    shell:
        r"""
        python scripts/import_released.py --params {params.settings:q} --code {params.code:q} \
            --manifest {input.manifest:q} --records {output.records:q} --summary {output.summary:q} 2>{log:q}
        """


rule compute_msp_auroc:
    input:
        lambda w: msp_params.records(CONFIG, w.root),
    output:
        **tables("auroc", "mann_whitney", "cells", "datasets", "one_sample"),
    log:
        paths.log("{root}/compute_msp_auroc"),
    benchmark:
        paths.timing("{root}/compute_msp_auroc")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(msp_params.auroc(CONFIG, w.root)),
        code=code("compute_msp_auroc"),
    shell:
        r"""
        python scripts/compute_msp_auroc.py --params {params.settings:q} --code {params.code:q} \
            --records {input:q} \
            --csv {output.csv:q} --tex {output.tex:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule compute_msp_intervals:
    input:
        lambda w: msp_params.records(CONFIG, w.root),
    output:
        **tables("intervals"),
    log:
        paths.log("{root}/compute_msp_intervals"),
    benchmark:
        paths.timing("{root}/compute_msp_intervals")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(msp_params.intervals(CONFIG, w.root)),
        code=code("compute_msp_intervals"),
    shell:
        r"""
        python scripts/compute_msp_intervals.py --params {params.settings:q} --code {params.code:q} \
            --records {input:q} --threads {threads} \
            --csv {output.csv:q} --tex {output.tex:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule compute_msp_calibration:
    input:
        lambda w: msp_params.records(CONFIG, w.root),
    output:
        **tables("calibration", "platt"),
        curves=study_table("calibration_curves"),
    log:
        paths.log("{root}/compute_msp_calibration"),
    benchmark:
        paths.timing("{root}/compute_msp_calibration")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(msp_params.calibration(CONFIG, w.root)),
        code=code("compute_msp_calibration"),
    shell:
        r"""
        python scripts/compute_msp_calibration.py --params {params.settings:q} --code {params.code:q} \
            --records {input:q} --curves {output.curves:q} \
            --csv {output.csv:q} --tex {output.tex:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule compute_msp_abstention:
    input:
        lambda w: msp_params.records(CONFIG, w.root),
    output:
        **tables("scores", "abstention", "thresholds"),
        curves=study_table("score_curves"),
    log:
        paths.log("{root}/compute_msp_abstention"),
    benchmark:
        paths.timing("{root}/compute_msp_abstention")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(msp_params.abstention(CONFIG, w.root)),
        code=code("compute_msp_abstention"),
    shell:
        r"""
        python scripts/compute_msp_abstention.py --params {params.settings:q} --code {params.code:q} \
            --records {input:q} --curves {output.curves:q} \
            --csv {output.csv:q} --tex {output.tex:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule compute_msp_correlations:
    input:
        cells=study_table("cells"),
        calibration=study_table("calibration"),
    output:
        **tables("correlations", "points"),
    log:
        paths.log("{root}/compute_msp_correlations"),
    benchmark:
        paths.timing("{root}/compute_msp_correlations")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(msp_params.compared(CONFIG, w.root)),
        code=code("compute_msp_correlations"),
    shell:
        r"""
        python scripts/compute_msp_correlations.py --params {params.settings:q} --code {params.code:q} \
            --cells {input.cells:q} --calibration {input.calibration:q} \
            --csv {output.csv:q} --tex {output.tex:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule plot_msp_calibration:
    input:
        curves=study_table("calibration_curves"),
        points=study_table("points"),
    output:
        **figures(
            "calibration",
            "calibration_platt",
            "accuracy_vs_calibration",
            "accuracy_vs_calibration_platt",
        ),
    log:
        paths.log("{root}/{panel}plot_msp_calibration"),
    benchmark:
        paths.timing("{root}/{panel}plot_msp_calibration")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(
            msp_params.calibration_figure(CONFIG, w.root, w.panel)
        ),
        code=code("plot_msp_calibration"),
    shell:
        r"""
        python scripts/plot_msp_calibration.py --params {params.settings:q} --code {params.code:q} \
            --curves {input.curves:q} --points {input.points:q} \
            --pdf {output.pdf:q} --png {output.png:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule plot_msp_auroc:
    input:
        study_table("points"),
    output:
        **figures(
            "accuracy_vs_auroc",
            "size_vs_auroc",
            "accuracy_vs_auroc_by_phrasing",
            "size_vs_auroc_by_phrasing",
        ),
    log:
        paths.log("{root}/{panel}plot_msp_auroc"),
    benchmark:
        paths.timing("{root}/{panel}plot_msp_auroc")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.MAIN)
        ),
        code=code("plot_msp_auroc"),
    shell:
        r"""
        python scripts/plot_msp_auroc.py --params {params.settings:q} --code {params.code:q} \
            --points {input:q} \
            --pdf {output.pdf:q} --png {output.png:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


use rule plot_msp_auroc as plot_msp_auroc_margin_entropy with:
    output:
        **figures("accuracy_vs_auroc_margin_entropy"),
    log:
        paths.log("{root}/{panel}plot_msp_auroc_margin_entropy"),
    benchmark:
        paths.timing("{root}/{panel}plot_msp_auroc_margin_entropy")
    wildcard_constraints:
        root=roots("chat_confidence"),
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.OWN)
        ),
        code=code("plot_msp_auroc"),


rule plot_msp_abstention:
    input:
        curves=study_table("score_curves"),
        scores=study_table("scores"),
    output:
        **figures("score_vs_threshold", "score_vs_k"),
    log:
        paths.log("{root}/{panel}plot_msp_abstention"),
    benchmark:
        paths.timing("{root}/{panel}plot_msp_abstention")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.MAIN)
        ),
        code=code("plot_msp_abstention"),
    shell:
        r"""
        python scripts/plot_msp_abstention.py --params {params.settings:q} --code {params.code:q} \
            --curves {input.curves:q} --scores {input.scores:q} \
            --pdf {output.pdf:q} --png {output.png:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


use rule plot_msp_abstention as plot_msp_abstention_margin_entropy with:
    output:
        **figures("score_vs_threshold_margin_entropy"),
    log:
        paths.log("{root}/{panel}plot_msp_abstention_margin_entropy"),
    benchmark:
        paths.timing("{root}/{panel}plot_msp_abstention_margin_entropy")
    wildcard_constraints:
        root=roots("chat_confidence"),
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.OWN)
        ),
        code=code("plot_msp_abstention"),


rule plot_msp_datasets:
    input:
        study_table("datasets"),
    output:
        **figures("dataset_bars", panel=""),
    log:
        paths.log("{root}/plot_msp_datasets"),
    benchmark:
        paths.timing("{root}/plot_msp_datasets")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, "", msp_params.ALL)
        ),
        code=code("plot_msp_datasets"),
    shell:
        r"""
        python scripts/plot_msp_datasets.py --params {params.settings:q} --code {params.code:q} \
            --datasets {input:q} \
            --pdf {output.pdf:q} --png {output.png:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule plot_msp_prompts:
    input:
        lambda w: paths.BENCHMARK.format(
            benchmark=msp_params.shown_benchmark(CONFIG, w.root)
        ),
    output:
        **figures("prompts", panel=""),
    log:
        paths.log("{root}/plot_msp_prompts"),
    benchmark:
        paths.timing("{root}/plot_msp_prompts")
    wildcard_constraints:
        root=roots("chat_confidence"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(msp_params.prompts_figure(CONFIG, w.root)),
        code=code("plot_msp_prompts"),
    shell:
        r"""
        python scripts/plot_msp_prompts.py --params {params.settings:q} --code {params.code:q} \
            --questions {input:q} \
            --pdf {output.pdf:q} --png {output.png:q} --sidecar {output.sidecar:q} 2>{log:q}
        """


rule verify_expected:
    input:
        expected=lambda w: study(w.root).expected,
        tables=[
            study_table(name)
            for name in [
                "auroc",
                "calibration",
                "correlations",
                "mann_whitney",
                "one_sample",
                "scores",
                "abstention",
            ]
        ],
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
        products=lambda w: msp_params.products(CONFIG, w.root),
        parts=headlines_of_parts,
    output:
        paths.HEADLINE,
    log:
        paths.log("{root}/write_msp_headline"),
    benchmark:
        paths.timing("{root}/write_msp_headline")
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical({"study": w.root}),
        code=code("write_msp_headline"),
    shell:
        r"""
        python scripts/write_msp_headline.py --auroc {input.auroc:q} \
            --calibration {input.calibration:q} --params {params.settings:q} \
            --parts {input.parts:q} --output {output:q} >{log:q} 2>&1
        """
