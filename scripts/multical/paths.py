"""The path of each file of a study. No other module, rule or program spells out these paths.

A path is a pattern with wildcards in braces, the form that Snakemake's rules take. `str.format`
fills them in. All studies share the inputs. Every other file lies below the root of its study.
"""

from __future__ import annotations

# -- inputs: base models, benchmarks and SFT data
INPUTS = "results/inputs"
MODEL_MANIFEST = f"{INPUTS}/models/{{model}}/manifest.json"
MODEL_CHECKPOINT = f"{INPUTS}/models/{{model}}/checkpoint"
#: Values of the wildcard `part`; it is empty for the questions and the training data themselves
FEWSHOT, HELDOUT = ".fewshot", ".heldout"
#: Questions or few-shot examples of a benchmark, a report on them, and their sources
BENCHMARK_PART = f"{INPUTS}/benchmarks/{{benchmark}}{{part}}.parquet"
BENCHMARK_PART_NAMES = f"{INPUTS}/benchmarks/{{benchmark}}{{part}}.names.csv"
BENCHMARK_PART_ABOUT = f"{INPUTS}/benchmarks/{{benchmark}}{{part}}.about.json"
BENCHMARK = BENCHMARK_PART.replace("{part}", "")
BENCHMARK_ABOUT = BENCHMARK_PART_ABOUT.replace("{part}", "")
FEWSHOT_EXAMPLES = BENCHMARK_PART.replace("{part}", FEWSHOT)
#: SFT data, or the conversations held out of them, and their sources
SFT_PART = f"{INPUTS}/sft/{{sft}}{{part}}.jsonl"
SFT_PART_ABOUT = f"{INPUTS}/sft/{{sft}}{{part}}.about.json"
SFT_DATA = SFT_PART.replace("{part}", "")
SFT_ABOUT = SFT_PART_ABOUT.replace("{part}", "")
HELDOUT_DATA = SFT_PART.replace("{part}", HELDOUT)
#: The checksums of all that `make fetch` has fetched
FETCHED = f"{INPUTS}/fetched.sha256"

# -- SFT runs, and the trials of learning rates
RUN_MANIFEST = "{root}/runs/{run}/manifest.json"
RUN_CHECKPOINT = "{root}/runs/{run}/checkpoint"
LOSS_LOG = "{root}/runs/{run}/loss.jsonl"
TRAINING_USAGE = "{root}/runs/{run}/usage.json"
HELDOUT_LOSS = "{root}/runs/{run}/heldout.json"
LEARNING_RATE = "{root}/learning_rates/{model}.{sft}.json"
#: Folders that Snakemake does not know of, from which a repeated job resumes
SCRATCH = "{root}/scratch/{key}"

# -- records: of all languages, or of the languages of one shard
RECORDS = "{root}/records/{run}/{benchmark}.parquet"
SCORING_USAGE = "{root}/records/{run}/{benchmark}.usage.json"
SHARD_RECORDS = "{root}/records/{run}/{benchmark}{shard}.parquet"
SHARD_USAGE = "{root}/records/{run}/{benchmark}{shard}.usage.json"
RELEASED_RECORDS = "{root}/records/released.parquet"
RELEASED_SUMMARY = "{root}/records/released.json"
#: All answers of an API; `make clean` keeps them
API_CACHE = "cache/api/{run}.sqlite"

# -- results computed from records
METRICS = "{root}/metrics.csv"
SUMMARY = "{root}/summary.csv"
RELIABILITY = "{root}/reliability.csv"
RELIABILITY_BY_LANG = "{root}/reliability_by_lang.csv"
CULTURE = "{root}/culture.csv"
RECALIBRATION = "{root}/recalibration.csv"
RECALIBRATION_BY_LANG = "{root}/recalibration_by_lang.csv"
TEMPERATURES = "{root}/temperatures.csv"
FERTILITY = "{root}/stats/fertility.csv"
EFFECTS = "{root}/stats/effects.csv"
EFFECTS_OVER_LANGUAGES = "{root}/stats/effects_over_languages.csv"

# -- figures and tables; the wildcard `panel` is empty or a folder such as `global-mmlu.tulu3/`
FIGURES = "{root}/figures"
FIGURE = "{root}/figures/{panel}{name}"
STYLE = "scripts/multical/figures/default.mplstyle"
TABLE = "{root}/tables/{panel}{name}"
#: A table that does not depend on a panel
STUDY_TABLE = "{root}/tables/{name}"
HEADLINE = "{root}/headline.txt"
#: All of a study on one page, and Snakemake's own report
PAGE = "{root}/index.html"
PAGE_SIDECAR = "{root}/index.json"
REPORT = "{root}/report.html"

# -- claims
VERDICTS = "{root}/claims/verdicts.json"
VERDICTS_TABLE = "{root}/claims/verdicts.md"
VERDICTS_PAGE = "{root}/claims/verdicts.html"
VERDICTS_SIDECAR = "{root}/claims/provenance.json"

# -- logs of jobs, and the time and memory that they took, as Snakemake records them
LOG = "logs/{job}.log"
TIMING = "logs/{job}.tsv"
#: What a Snakemake that is a job of a cluster says
DRIVER_LOG = "logs/slurm/driver/{job}.log"
TRAINING_TIMING = TIMING.replace("{job}", "{root}/train_sft/{run}")
HELDOUT_TIMING = TIMING.replace("{job}", "{root}/evaluate_sft/{run}")
SCORING_TIMING = TIMING.replace("{job}", "{root}/score_run/{run}.{benchmark}{shard}")


def log(job: str) -> str:
    """The log of a job; `job` is its rule and its wildcards."""
    return LOG.replace("{job}", job)


def timing(job: str) -> str:
    """The timing of a job; `job` is its rule and its wildcards."""
    return TIMING.replace("{job}", job)
