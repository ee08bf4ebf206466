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
        "results/msp_v2/tables/verification.csv",


rule import_released:
    input:
        manifest=lambda w: study(w.root).source.manifest or [],
        archive=unlisted_archive,
    output:
        records="{root}/records/released.parquet",
        summary="{root}/records/released.json",
    log:
        "logs/{root}/import_released.log",
    benchmark:
        "logs/{root}/import_released.tsv"
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
        "logs/{root}/compute_msp_auroc.log",
    benchmark:
        "logs/{root}/compute_msp_auroc.tsv"
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
        "logs/{root}/compute_msp_intervals.log",
    benchmark:
        "logs/{root}/compute_msp_intervals.tsv"
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
        curves="{root}/tables/calibration_curves.csv",
    log:
        "logs/{root}/compute_msp_calibration.log",
    benchmark:
        "logs/{root}/compute_msp_calibration.tsv"
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
        curves="{root}/tables/score_curves.csv",
    log:
        "logs/{root}/compute_msp_abstention.log",
    benchmark:
        "logs/{root}/compute_msp_abstention.tsv"
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
        cells="{root}/tables/cells.csv",
        calibration="{root}/tables/calibration.csv",
    output:
        **tables("correlations", "points"),
    log:
        "logs/{root}/compute_msp_correlations.log",
    benchmark:
        "logs/{root}/compute_msp_correlations.tsv"
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
        curves="{root}/tables/calibration_curves.csv",
        points="{root}/tables/points.csv",
    output:
        **figures(
            "calibration",
            "calibration_platt",
            "accuracy_vs_calibration",
            "accuracy_vs_calibration_platt",
        ),
    log:
        "logs/{root}/{panel}plot_msp_calibration.log",
    benchmark:
        "logs/{root}/{panel}plot_msp_calibration.tsv"
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
        "{root}/tables/points.csv",
    output:
        **figures(
            "accuracy_vs_auroc",
            "size_vs_auroc",
            "accuracy_vs_auroc_by_phrasing",
            "size_vs_auroc_by_phrasing",
        ),
    log:
        "logs/{root}/{panel}plot_msp_auroc.log",
    benchmark:
        "logs/{root}/{panel}plot_msp_auroc.tsv"
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
        "logs/{root}/{panel}plot_msp_auroc_margin_entropy.log",
    benchmark:
        "logs/{root}/{panel}plot_msp_auroc_margin_entropy.tsv"
    wildcard_constraints:
        root=roots("chat_confidence"),
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.OWN)
        ),
        code=code("plot_msp_auroc"),


rule plot_msp_abstention:
    input:
        curves="{root}/tables/score_curves.csv",
        scores="{root}/tables/scores.csv",
    output:
        **figures("score_vs_threshold", "score_vs_k"),
    log:
        "logs/{root}/{panel}plot_msp_abstention.log",
    benchmark:
        "logs/{root}/{panel}plot_msp_abstention.tsv"
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
        "logs/{root}/{panel}plot_msp_abstention_margin_entropy.log",
    benchmark:
        "logs/{root}/{panel}plot_msp_abstention_margin_entropy.tsv"
    wildcard_constraints:
        root=roots("chat_confidence"),
    params:
        settings=lambda w: canonical(
            msp_params.compared_figure(CONFIG, w.root, w.panel, msp_params.OWN)
        ),
        code=code("plot_msp_abstention"),


rule plot_msp_datasets:
    input:
        "{root}/tables/datasets.csv",
    output:
        **figures("dataset_bars", panel=""),
    log:
        "logs/{root}/plot_msp_datasets.log",
    benchmark:
        "logs/{root}/plot_msp_datasets.tsv"
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
        lambda w: f"results/inputs/benchmarks/{msp_params.shown_benchmark(CONFIG, w.root)}.parquet",
    output:
        **figures("prompts", panel=""),
    log:
        "logs/{root}/plot_msp_prompts.log",
    benchmark:
        "logs/{root}/plot_msp_prompts.tsv"
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
        tables=expand(
            "{{root}}/tables/{name}.csv",
            name=[
                "auroc",
                "calibration",
                "correlations",
                "mann_whitney",
                "one_sample",
                "scores",
                "abstention",
            ],
        ),
    output:
        "{root}/tables/verification.csv",
    log:
        "logs/{root}/verify_expected.log",
    benchmark:
        "logs/{root}/verify_expected.tsv"
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
        auroc="{root}/tables/auroc.csv",
        calibration="{root}/tables/calibration.csv",
        products=lambda w: msp_params.products(CONFIG, w.root),
        parts=headlines_of_parts,
    output:
        "{root}/headline.txt",
    log:
        "logs/{root}/write_msp_headline.log",
    benchmark:
        "logs/{root}/write_msp_headline.tsv"
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
