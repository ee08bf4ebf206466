# Scoring by API: the login node asks models behind OpenAI-compatible endpoints (kind `api`).
#
# Needs  a benchmark, its few-shot examples; the API's key in the environment variable that the
#        model's access.key names
# Makes  ROOT/records/RUN/BENCHMARK.parquet (multical.records), what it asked and paid in
#        .usage.json beside it
#        cache/api/MODEL.sqlite  all answers ever given, so that none is paid for twice


rule score_api:
    input:
        questions=questions_of,
        fewshot=lambda w: fewshot_of(w, paths.RECORDS),
    output:
        records=paths.RECORDS,
        usage=paths.SCORING_USAGE,
    log:
        paths.log("{root}/score_api/{run}.{benchmark}"),
    benchmark:
        paths.timing("{root}/score_api/{run}.{benchmark}")
    wildcard_constraints:
        root=scored_roots("api", api=True),
    localrule: True
    conda:
        "../envs/environment.yaml"
    resources:
        # not a parameter: no record depends on how an API is asked
        access=lambda w: canonical(CONFIG.api(w.run).access),
    params:
        settings=lambda w: canonical(
            scoring_params.api_scoring(CONFIG, w.root, w.run, w.benchmark)
        ),
        code=code("score_api"),
        # Not an output, since it outlives every job, and `make clean`.
        cache=paths.API_CACHE,
    shell:
        r"""
        python scripts/score_api.py --questions {input.questions:q} --fewshot {input.fewshot:q} \
            --params {params.settings:q} --access {resources.access:q} --cache {params.cache:q} \
            --output {output.records:q} --usage {output.usage:q} 2>&1 | tee {log:q}
        """
