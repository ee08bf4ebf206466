# The figure of docs/ that is simulated, not of a study: `snakemake docs/coverage.pdf`. What it
# makes is committed.
#
# Makes  docs/coverage.csv                     how often intervals held what is true, and tests
#                                              rejected it
#        docs/coverage.pdf, .png and .json     its figure, and where that came from


rule simulate_coverage:
    output:
        "docs/coverage.csv",
    log:
        paths.log("docs/simulate_coverage"),
    benchmark:
        paths.timing("docs/simulate_coverage")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=canonical({}),
        code=code("simulate_coverage"),
    shell:
        r"""
        python scripts/simulate_coverage.py --params {params.settings:q} --output {output:q} \
            2>&1 | tee {log:q}
        """


rule plot_coverage:
    input:
        "docs/coverage.csv",
    output:
        pdf="docs/coverage.pdf",
        png="docs/coverage.png",
        sidecar="docs/coverage.json",
    log:
        paths.log("docs/plot_coverage"),
    benchmark:
        paths.timing("docs/plot_coverage")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=canonical({"study": "docs", "seed": 0}),
        code=code("plot_coverage"),
    shell:
        r"""
        python scripts/plot_coverage.py --coverage {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """
