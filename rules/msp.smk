# Study 2: from per-question answers to every table and figure.
#
# Needs  of kind `released` the authors' outputs: $MSP_V2_ARCHIVE, else `source.archive` of the
#        study, else a download of the pinned commit; each file's SHA-256 is in `source.manifest`
#        of kind `chat_confidence` ROOT/records/RUN/BENCHMARK.parquet of all runs and benchmarks, and
#        results/inputs/benchmarks/BENCHMARK.parquet of the first, for the figure of prompts
# Makes  ROOT/records/released.parquet  records, and what was imported beside them (.json)
#        ROOT/tables/NAME.csv           full precision, with LaTeX (.tex) and a sidecar (.json)
#        ROOT/figures/NAME.pdf          all data sets together, with a .png and a sidecar (.json)
#        ROOT/figures/NAME.DATASET.pdf  one data set
#        ROOT/headline.txt              the result in a few lines, once all is made
#        ROOT/tables/verification.csv   the published numbers against ours, of a study that names
#                                       their file (`msp_v2_verify`)
#
# Margin and entropy (figure 15 of the study) need logits of all options, which v2 did not release:
# kind `chat_confidence` has them in the tables, and figures of their own. The study's prompts (figure 19) are
# known of own runs alone.


include: "msp_common.smk"


wildcard_constraints:
    scope=r"(\.[A-Za-z0-9_-]+)?",


MSP_ROOTS = f"{roots('chat_confidence')}|{roots('released')}"


rule msp_v2:
    input:
        lambda w: msp_products("results/msp_v2"),


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
        settings=msp_params("prompts", "archive", "repository", "commit", "folder"),
        code=code("import_released"),
    shell:
        r"""
        python scripts/import_released.py --params {params.settings:q} --code {params.code:q} \
            --manifest {input.manifest:q} --records {output.records:q} --summary {output.summary:q} 2>{log:q}
        """


rule compute_msp_auroc:
    input:
        answers_of,
    output:
        auroc=msp_table("auroc"),
        mann_whitney=msp_table("mann_whitney"),
        cells=msp_table("cells"),
        datasets=msp_table("datasets"),
        one_sample=msp_table("one_sample"),
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
        settings=msp_params("methods", "significance"),
        code=code("compute_msp_auroc"),
    shell:
        r"""
        python scripts/compute_msp_auroc.py --params {params.settings:q} --code {params.code:q} \
            --records {input:q} --auroc {output.auroc[0]:q} \
            --mann-whitney {output.mann_whitney[0]:q} --cells {output.cells[0]:q} \
            --datasets {output.datasets[0]:q} --one-sample {output.one_sample[0]:q} 2>{log:q}
        """


rule compute_msp_intervals:
    input:
        answers_of,
    output:
        intervals=msp_table("intervals"),
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
        settings=msp_params("methods", "replicates", "level", "bootstrap_seed"),
        code=code("compute_msp_intervals"),
    shell:
        r"""
        python scripts/compute_msp_intervals.py --params {params.settings:q} \
            --code {params.code:q} --records {input:q} --intervals {output.intervals[0]:q} \
            --threads {threads} 2>{log:q}
        """


rule compute_msp_calibration:
    input:
        answers_of,
    output:
        calibration=msp_table("calibration"),
        platt=msp_table("platt"),
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
        settings=msp_params("bins", "main_k", "seed"),
        code=code("compute_msp_calibration"),
    shell:
        r"""
        python scripts/compute_msp_calibration.py --params {params.settings:q} \
            --code {params.code:q} --records {input:q} --calibration {output.calibration[0]:q} \
            --platt {output.platt[0]:q} --calibration-curves {output.curves:q} 2>{log:q}
        """


rule compute_msp_abstention:
    input:
        answers_of,
    output:
        scores=msp_table("scores"),
        abstention=msp_table("abstention"),
        thresholds=msp_table("thresholds"),
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
        settings=msp_params(
            "methods", "seed", "seeds", "ks", "main_k", "schemes", "grid"
        ),
        code=code("compute_msp_abstention"),
    shell:
        r"""
        python scripts/compute_msp_abstention.py --params {params.settings:q} \
            --code {params.code:q} --records {input:q} --scores {output.scores[0]:q} \
            --abstention {output.abstention[0]:q} --thresholds {output.thresholds[0]:q} \
            --score-curves {output.curves:q} 2>{log:q}
        """


rule compute_msp_correlations:
    input:
        cells="{root}/tables/cells.csv",
        calibration="{root}/tables/calibration.csv",
    output:
        correlations=msp_table("correlations"),
        points=msp_table("points"),
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
        settings=msp_params("methods"),
        code=code("compute_msp_correlations"),
    shell:
        r"""
        python scripts/compute_msp_correlations.py --params {params.settings:q} \
            --code {params.code:q} --cells {input.cells:q} --calibration {input.calibration:q} \
            --correlations {output.correlations[0]:q} --points {output.points[0]:q} 2>{log:q}
        """


rule plot_msp_calibration:
    input:
        curves="{root}/tables/calibration_curves.csv",
        points="{root}/tables/points.csv",
    output:
        plain=msp_figure("calibration"),
        platt=msp_figure("calibration_platt"),
        scatter=msp_figure("accuracy_vs_calibration"),
        scatter_platt=msp_figure("accuracy_vs_calibration_platt"),
    log:
        "logs/{root}/plot_msp_calibration{scope}.log",
    benchmark:
        "logs/{root}/plot_msp_calibration{scope}.tsv"
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=msp_figure_params(keys=["error"]),
        code=code("plot_msp_calibration"),
    shell:
        r"""
        python scripts/plot_msp_calibration.py --params {params.settings:q} \
            --code {params.code:q} --calibration-curves {input.curves:q} \
            --points {input.points:q} --calibration {output.plain[0]:q} \
            --calibration-platt {output.platt[0]:q} \
            --accuracy-vs-calibration {output.scatter[0]:q} \
            --accuracy-vs-calibration-platt {output.scatter_platt[0]:q} 2>{log:q}
        """


rule plot_msp_auroc:
    input:
        "{root}/tables/points.csv",
    output:
        accuracy=msp_figure("accuracy_vs_auroc"),
        size=msp_figure("size_vs_auroc"),
        accuracy_by_phrasing=msp_figure("accuracy_vs_auroc_by_phrasing"),
        size_by_phrasing=msp_figure("size_vs_auroc_by_phrasing"),
    log:
        "logs/{root}/plot_msp_auroc{scope}.log",
    benchmark:
        "logs/{root}/plot_msp_auroc{scope}.tsv"
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=msp_figure_params(MAIN),
        code=code("plot_msp_auroc"),
    shell:
        r"""
        python scripts/plot_msp_auroc.py --params {params.settings:q} --code {params.code:q} \
            --points {input:q} --accuracy-vs-auroc {output.accuracy[0]:q} \
            --size-vs-auroc {output.size[0]:q} \
            --accuracy-vs-auroc-by-phrasing {output.accuracy_by_phrasing[0]:q} \
            --size-vs-auroc-by-phrasing {output.size_by_phrasing[0]:q} 2>{log:q}
        """


rule plot_msp_abstention:
    input:
        curves="{root}/tables/score_curves.csv",
        scores="{root}/tables/scores.csv",
    output:
        threshold=msp_figure("score_vs_threshold"),
        k=msp_figure("score_vs_k"),
    log:
        "logs/{root}/plot_msp_abstention{scope}.log",
    benchmark:
        "logs/{root}/plot_msp_abstention{scope}.tsv"
    wildcard_constraints:
        root=MSP_ROOTS,
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=msp_figure_params(MAIN),
        code=code("plot_msp_abstention"),
    shell:
        r"""
        python scripts/plot_msp_abstention.py --params {params.settings:q} --code {params.code:q} \
            --score-curves {input.curves:q} --scores {input.scores:q} \
            --score-vs-threshold {output.threshold[0]:q} --score-vs-k {output.k[0]:q} 2>{log:q}
        """


rule plot_msp_datasets:
    input:
        "{root}/tables/datasets.csv",
    output:
        bars=msp_figure("dataset_bars", scope=""),
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
        settings=msp_figure_params((*MAIN, *OWN)),
        code=code("plot_msp_datasets"),
    shell:
        r"""
        python scripts/plot_msp_datasets.py --params {params.settings:q} --code {params.code:q} \
            --datasets {input:q} --dataset-bars {output.bars[0]:q} 2>{log:q}
        """


rule plot_msp_auroc_margin_entropy:
    input:
        "{root}/tables/points.csv",
    output:
        accuracy=msp_figure("accuracy_vs_auroc_margin_entropy"),
    log:
        "logs/{root}/plot_msp_auroc_margin_entropy{scope}.log",
    benchmark:
        "logs/{root}/plot_msp_auroc_margin_entropy{scope}.tsv"
    wildcard_constraints:
        root=roots("chat_confidence"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=msp_figure_params(OWN),
        code=code("plot_msp_auroc"),
    shell:
        r"""
        python scripts/plot_msp_auroc.py --params {params.settings:q} --code {params.code:q} \
            --points {input:q} --accuracy-vs-auroc {output.accuracy[0]:q} 2>{log:q}
        """


rule plot_msp_abstention_margin_entropy:
    input:
        curves="{root}/tables/score_curves.csv",
        scores="{root}/tables/scores.csv",
    output:
        threshold=msp_figure("score_vs_threshold_margin_entropy"),
    log:
        "logs/{root}/plot_msp_abstention_margin_entropy{scope}.log",
    benchmark:
        "logs/{root}/plot_msp_abstention_margin_entropy{scope}.tsv"
    wildcard_constraints:
        root=roots("chat_confidence"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=msp_figure_params(OWN),
        code=code("plot_msp_abstention"),
    shell:
        r"""
        python scripts/plot_msp_abstention.py --params {params.settings:q} --code {params.code:q} \
            --score-curves {input.curves:q} --scores {input.scores:q} \
            --score-vs-threshold {output.threshold[0]:q} 2>{log:q}
        """


rule plot_msp_prompts:
    input:
        shown_questions,
    output:
        prompts=msp_figure("prompts", scope=""),
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
        settings=lambda w: canonical(
            msp_settings(w.root)
            | {
                "prompts": shown_prompts(w.root),
                "dataset": study(w.root).datasets[0].id,
            }
        ),
        code=code("plot_msp_prompts"),
    shell:
        r"""
        python scripts/plot_msp_prompts.py --params {params.settings:q} --code {params.code:q} \
            --questions {input:q} --prompts {output.prompts[0]:q} 2>{log:q}
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
        products=lambda w: msp_products(w.root),
        parts=headlines_of_parts,
    output:
        "{root}/headline.txt",
    log:
        "logs/{root}/write_msp_headline.log",
    benchmark:
        "logs/{root}/write_msp_headline.tsv"
    wildcard_constraints:
        root=roots("released", "chat_confidence"),
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
