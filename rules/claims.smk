# Do the claims of the two studies hold: a verdict on each, from one study's own files.
#
# Needs  claims.yaml; ROOT/records/* and, by kind of study, ROOT/summary.csv or ROOT/tables/*.csv
# Makes  ROOT/claims/verdicts.json   verdicts, and all that they were judged by
#        ROOT/claims/verdicts.md     the table; verdicts.html, the page of the report
#        ROOT/claims/provenance.json where they came from
#
# Whether verdicts are those of expected/claims.yaml is told by tools/check_verdicts.py
# (`make verify STUDY=...`), so that an unexpected one can still be read.


rule verify_claims:
    input:
        records=claimed_records,
        tables=lambda w: [
            f"{w.root}/{file}" for file in CLAIMS.evidence(study(w.root).kind)
        ],
        parts=verdicts_of_parts,
    output:
        json=paths.VERDICTS,
        markdown=paths.VERDICTS_TABLE,
        page=report(
            paths.VERDICTS_PAGE,
            caption="../report/claims.rst",
            category="Claims",
            labels={"page": "verdicts"},
        ),
        sidecar=report(
            paths.VERDICTS_SIDECAR,
            category="Provenance",
            labels={"of": "claims"},
        ),
    log:
        paths.log("{root}/verify_claims"),
    benchmark:
        paths.timing("{root}/verify_claims")
    localrule: True
    conda:
        "../envs/environment.yaml"
    threads: 2
    params:
        settings=claimed,
        code=code("verify_claims"),
    shell:
        command(
            "verify_claims",
            ["records", "tables", "parts"],
            ["json", "markdown", "page", "sidecar"],
            CODE,
            "--processes {threads}",
        )
        + " >{log:q} 2>&1"
