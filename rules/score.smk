# Scoring: a job for a run and a benchmark writes records, from which all later jobs start.
#
# Needs  the manifest of a base model or of an SFT run; a benchmark and its few-shot examples
# Makes  ROOT/records/RUN/BENCHMARK.parquet (multical.records), and the job's time and hardware in
#        .usage.json beside it. One job scores all languages, unless the study sets
#        languages_per_job: then each job makes ROOT/records/RUN/BENCHMARK/LANGUAGES.parquet, and
#        these are merged.


rule score_run:
    input:
        model=scored_manifest,
        checkpoint=tuned_checkpoint,
        questions=questions_of,
        fewshot=lambda w: fewshot_of(w, paths.SHARD_RECORDS),
    output:
        records=paths.SHARD_RECORDS,
        usage=paths.SHARD_USAGE,
    log:
        paths.log("{root}/score_run/{run}.{benchmark}{shard}"),
    benchmark:
        paths.timing("{root}/score_run/{run}.{benchmark}{shard}")
    wildcard_constraints:
        root=scored_roots("multilingual", api=False),
        shard=r"(/[A-Za-z0-9+-]+)?",
    # before further trainings, since their checkpoints take space; paper 1's many languages before
    # paper 2's few, so that no long job is left to run alone
    priority: lambda w: 1.5 if CONFIG.studies[w.root].kind == "multilingual" else 1
    conda:
        "../envs/environment.yaml"
    threads: 1
    # no setting, since records do not depend on it
    resources:
        model_gpus=lambda w: scoring_params.gpus(CONFIG, w.root, w.run),
    params:
        settings=lambda w: scoring(w.root, w.run, w.benchmark, w.shard),
        code=code("score_run"),
        # Not an output, so that Snakemake keeps it for the retry that resumes from it.
        scratch=lambda w: paths.SCRATCH.format(
            root=w.root,
            key=job_params.scratch_key(
                f"{w.run}-{w.benchmark}",
                scoring(w.root, w.run, w.benchmark, w.shard),
                code("score_run"),
            ),
        ),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} HF_HUB_OFFLINE=1
        python scripts/score_run.py --model {input.model:q} --questions {input.questions:q} \
            --fewshot {input.fewshot:q} --params {params.settings:q} \
            --output {output.records:q} --usage {output.usage:q} --scratch {params.scratch:q} \
            --gpus {resources.model_gpus:q} 2>&1 | tee {log:q}
        """


rule merge_records:
    input:
        records=shard_files(paths.SHARD_RECORDS),
        used=shard_files(paths.SHARD_USAGE),
    output:
        # all outputs of score_run, or Snakemake would not notice when one rule replaces the other
        records=paths.RECORDS,
        usage=paths.SCORING_USAGE,
    log:
        paths.log("{root}/merge_records/{run}.{benchmark}"),
    benchmark:
        paths.timing("{root}/merge_records/{run}.{benchmark}")
    wildcard_constraints:
        root=sharded_roots(),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        code=code("merge_records"),
    shell:
        r"""
        python scripts/merge_records.py --records {input.records:q} --used {input.used:q} \
            --output {output.records:q} --usage {output.usage:q} 2>&1 | tee {log:q}
        """


# Where a study scores in shards, its records are merged from them.
ruleorder: merge_records > score_run
