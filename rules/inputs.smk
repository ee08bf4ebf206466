# Base models, benchmarks and SFT data: shared by all studies, named in config.yaml.
#
# Needs  the sources that the config names (packages, the hub, or local files)
# Makes  results/inputs/models/MODEL/manifest.json   a checkpoint, and what it is made of
#        results/inputs/benchmarks/BENCHMARK.parquet questions (multical.questions)
#        results/inputs/sft/SFT.jsonl                conversations (multical.conversations)


rule fetch_model:
    input:
        lambda w: own_files(CONFIG.models[w.model].source),
    output:
        manifest="results/inputs/models/{model}/manifest.json",
        checkpoint=directory("results/inputs/models/{model}/checkpoint"),
    log:
        "logs/fetch_model/{model}.log",
    benchmark:
        "logs/fetch_model/{model}.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(plan.model(CONFIG, w.model)),
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
        questions="results/inputs/benchmarks/{benchmark}.parquet",
        names="results/inputs/benchmarks/{benchmark}.names.csv",
    log:
        "logs/make_benchmark/{benchmark}.log",
    benchmark:
        "logs/make_benchmark/{benchmark}.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(plan.benchmark(CONFIG, w.benchmark)),
        code=code("make_benchmark"),
    shell:
        r"""
        python scripts/make_benchmark.py --params {params.settings:q} \
            --output {output.questions:q} --report {output.names:q} 2>&1 | tee {log:q}
        """


rule make_sft_data:
    input:
        lambda w: own_files(CONFIG.sft_data[w.sft].source),
    output:
        "results/inputs/sft/{sft}.jsonl",
    log:
        "logs/make_sft_data/{sft}.log",
    benchmark:
        "logs/make_sft_data/{sft}.tsv"
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=lambda w: canonical(plan.sft_data(CONFIG, w.sft)),
        code=code("make_sft_data"),
    shell:
        r"""
        python scripts/make_sft_data.py --params {params.settings:q} \
            --output {output:q} 2>&1 | tee {log:q}
        """
