# Scoring: jobs of a run and a benchmark write the records, the waist of the workflow.
#
# Needs  the manifest of a base model or of an SFT run; a benchmark, its few-shot examples
# Makes  ROOT/records/RUN/BENCHMARK.parquet (multical.records), what it used in .usage.json
#        beside it, all languages in one job; or,
#        where the study sets languages_per_job, ROOT/records/RUN/BENCHMARK/LANGUAGES.parquet
#        in a job each, merged here


rule score_run:
    input:
        model=scored_manifest,
        checkpoint=tuned_checkpoint,
        questions=paths.BENCHMARK,
        fewshot=lambda w: scoring_params.fewshot_file(CONFIG, w.root, w.benchmark),
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
    # before what is still to be trained, whose weights take space
    priority: 1
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        settings=lambda w: canonical(
            scoring_params.scoring(CONFIG, w.root, w.run, w.benchmark, w.shard)
        ),
        code=code("score_run"),
        # Undeclared, so that Snakemake leaves it to the retry that resumes from it.
        scratch=lambda w: paths.SCRATCH.format(
            root=w.root,
            key=scoring_params.scoring_key(
                CONFIG, w.root, w.run, w.benchmark, w.shard, code("score_run")
            ),
        ),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
        python scripts/score_run.py --model {input.model:q} --questions {input.questions:q} \
            --fewshot {input.fewshot:q} --params {params.settings:q} \
            --output {output.records:q} --usage {output.usage:q} --scratch {params.scratch:q} \
            2>&1 | tee {log:q}
        """


rule merge_records:
    input:
        records=shard_files(paths.SHARD_RECORDS),
        used=shard_files(paths.SHARD_USAGE),
    output:
        # all that score_run makes, or Snakemake would not notice when one takes over
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


# Where a study has both a whole and its parts, the whole is made of them.
ruleorder: merge_records > score_run
