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
        metrics=paths.METRICS,
        summary=paths.SUMMARY,
    log:
        paths.log("{root}/compute_metrics"),
    benchmark:
        paths.timing("{root}/compute_metrics")
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
        groups=paths.RELIABILITY,
        languages=paths.RELIABILITY_BY_LANG,
    log:
        paths.log("{root}/bin_reliability"),
    benchmark:
        paths.timing("{root}/bin_reliability")
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
        paths.CULTURE,
    log:
        paths.log("{root}/compute_culture"),
    benchmark:
        paths.timing("{root}/compute_culture")
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
