# Base models, benchmarks and SFT data: shared by all studies, named in config.yaml.
#
# Needs  the sources that the config names (packages, the hub, or local files)
# Makes  results/inputs/models/MODEL/manifest.json   source and files of the checkpoint beside it
#        results/inputs/benchmarks/BENCHMARK.parquet questions (multical.data.questions)
#        results/inputs/benchmarks/BENCHMARK.fewshot.parquet  few-shot examples, if the source has
#                                                    fewshot_split or fewshot
#        results/inputs/sft/SFT.jsonl                conversations (multical.data.conversations)
#        results/inputs/sft/SFT.heldout.jsonl        held-out conversations, if there are any
#        .about.json beside benchmarks and SFT data  their source, and the files that were read


rule fetch_model:
    input:
        lambda w: own_files.of_source(
            f"models.{w.model}",
            CONFIG.models[w.model].source,
            paths.MODEL_MANIFEST.format(model=w.model),
        ),
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
        lambda w: own_files.of_source(
            f"benchmarks.{w.benchmark}",
            CONFIG.benchmarks[w.benchmark].source,
            paths.BENCHMARK_PART_ABOUT.format(benchmark=w.benchmark, part=w.part),
        ),
    output:
        questions=paths.BENCHMARK_PART,
        names=paths.BENCHMARK_PART_NAMES,
        about=paths.BENCHMARK_PART_ABOUT,
    log:
        paths.log("make_benchmark/{benchmark}{part}"),
    benchmark:
        paths.timing("make_benchmark/{benchmark}{part}")
    wildcard_constraints:
        benchmark=one_of_parts(
            CONFIG.benchmarks, job_params.with_fewshot(CONFIG), paths.FEWSHOT
        ),
        part=optional(paths.FEWSHOT),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.benchmark(CONFIG, w.benchmark, w.part)),
        code=code("make_benchmark"),
    shell:
        r"""
        python scripts/make_benchmark.py --params {params.settings:q} \
            --output {output.questions:q} --report {output.names:q} \
            --about {output.about:q} 2>&1 | tee {log:q}
        """


rule make_sft_data:
    input:
        lambda w: own_files.of_source(
            f"sft_data.{w.sft}",
            CONFIG.sft_data[w.sft].source,
            paths.SFT_PART_ABOUT.format(sft=w.sft, part=w.part),
        ),
    output:
        conversations=paths.SFT_PART,
        about=paths.SFT_PART_ABOUT,
    log:
        paths.log("make_sft_data/{sft}{part}"),
    benchmark:
        paths.timing("make_sft_data/{sft}{part}")
    wildcard_constraints:
        sft=one_of_parts(
            CONFIG.sft_data, job_params.with_held_out(CONFIG), paths.HELDOUT
        ),
        part=optional(paths.HELDOUT),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(job_params.sft_data(CONFIG, w.sft, w.part)),
        code=code("make_sft_data"),
    shell:
        r"""
        python scripts/make_sft_data.py --params {params.settings:q} \
            --output {output.conversations:q} --about {output.about:q} 2>&1 | tee {log:q}
        """
