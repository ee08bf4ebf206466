"""Write one archive of a study, with all that its figures are made from, to keep or to hand on.

Run it in the folder that holds the Snakefile. The study must be up to date. The archive is an
RO-Crate: records, metrics, tables, figures, claims, logs, the code, the merged config, Snakemake's
records, and the SHA-256 of each file. After unpack_bundle.py has put it into a clone, Snakemake has
nothing to do there. Weights are left out, and so are data that only their owners may hand on: those
of the hub, and files of your own. --share NAME takes the benchmark or SFT data of this name along;
files of your own that they were made from are not in a bundle. Tokens are hidden in logs, and
refused in other files. The same study gives the same bytes.

With --anonymous, the bundle has no logs, no commit and no citation. It is refused if any file has
the name of the user, host, home or folder, or of an author or remote of the repository.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from string import Template

import yaml

import _path  # noqa: F401  finds multical
from multical.bundle import anonymity, archive, contents, unbundling
from multical.bundle.archive import RESTORE, Restore
from multical.bundle.entries import names_of
from multical.config.files import Data
from multical.dag import crate
from multical.dag.crate import Sources
from multical.dag.lineage import DESCRIPTIONS, Lineage
from multical.errors import program, redacted
from multical.params import canonical
from multical.paths import INPUTS

README = Template("""\
# $study: a bundle of multical

A study's results, and all that its figures, tables and claims are made of, as an RO-Crate:
`ro-crate-metadata.json` says how each file was made, and has its size and SHA-256.$made

In a clone of multical$checkout, after `make env`:

    make unbundle BUNDLE=FILE    # checks all of it, then unpacks; refuses what is damaged
    # to see the figures drawn again, without a GPU or network:
    rm -r $study/figures
    .venv/bin/snakemake --cores 2 -- $$(cat $own/figures.txt)

- `$study/`: records (answers per question), metrics, tables, figures, verdicts on claims
- `results/inputs/`: descriptions of models and data, and the data that the workflow made itself
- `logs/`: what each job printed, and how long it took$logs
- `$own/`: `config.yaml`, the config's entries of the study; `figures.txt`, the figures
- `Snakefile`, `rules/`, `scripts/`, `config.yaml`, `claims.yaml`: the code, for the reader
- `envs/requirements.lock`: the environment
- `restore.json`: Snakemake's record of each file, and the machines of local jobs$citation

$left
""")
LEFT = """\
Not in it, since it can be fetched or trained again, or is for its owner to hand on:

$what

Records, tables and figures do not need it. To train or score again, fetch the base model first,
with `snakemake --cores 2 -- results/inputs/models/MODEL/checkpoint`. A job that needs the weights
of a fine-tuned run trains that run again.
"""


def main() -> None:
    args = arguments()
    unbundling.finish()
    lineage, restore, entries = contents.collect(args.study, args.anonymous, args.share)
    sources = gathered(lineage, restore, entries)
    search(sources, args)
    suffix = "-anonymous" * args.anonymous
    output = args.output or Path(f"multical-{Path(args.study).name}{suffix}.zip")
    archive.write(output, sources)
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(sources)} files of {args.study}, {size:.1f} MB")
    for line in told(lineage, restore, entries, sources):
        print(line)
    if restore.modified:
        print("its code had changes that are not committed: others cannot have the same")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, metavar="ROOT", help="such as results/demo")
    parser.add_argument("--output", type=Path, metavar="ZIP", help="else multical-STUDY.zip")
    parser.add_argument(
        "--share", action="append", default=[], metavar="NAME", help="data that you may hand on"
    )
    parser.add_argument("--anonymous", action="store_true", help="for double-blind review")
    for option, text in (("--hide", "another name to refuse"), ("--allow", "a name to let pass")):
        parser.add_argument(option, action="append", default=[], metavar="NAME", help=text)
    return parser.parse_args()


def told(lineage: Lineage, restore: Restore, entries: Data, sources: Sources) -> Iterator[str]:
    """What the bundle has, and what it has not."""
    kinds = Counter(kind_of(name, restore.study) for name in sources)
    yield f"with {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
    data = [name for name in sources if name.startswith(f"{INPUTS}/")]
    yield from (f"with {name}" for name in sorted(data) if not name.endswith(DESCRIPTIONS))
    yield f"with entries of the config: {', '.join(names_of(entries))}"
    owned = {name: step.owned for step in lineage.steps for name in step.outputs}
    for name in restore.left_out:
        why = f"--share {owned[name]}, if you may hand it on" if owned[name] else "weights"
        yield f"without {name} ({why})"
    yield from (f"without {name} (no job makes it)" for name in restore.needed)


def kind_of(name: str, study: str) -> str:
    """What a file of a bundle is, as its summary counts them."""
    if name.startswith("logs/"):
        return "logs"
    if name.startswith(f"{INPUTS}/"):
        return "files on models and data"
    return f"results of {study}" if name.startswith("results/") else "files of code, and on itself"


def gathered(lineage: Lineage, restore: Restore, entries: Data) -> Sources:
    """All files of a bundle: paths of existing files, and contents of new ones."""
    sources: Sources = {}
    for name in sorted({name for step in lineage.steps for name in step.logs}):
        if name.endswith(".tsv") and Path(name).is_file():
            sources[name] = Path(name)
        elif Path(name).is_file() and not restore.anonymous:
            text = Path(name).read_text(encoding="utf-8", errors="replace")
            sources[name] = redacted(text).encode()
    folder = archive.about_folder(restore.study)
    outputs = {name for step in lineage.steps for name in step.outputs if Path(name).is_file()}
    figures = sorted(name for name in outputs if name.endswith(".pdf"))
    sources |= {
        "README.md": readme(restore).encode(),
        RESTORE: canonical(restore.model_dump()).encode(),
        f"{folder}/config.yaml": yaml.safe_dump(entries, allow_unicode=True).encode(),
        f"{folder}/figures.txt": "".join(f"{name}\n" for name in figures).encode(),
    }
    if not restore.anonymous:
        sources["CITATION.cff"] = Path("CITATION.cff")
    return crate.contents(lineage, restore.study, restore.left_out, sources)


def readme(restore: Restore) -> str:
    """The README of a bundle."""
    changed = ", with changes" if restore.modified else ""
    left = Template(LEFT).substitute(what="\n".join(f"- `{name}`" for name in restore.left_out))
    return README.substitute(
        study=restore.study,
        own=archive.about_folder(restore.study),
        made=f"\nMade at commit {restore.commit}{changed}." if restore.commit else "",
        checkout=" at that commit" if restore.commit else "",
        logs=" (times alone)" if restore.anonymous else "",
        citation="" if restore.anonymous else "\n- `CITATION.cff`: how to cite multical",
        left=left if restore.left_out else "Nothing is left out.",
    )


def search(sources: Sources, args: argparse.Namespace) -> None:
    """Raise `InputError` for a file with a token or, in an anonymous bundle, with a name."""
    texts = anonymity.tokens()
    wanted = "no token in a bundle"
    if args.anonymous:
        texts |= anonymity.names(args.hide, args.allow)
        wanted = "no name in an anonymous bundle (--allow NAME lets one pass)"
    search = anonymity.Search(texts)
    for name, source in sorted(sources.items()):
        content = source if isinstance(source, bytes) else source.read_bytes()
        search.check(name, name.encode(), wanted)
        search.check(name, content, wanted)


if __name__ == "__main__":
    program(main)
