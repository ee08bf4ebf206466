# Base models, benchmarks and SFT data: shared by all studies, named in config.yaml.
#
# Needs  the sources that the config names (packages, the hub, or local files)
# Makes  results/inputs/models/MODEL/manifest.json   a checkpoint, and what it is made of
#        results/inputs/benchmarks/BENCHMARK.parquet questions (multical.data.questions)
#        results/inputs/benchmarks/BENCHMARK.fewshot.parquet  its few-shot examples, if it has a
#                                                    fewshot_split or fewshot
#        results/inputs/sft/SFT.jsonl                conversations (multical.data.conversations)
#        results/inputs/sft/SFT.heldout.jsonl        those held out, if any are
#        .about.json beside each                     its source, and the files that were read


rule fetch_model:
    input:
        lambda w: own_files(CONFIG.models[w.model].source),
    output:
        manifest=paths.MODEL_MANIFEST,
        checkpoint=directory(paths.MODEL_CHECKPOINT),
    log:
        paths.log("fetch_model/{model}"),
    benchmark:
        paths.timing("fetch_model/{model}")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.model(CONFIG, w.model)),
        code=code("fetch_model"),
    shell:
        r"""
        python scripts/fetch_model.py --params {params.settings:q} \
            --checkpoint {output.checkpoint:q} --manifest {output.manifest:q} 2>&1 | tee {log:q}
        """


rule make_benchmark:
    input:
        lambda w: own_files(CONFIG.benchmarks[w.benchmark].source),
    output:
        questions=paths.BENCHMARK,
        names=paths.BENCHMARK_NAMES,
        about=paths.BENCHMARK_ABOUT,
    log:
        paths.log("make_benchmark/{benchmark}"),
    benchmark:
        paths.timing("make_benchmark/{benchmark}")
    wildcard_constraints:
        benchmark=one_of(CONFIG.benchmarks),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.benchmark(CONFIG, w.benchmark)),
        code=code("make_benchmark"),
    shell:
        r"""
        python scripts/make_benchmark.py --params {params.settings:q} \
            --output {output.questions:q} --report {output.names:q} \
            --about {output.about:q} 2>&1 | tee {log:q}
        """


rule make_fewshot:
    output:
        questions=paths.FEWSHOT,
        names=paths.FEWSHOT_NAMES,
        about=paths.FEWSHOT_ABOUT,
    log:
        paths.log("make_fewshot/{benchmark}"),
    benchmark:
        paths.timing("make_fewshot/{benchmark}")
    wildcard_constraints:
        benchmark=one_of(job_params.with_fewshot(CONFIG)),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.fewshot(CONFIG, w.benchmark)),
        code=code("make_benchmark"),
    shell:
        r"""
        python scripts/make_benchmark.py --params {params.settings:q} \
            --output {output.questions:q} --report {output.names:q} \
            --about {output.about:q} 2>&1 | tee {log:q}
        """


rule make_sft_data:
    input:
        lambda w: own_files(CONFIG.sft_data[w.sft].source),
    output:
        conversations=paths.SFT_DATA,
        about=paths.SFT_ABOUT,
    log:
        paths.log("make_sft_data/{sft}"),
    benchmark:
        paths.timing("make_sft_data/{sft}")
    wildcard_constraints:
        sft=one_of(CONFIG.sft_data),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.sft_data(CONFIG, w.sft)),
        code=code("make_sft_data"),
    shell:
        r"""
        python scripts/make_sft_data.py --params {params.settings:q} \
            --output {output.conversations:q} --about {output.about:q} 2>&1 | tee {log:q}
        """


rule make_heldout_data:
    output:
        conversations=paths.HELDOUT_DATA,
        about=paths.HELDOUT_ABOUT,
    log:
        paths.log("make_heldout_data/{sft}"),
    benchmark:
        paths.timing("make_heldout_data/{sft}")
    wildcard_constraints:
        sft=one_of(job_params.with_held_out(CONFIG)),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.held_out(CONFIG, w.sft)),
        code=code("make_sft_data"),
    shell:
        r"""
        python scripts/make_sft_data.py --params {params.settings:q} \
            --output {output.conversations:q} --about {output.about:q} 2>&1 | tee {log:q}
        """
