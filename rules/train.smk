# SFT runs: TRL's SFTTrainer with the smoothed loss, one job a run. Where a study tries several
# learning rates, a trial for each, which is an SFT run without smoothing, is measured on
# held-out conversations; the best one becomes the study's run without smoothing, and the
# others take its learning rate. All jobs are known from the config: what is chosen is a file.
#
# Needs  results/inputs/models/MODEL/manifest.json, results/inputs/sft/SFT.jsonl, and for
#        trials results/inputs/sft/SFT.heldout.jsonl
# Makes  ROOT/runs/RUN/manifest.json, the checkpoint beside it, its loss log, and what it used;
#        checkpoints are temporary if the config says keep_checkpoints: false
#        ROOT/runs/TRIAL/heldout.json           a trial's loss
#        ROOT/learning_rates/MODEL.SFT.json     the choice, and what it was made from


rule train_sft:
    input:
        model=base_manifest,
        data=lambda w: paths.SFT_DATA.format(
            sft=job_params.run(CONFIG, w.root, w.run).sft
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
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.training(CONFIG, w.root, w.run)),
        code=code("train_sft"),
        # Undeclared, so that Snakemake leaves it to the retry that resumes from it.
        scratch=lambda w: paths.SCRATCH.format(
            root=w.root,
            key=job_params.training_key(CONFIG, w.root, w.run, code("train_sft")),
        ),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
        python scripts/train_sft.py --model {input.model:q} --data {input.data:q} \
            --params {params.settings:q} --learning-rate {input.learning_rate:q} \
            --manifest {output.manifest:q} --checkpoint {output.checkpoint:q} \
            --loss-log {output.loss:q} --usage {output.usage:q} \
            --scratch {params.scratch:q} 2>&1 | tee {log:q}
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
    # before what is still to be trained, whose weights take space
    priority: 1
    conda:
        "../envs/environment.yaml"
    threads: 1
    params:
        settings=lambda w: canonical(job_params.evaluating(CONFIG, w.root, w.run)),
        code=code("evaluate_sft"),
    shell:
        r"""
        export OMP_NUM_THREADS={threads} OMP_WAIT_POLICY=passive HF_HUB_OFFLINE=1
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
        # all that train_sft makes, or Snakemake would not notice when it takes over
        usage=paths.TRAINING_USAGE,
    log:
        paths.log("{root}/adopt_trial/{run}"),
    benchmark:
        paths.timing("{root}/adopt_trial/{run}")
    wildcard_constraints:
        # of each study its own runs, which another may train
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
