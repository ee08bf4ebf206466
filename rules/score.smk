# Scoring: one job per run and benchmark writes the records, the waist of the workflow.
#
# Needs  the manifest of a base model or of an SFT run; a benchmark
# Makes  ROOT/records/RUN/BENCHMARK.parquet (multical.records)


rule score_run:
    input:
        model=scored_manifest,
        questions="results/inputs/benchmarks/{benchmark}.parquet",
    output:
        "{root}/records/{run}/{benchmark}.parquet",
    log:
        "logs/{root}/score_run/{run}.{benchmark}.log",
    benchmark:
        "logs/{root}/score_run/{run}.{benchmark}.tsv"
    wildcard_constraints:
        root=roots("multilingual"),
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        settings=lambda w: canonical(plan.scoring(CONFIG, w.root, w.run, w.benchmark)),
        code=code("score_run"),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
        python scripts/score_run.py --model {input.model:q} --questions {input.questions:q} \
            --params {params.settings:q} --output {output:q} 2>&1 | tee {log:q}
        """
