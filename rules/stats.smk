# From records to tests of what SFT and smoothing change, their figures and their table.
#
# Needs  ROOT/records/RUN/BENCHMARK.parquet of all that the study scored or imported
# Makes  ROOT/stats/effects.csv                 changes by language, with intervals and tests
#        ROOT/stats/effects_over_languages.csv  the same over groups of languages
#        ROOT/stats/mixed_effects.csv           changes by resource level in mixed models
#        ROOT/stats/mixed_models.csv            how each model was fitted, with diagnostics
#        ROOT/figures/effects_by_lang.MODEL.*, effects_by_resource.*, tables/p_values.*,
#        and the same of other panels, as rules/figures.smk has it


rule compute_effects:
    input:
        all_records,
    output:
        effects=paths.EFFECTS,
        over=paths.EFFECTS_OVER_LANGUAGES,
    log:
        paths.log("{root}/compute_effects"),
    benchmark:
        paths.timing("{root}/compute_effects")
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.effects(CONFIG, w.root)),
        code=code("compute_effects"),
    shell:
        r"""
        python scripts/compute_effects.py --records {input:q} --params {params.settings:q} \
            --effects {output.effects:q} --over-languages {output.over:q} \
            --processes {threads} 2>&1 | tee {log:q}
        """


rule fit_mixed_model:
    input:
        all_records,
    output:
        effects=paths.MIXED_EFFECTS,
        models=paths.MIXED_MODELS,
    log:
        paths.log("{root}/fit_mixed_model"),
    benchmark:
        paths.timing("{root}/fit_mixed_model")
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.mixed_models(CONFIG, w.root)),
        code=code("fit_mixed_model"),
    shell:
        r"""
        python scripts/fit_mixed_model.py --records {input:q} --params {params.settings:q} \
            --effects {output.effects:q} --models {output.models:q} \
            --processes {threads} 2>&1 | tee {log:q}
        """


rule make_p_value_table:
    input:
        effects=paths.EFFECTS,
        over=paths.EFFECTS_OVER_LANGUAGES,
        mixed=paths.MIXED_EFFECTS,
    output:
        **table("p_values"),
    log:
        paths.log("{root}/{panel}make_p_value_table"),
    benchmark:
        paths.timing("{root}/{panel}make_p_value_table")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Conditions),
        code=code("make_p_value_table"),
    shell:
        r"""
        python scripts/make_p_value_table.py --effects {input.effects:q} \
            --effects_over_languages {input.over:q} --mixed_effects {input.mixed:q} \
            --params {params.settings:q} --code {params.code:q} --csv {output.csv:q} \
            --tex {output.tex:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
        """
