# The figure in docs/ of simulations, not of a study: `snakemake docs/coverage.pdf`. Its files are
# committed.
#
# Makes  docs/coverage.csv                     how often intervals held the true value, and how
#                                              often tests rejected it
#        docs/procedures.csv                   the same of all other procedures
#        docs/coverage.pdf, .png and .json     the figure, and where it came from


rule simulate_coverage:
    output:
        output="docs/coverage.csv",
    log:
        paths.log("docs/simulate_coverage"),
    benchmark:
        paths.timing("docs/simulate_coverage")
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=canonical({}),
        code=code("simulate_coverage"),
    shell:
        command("simulate_coverage", [], ["output"])
        + " --processes {threads} 2>&1 | tee {log:q}"


rule simulate_tests:
    output:
        output="docs/procedures.csv",
    log:
        paths.log("docs/simulate_tests"),
    benchmark:
        paths.timing("docs/simulate_tests")
    localrule: True
    conda:
        "../envs/environment.yaml"
    params:
        settings=canonical({}),
        code=code("simulate_tests"),
    shell:
        command("simulate_tests", [], ["output"]) + " 2>&1 | tee {log:q}"


rule plot_coverage:
    input:
        coverage="docs/coverage.csv",
        procedures="docs/procedures.csv",
        style=paths.STYLE,
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
        command(
            "plot_coverage",
            ["coverage", "procedures", "style"],
            ["pdf", "png", "sidecar"],
            CODE,
        )
        + " >{log:q} 2>&1"
