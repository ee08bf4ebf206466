# Verdicts on the claims of the two papers, each from the files of a single study.
#
# Needs  claims.yaml; ROOT/records/* and, by kind of study, ROOT/summary.csv or ROOT/tables/*.csv
# Makes  ROOT/claims/verdicts.json   the verdicts, with the evidence for each
#        ROOT/claims/verdicts.md     the verdicts as a table; verdicts.html, as a page of the report
#        ROOT/claims/provenance.json where they came from
#
# tools/check_verdicts.py (`make verify STUDY=...`) compares them with expected/claims.yaml. No rule
# does, so that unexpected verdicts can still be read.


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
    localrule: not SITE.submits("verify_claims")
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
