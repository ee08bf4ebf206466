# The page of a study: its finding, verdicts, figures and tables in one file.
#
# Needs  all figures and tables of the study, with their sidecars; ROOT/claims/*;
#        tables of rules/metrics.smk or rules/msp.smk; captions in report/, and the page's template
# Makes  ROOT/index.html             loads nothing: pictures, style and data are in it
#        ROOT/index.json             where it came from


rule make_page:
    input:
        page_inputs,
        parts=pages_of_parts,
    output:
        page=paths.PAGE,
        sidecar=paths.PAGE_SIDECAR,
    log:
        paths.log("{root}/make_page"),
    benchmark:
        paths.timing("{root}/make_page")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=page_settings,
        code=code("make_page"),
    shell:
        command("make_page", [], ["page", "sidecar"], CODE, piped="params.settings")
        + " >{log:q} 2>&1"
