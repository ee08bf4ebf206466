# multical: every figure of two calibration studies is a file that Snakemake can rebuild.
#
#   snakemake -c2                                           the demo study, on any laptop
#   snakemake -c2 results/demo/figures/ece_by_lang.pdf      one figure of it
#
# The root of a target's path says which study it belongs to (see config.yaml).
import functools
import gc
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

min_version("9.27")

# What is imported, and the rules, jobs and files below, stay: collections of garbage that look
# through them again and again would be a tenth of a dry run.
gc.freeze()
gc.set_threshold(50_000)

# Jobs run with the same Python and modules as this Snakemake. matplotlib's list of fonts is our own:
# with that of the user, which other programs write, it could take another font for ours.
os.environ.update(
    PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]),
    MPLCONFIGDIR=str(Path(".snakemake/matplotlib").absolute()),
)
# A job ends well and its log is whole even if nobody reads what it prints, as when its terminal was
# closed. If its program is killed, the log says so. It is said here, since an edit of a rule's shell
# command would run its jobs again. OpenBLAS has one thread, since its sums depend on their number,
# and Snakemake gives it as many as cores.
shell.prefix(
    "set -euo pipefail; export OPENBLAS_NUM_THREADS=1; "
    'tee() {{ trap "" PIPE; command tee "$@" || cat >/dev/null; }}; '
    'python() {{ command python "$@" || {{ set -- $?; [ $1 -le 128 ] || echo "error: ended by the'
    ' signal $(kill -l $1) (the system sends KILL if memory runs out)" >&2; return $1; }}; }}; '
)
sys.path.insert(0, str(Path(workflow.basedir, "scripts")))

from multical.bundle import unbundling
from multical.claims import schema as claims_schema
from multical.cluster import site
from multical.config import files, studies
from multical.dag import snapshots
from multical.errors import InputError
from multical import paths
from multical.figures import params as figure_params
from multical.page import contents
from multical.page.contents import Product
from multical.params import SEGMENT, canonical, option
from multical.patches.snakemake import patch_snakemake
from multical.provenance import hosts, surroundings
from multical.provenance.fingerprint import fingerprint as code, not_as_locked
from multical.workflow import captions, drivers, job_params, msp_params, own_files
from multical.workflow import question_checks, scoring_params

CLEARED = surroundings.clear(os.environ)

try:
    surroundings.check_scripts(Path(workflow.basedir, "scripts"))
    unbundling.finish()
    files.check_first(workflow.basedir)
except InputError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


# For `--sdm apptainer` alone: the image of envs/apptainer.def.
container: "envs/multical.sif"


try:
    included = files.add_included(config, read=workflow.configfiles)
    workflow.configfiles += included  # for the report
    CONFIG = files.checked(config, included)
    config |= captions.functions(CONFIG)
    CLAIMS = claims_schema.load(Path(workflow.basedir, "claims.yaml"))
    SITE = site.load()
    patch_snakemake(left=drivers.left())
except InputError as error:
    raise WorkflowError(str(error)) from None


# Records for `make recover`, if this Snakemake is killed, and for `make provenance` and
# `make explain`. The warnings matter because results count as made with the lock's libraries.
onstart:
    for line in [*not_as_locked(), *CLEARED]:
        logger.warning(line)
    drivers.record(CONFIG)
    hosts.record()
    snapshots.record(CONFIG, CLAIMS)


report: "report/workflow.rst"


wildcard_constraints:
    root="|".join(map(re.escape, sorted(CONFIG.studies, reverse=True))),
    model=SEGMENT,
    run=SEGMENT,
    benchmark=SEGMENT,
    sft=SEGMENT,


rule all:
    default_target: True
    input:
        paths.HEADLINE.format(root="results/demo"),


include: "rules/common.smk"
include: "rules/inputs.smk"
include: "rules/train.smk"
include: "rules/score.smk"
include: "rules/api.smk"
include: "rules/harness.smk"
include: "rules/metrics.smk"
include: "rules/figures.smk"
include: "rules/msp.smk"
include: "rules/claims.smk"
include: "rules/page.smk"
include: "rules/docs.smk"
