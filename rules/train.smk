# SFT runs: TRL's SFTTrainer with the smoothed loss, one job for each run. A study may try several
# learning rates. Then there is a trial for each, an SFT run without smoothing, whose loss is
# measured on held-out conversations. The best trial becomes the study's run without smoothing, and
# the other runs take its learning rate. All jobs are known from the config, since the choice is a
# file that jobs read.
#
# Needs  results/inputs/models/MODEL/manifest.json, results/inputs/sft/SFT.jsonl, and for
#        trials results/inputs/sft/SFT.heldout.jsonl
# Makes  ROOT/runs/RUN/manifest.json, and beside it the checkpoint, the loss log, and the job's time
#        and hardware; checkpoints are temporary if the config has keep_checkpoints: false
#        ROOT/runs/TRIAL/heldout.json           a trial's loss
#        ROOT/learning_rates/MODEL.SFT.json     the choice, and the losses that it was made from


rule train_sft:
    input:
        model=base_manifest,
        data=lambda w: checked(
            w, paths.SFT_DATA.format(sft=job_params.run(CONFIG, w.root, w.run).sft)
        ),
        learning_rate=lambda w: job_params.learning_rate_file(CONFIG, w.root, w.run),
    output:
        manifest=paths.RUN_MANIFEST,
        checkpoint=kept(directory(paths.RUN_CHECKPOINT)),
        loss=paths.LOSS_LOG,
        usage=paths.TRAINING_USAGE,
    log:
        paths.log("{root}/train_sft/{run}"),
    benchmark:
        paths.timing("{root}/train_sft/{run}")
    # first, since scorings wait for it, unless its checkpoint takes space until it is scored
    priority: 2 if CONFIG.keep_checkpoints else 0
    conda:
        "../envs/environment.yaml"
    # two jobs with a thread each take less time than one after the other with two threads
    threads: 1
    # a laptop has the memory for one at a time; scorings, which need less, may run beside it
    resources:
        trainings=1,
        # not a parameter, since a change of it must not train again
        report_to=lambda w: job_params.report_to(CONFIG, w.root),
    params:
        settings=lambda w: training(w.root, w.run),
        code=code("train_sft"),
        # Not an output, so that Snakemake keeps it for the retry that resumes from it.
        scratch=lambda w: paths.SCRATCH.format(
            root=w.root,
            key=job_params.scratch_key(
                w.run, training(w.root, w.run), code("train_sft")
            ),
        ),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} HF_HUB_OFFLINE=1
        export WANDB_DIR=logs
        export TENSORBOARD_LOGGING_DIR=logs/tensorboard/{wildcards.root:q}/{wildcards.run:q}
        python scripts/train_sft.py --model {input.model:q} --data {input.data:q} \
            --params {params.settings:q} --learning-rate {input.learning_rate:q} \
            --manifest {output.manifest:q} --checkpoint {output.checkpoint:q} \
            --loss-log {output.loss:q} --usage {output.usage:q} \
            --scratch {params.scratch:q} --report-to {resources.report_to:q} 2>&1 | tee {log:q}
        """


rule evaluate_sft:
    input:
        model=paths.RUN_MANIFEST,
        checkpoint=weights(paths.RUN_CHECKPOINT),
        data=lambda w: paths.HELDOUT_DATA.format(
            sft=job_params.run(CONFIG, w.root, w.run).sft
        ),
    output:
        paths.HELDOUT_LOSS,
    log:
        paths.log("{root}/evaluate_sft/{run}"),
    benchmark:
        paths.timing("{root}/evaluate_sft/{run}")
    # before further trainings, since their checkpoints take space
    priority: 1
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        settings=lambda w: canonical(job_params.evaluating(CONFIG, w.root, w.run)),
        code=code("evaluate_sft"),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} HF_HUB_OFFLINE=1
        python scripts/evaluate_sft.py --model {input.model:q} --data {input.data:q} \
            --params {params.settings:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule choose_learning_rate:
    input:
        manifests=trial_files(paths.RUN_MANIFEST),
        losses=trial_files(paths.HELDOUT_LOSS),
    output:
        paths.LEARNING_RATE,
    log:
        paths.log("{root}/choose_learning_rate/{model}.{sft}"),
    benchmark:
        paths.timing("{root}/choose_learning_rate/{model}.{sft}")
    wildcard_constraints:
        model=one_of(CONFIG.models),
        sft=one_of(CONFIG.sft_data),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        code=code("choose_learning_rate"),
    shell:
        r"""
        python scripts/choose_learning_rate.py --manifests {input.manifests:q} \
            --losses {input.losses:q} --output {output:q} 2>&1 | tee {log:q}
        """


rule adopt_trial:
    input:
        choice=lambda w: job_params.learning_rate_file(CONFIG, w.root, w.run),
        manifests=trial_files(paths.RUN_MANIFEST),
        checkpoints=trial_weights,
    output:
        manifest=paths.RUN_MANIFEST,
        checkpoint=kept(directory(paths.RUN_CHECKPOINT)),
        loss=paths.LOSS_LOG,
        # all outputs of train_sft, or Snakemake would not notice when one rule replaces the other
        usage=paths.TRAINING_USAGE,
    log:
        paths.log("{root}/adopt_trial/{run}"),
    benchmark:
        paths.timing("{root}/adopt_trial/{run}")
    wildcard_constraints:
        # each study only with its own runs that adopt a trial; another study may train such a run
        root=one_of_runs(job_params.adopted(CONFIG)),
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        code=code("adopt_trial"),
    shell:
        r"""
        python scripts/adopt_trial.py --run {wildcards.run:q} --choice {input.choice:q} \
            --manifests {input.manifests:q} --manifest {output.manifest:q} \
            --checkpoint {output.checkpoint:q} --loss-log {output.loss:q} \
            --usage {output.usage:q} 2>&1 | tee {log:q}
        """


ruleorder: adopt_trial > train_sft
