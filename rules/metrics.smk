# From records to the tables that figures are drawn from. No model is needed from here on.
#
# Needs  ROOT/records/RUN/BENCHMARK.parquet of all runs and benchmarks of the study
# Makes  ROOT/metrics.csv      metrics by run, benchmark, language and readout
#        ROOT/summary.csv      the same over groups of languages
#        ROOT/reliability.csv  bins of reliability diagrams by group of languages
#        ROOT/reliability_by_lang.csv  the same by language
#        ROOT/culture.csv      metrics of culturally sensitive and agnostic questions, and their
#                              differences, for benchmarks that label culture
#        ROOT/recalibration.csv          metrics after temperature scaling, Platt scaling and
#                                        isotonic regression, for the readout of the figures
#        ROOT/recalibration_by_lang.csv  the same by language
#        ROOT/temperatures.csv           temperatures by language, and of the fits that serve others
#        ROOT/stats/fertility.csv  tokens a byte of the options' texts, by language
#        ROOT/stats/effects.csv                 changes by SFT and smoothing, by language, with
#                                               intervals and tests
#        ROOT/stats/effects_over_languages.csv  the same over groups of languages, and differences
#                                               between resource levels

#: Each program: its records, its settings, and its tables by the option that names them.
COMPUTED = {
    "compute_metrics": (
        all_records,
        job_params.metrics,
        {"metrics": paths.METRICS, "summary": paths.SUMMARY},
    ),
    "bin_reliability": (
        all_records,
        job_params.reliability,
        {"output": paths.RELIABILITY, "by_language": paths.RELIABILITY_BY_LANG},
    ),
    "compute_culture": (
        labelled_records,
        job_params.metrics,
        {"output": paths.CULTURE},
    ),
    "compute_recalibration": (
        all_records,
        job_params.recalibration,
        {
            "output": paths.RECALIBRATION,
            "by_language": paths.RECALIBRATION_BY_LANG,
            "temperatures": paths.TEMPERATURES,
        },
    ),
    "compute_fertility": (
        all_records,
        job_params.fertility,
        {"output": paths.FERTILITY},
    ),
    "compute_effects": (
        all_records,
        job_params.effects,
        {"effects": paths.EFFECTS, "over_languages": paths.EFFECTS_OVER_LANGUAGES},
    ),
}


for program, (records, settings, made) in COMPUTED.items():
    make_rule(
        program,
        {"records": records},
        made,
        settings_of(settings),
        ["--processes {threads}"],
        threads=2,
    )
