# Recalibration: temperature scaling, Platt scaling and isotonic regression of the readout that
# the figures show, fitted in some languages and applied to all, beside label smoothing.
#
# Needs  ROOT/records/RUN/BENCHMARK.parquet of all that the study scored or imported
# Makes  ROOT/recalibration.csv          metrics by group of languages, method and fit
#        ROOT/recalibration_by_lang.csv  the same by language
#        ROOT/figures/recalibration_transfer.*, ROOT/tables/recalibration.*, and those of
#        other panels, as in rules/figures.smk


rule compute_recalibration:
    input:
        all_records,
    output:
        groups=paths.RECALIBRATION,
        languages=paths.RECALIBRATION_BY_LANG,
    log:
        paths.log("{root}/compute_recalibration"),
    benchmark:
        paths.timing("{root}/compute_recalibration")
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=lambda w: canonical(job_params.recalibration(CONFIG, w.root)),
        code=code("compute_recalibration"),
    shell:
        r"""
        export OMP_NUM_THREADS=1
        python scripts/compute_recalibration.py --records {input:q} --params {params.settings:q} \
            --output {output.groups:q} --by-language {output.languages:q} \
            --processes {threads} 2>&1 | tee {log:q}
        """


rule make_recalibration_table:
    input:
        paths.RECALIBRATION,
    output:
        **table("recalibration"),
    log:
        paths.log("{root}/{panel}make_recalibration_table"),
    benchmark:
        paths.timing("{root}/{panel}make_recalibration_table")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=figure_settings(figure_params.Reference),
        code=code("make_recalibration_table"),
    shell:
        r"""
        python scripts/make_recalibration_table.py --recalibration {input:q} \
            --params {params.settings:q} --code {params.code:q} --csv {output.csv:q} \
            --tex {output.tex:q} --sidecar {output.sidecar:q} >{log:q} 2>&1
        """
