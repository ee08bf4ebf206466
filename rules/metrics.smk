# From records to the tables that figures are drawn from: no model is needed from here on.
#
# Needs  ROOT/records/RUN/BENCHMARK.parquet of all that the study scored or imported
# Makes  ROOT/metrics.csv      by run, benchmark, language, readout and metric
#        ROOT/summary.csv      the same over groups of languages
#        ROOT/reliability.csv  bins of reliability diagrams by group of languages
#        ROOT/reliability_by_lang.csv  the same by language
#        ROOT/culture.csv      metrics of culturally sensitive and agnostic questions, and how
#                              they differ, where a benchmark tells them apart


rule compute_metrics:
    input:
        all_records,
    output:
        metrics="{root}/metrics.csv",
        summary="{root}/summary.csv",
    log:
        "logs/{root}/compute_metrics.log",
    benchmark:
        "logs/{root}/compute_metrics.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.metrics(CONFIG, w.root)),
        code=code("compute_metrics"),
    shell:
        r"""
        python scripts/compute_metrics.py --records {input:q} --params {params.settings:q} \
            --metrics {output.metrics:q} --summary {output.summary:q} \
            --processes {threads} 2>&1 | tee {log:q}
        """


rule bin_reliability:
    input:
        all_records,
    output:
        groups="{root}/reliability.csv",
        languages="{root}/reliability_by_lang.csv",
    log:
        "logs/{root}/bin_reliability.log",
    benchmark:
        "logs/{root}/bin_reliability.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.reliability(CONFIG, w.root)),
        code=code("bin_reliability"),
    shell:
        r"""
        python scripts/bin_reliability.py --records {input:q} --params {params.settings:q} \
            --output {output.groups:q} --by-language {output.languages:q} >{log:q} 2>&1
        """


rule compute_culture:
    input:
        labelled_records,
    output:
        "{root}/culture.csv",
    log:
        "logs/{root}/compute_culture.log",
    benchmark:
        "logs/{root}/compute_culture.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.metrics(CONFIG, w.root)),
        code=code("compute_culture"),
    shell:
        r"""
        python scripts/compute_culture.py --records {input:q} --params {params.settings:q} \
            --output {output:q} --processes {threads} 2>&1 | tee {log:q}
        """
