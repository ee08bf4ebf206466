# SFT runs: TRL's SFTTrainer with the smoothed loss, one job a run.
#
# Needs  results/inputs/models/MODEL/manifest.json, results/inputs/sft/SFT.jsonl
# Makes  ROOT/runs/RUN/manifest.json, the checkpoint beside it, and its loss log


rule train_sft:
    input:
        model=base_manifest,
        data=lambda w: f"results/inputs/sft/{plan.run(CONFIG, w.root, w.run).sft}.jsonl",
    output:
        manifest="{root}/runs/{run}/manifest.json",
        checkpoint=directory("{root}/runs/{run}/checkpoint"),
        loss="{root}/runs/{run}/loss.jsonl",
    log:
        "logs/{root}/train_sft/{run}.log",
    benchmark:
        "logs/{root}/train_sft/{run}.tsv"
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(plan.training(CONFIG, w.root, w.run)),
        code=code("train_sft"),
        # Undeclared, so that Snakemake leaves it to the retry that resumes from it.
        scratch=lambda w: "{}/scratch/{}".format(
            w.root, plan.training_key(CONFIG, w.root, w.run, code("train_sft"))
        ),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
        python scripts/train_sft.py --model {input.model:q} --data {input.data:q} \
            --params {params.settings:q} --manifest {output.manifest:q} \
            --checkpoint {output.checkpoint:q} --loss-log {output.loss:q} \
            --scratch {params.scratch:q} 2>&1 | tee {log:q}
        """
