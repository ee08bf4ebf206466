# Runs of lm-evaluation-harness (kind `harness`): their sample logs become records.
#
# Needs  the sample logs (--log_samples) that the study names
# Makes  ROOT/records/RUN/BENCHMARK.parquet (multical.records)


rule import_harness:
    input:
        lambda w: job_params.sample_files(CONFIG, w.root, w.run, w.benchmark),
    output:
        paths.RECORDS,
    log:
        paths.log("{root}/import_harness/{run}.{benchmark}"),
    benchmark:
        paths.timing("{root}/import_harness/{run}.{benchmark}")
    wildcard_constraints:
        root=roots("harness"),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(
            job_params.importing(CONFIG, w.root, w.run, w.benchmark)
        ),
        samples=lambda w: job_params.samples(CONFIG, w.root, w.run, w.benchmark),
        code=code("import_harness"),
    shell:
        r"""
        python scripts/import_harness.py --params {params.settings:q} \
            --samples {params.samples:q} --records {output:q} 2>&1 | tee {log:q}
        """
