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
        questions="results/inputs/benchmarks/{benchmark}.parquet",
        names="results/inputs/benchmarks/{benchmark}.names.csv",
        about="results/inputs/benchmarks/{benchmark}.about.json",
    log:
        "logs/make_benchmark/{benchmark}.log",
    benchmark:
        "logs/make_benchmark/{benchmark}.tsv"
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
        questions="results/inputs/benchmarks/{benchmark}.fewshot.parquet",
        names="results/inputs/benchmarks/{benchmark}.fewshot.names.csv",
        about="results/inputs/benchmarks/{benchmark}.fewshot.about.json",
    log:
        "logs/make_fewshot/{benchmark}.log",
    benchmark:
        "logs/make_fewshot/{benchmark}.tsv"
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
        conversations="results/inputs/sft/{sft}.jsonl",
        about="results/inputs/sft/{sft}.about.json",
    log:
        "logs/make_sft_data/{sft}.log",
    benchmark:
        "logs/make_sft_data/{sft}.tsv"
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
        conversations="results/inputs/sft/{sft}.heldout.jsonl",
        about="results/inputs/sft/{sft}.heldout.about.json",
    log:
        "logs/make_heldout_data/{sft}.log",
    benchmark:
        "logs/make_heldout_data/{sft}.tsv"
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
