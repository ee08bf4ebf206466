# The figure of docs/ that is simulated, not of a study: `snakemake docs/coverage.pdf`. What it
# makes is committed.
#
# Makes  docs/coverage.csv                     how often intervals held what is true, and tests
#                                              rejected it
#        docs/coverage.pdf, .png and .json     its figure, and where that came from

COVERAGE = {
    "simulations": 1000,
    "replicates": 200,
    "seed": 0,
    "level": 0.95,
    "bins": 15,
    "languages": 4,
    "questions": [100, 1000],
    "powers": [1.0, 1.5, 2.5],
}


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
        settings=canonical(COVERAGE),
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
        settings=canonical(
            {"study": "docs", "target": "docs/coverage.pdf", "seed": COVERAGE["seed"]}
        ),
        code=code("plot_coverage"),
    shell:
        r"""
        python scripts/plot_coverage.py --coverage {input:q} --params {params.settings:q} \
            --code {params.code:q} --pdf {output.pdf:q} --png {output.png:q} \
            --sidecar {output.sidecar:q} >{log:q} 2>&1
        """
