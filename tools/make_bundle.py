"""Write one archive of a study: all that its figures are made of, to keep or to hand on.

Run it in the folder that holds the Snakefile. The study must be up to date. In the archive are
records, metrics, tables, figures, claims, logs, what Snakemake remembers of them, the merged
config, the lock of the environment, and a manifest with the SHA-256 of each file;
unpack_bundle.py puts it into a clone, where there is then nothing to do. Weights and data of the
hub are left out. Tokens are hidden in logs, and refused elsewhere. The same study gives the same
bytes.

With --anonymous there are no logs, no commit and no citation, and a bundle that has the name of
the user, host, home, folder, an author or a remote of the repository anywhere is refused.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from string import Template

import yaml

import _path  # noqa: F401  finds multical
from multical.bundle import anonymity, archive, contents
from multical.bundle.archive import Manifest
from multical.bundle.contents import Contents
from multical.errors import program, redacted

Sources = Mapping[str, Path | bytes]
#: What the reader of a bundle is told first
README = Template("""\
# $study: a bundle of multical

A study's results, and all that its figures, tables and claims are made of. `manifest.json` has the
size and SHA-256 of each file.$made

In a clone of multical$checkout, after `make env`:

    make unbundle BUNDLE=FILE    # checks all of it, then unpacks; refuses what is damaged
    # to see the figures drawn again, without a GPU or network:
    rm -r $study/figures
    .venv/bin/snakemake --cores 2 -- $$(cat $own/figures.txt)

- `$study/`: records (answers per question), metrics, tables, figures, verdicts on claims
- `results/inputs/`: what models and data are, and the data that the workflow made itself
- `logs/`: what each job said, and how long it took$logs
- `$own/`: this file; `config.yaml`, the whole config;
  `requirements.lock`, the environment; `snakemake.json`, what Snakemake remembers of each file;
  `machines.json`, where local jobs ran; `figures.txt`, the figures$citation

$left
""")
LEFT = """\
Not in it, since it can be fetched or trained again:

$what

Records, tables and figures do not need it. Whoever wants to train or score again fetches a base
model first, with `snakemake --cores 2 -- results/inputs/models/MODEL/checkpoint`; what needs the
weights of a fine-tuned run trains that run again.
"""


def main() -> None:
    args = arguments()
    study = contents.collect(args.study)
    sources = gathered(study, args.anonymous)
    search(sources, args)
    commit, modified = (None, False) if args.anonymous else contents.commit()
    latest = max(study.times.values())
    manifest = Manifest(
        bundle=1,
        study=study.study,
        anonymous=args.anonymous,
        commit=commit,
        modified=modified,
        targets=study.targets,
        files={
            name: archive.entry(source, study.times.get(name, latest))
            for name, source in sources.items()
        },
        needed=study.needed,
        left_out={
            name: archive.entry(Path(name), study.times[name]) if Path(name).is_file() else None
            for name in study.left_out
        },
    )
    output = args.output or default_output(args.study, args.anonymous)
    archive.write(output, manifest, sources)
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(sources)} files of {study.study}, {size:.1f} MB")
    if modified:
        print("its code had changes that are not committed: others cannot have the same")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True, metavar="ROOT", help="such as results/demo")
    parser.add_argument("--output", type=Path, metavar="TAR.GZ", help="else multical-STUDY.tar.gz")
    parser.add_argument("--anonymous", action="store_true", help="for double-blind review")
    for name, what in (("--hide", "another name to refuse"), ("--allow", "one to let pass")):
        parser.add_argument(name, action="append", default=[], metavar="NAME", help=what)
    return parser.parse_args()


def default_output(study: str, anonymous: bool) -> Path:
    """The name of a bundle that is given none."""
    return Path(f"multical-{Path(study).name}{'-anonymous' * anonymous}.tar.gz")


def gathered(study: Contents, anonymous: bool) -> Sources:
    """All files of a bundle but its manifest: paths, and the contents of those that are new."""
    sources: dict[str, Path | bytes] = {name: Path(name) for name in study.files + study.timings}
    if not anonymous:
        for name in study.logs:
            text = Path(name).read_text(encoding="utf-8", errors="replace")
            sources[name] = redacted(text).encode()
    own = archive.own_folder(study.study)
    figures = [name for name in study.files if name.endswith(".pdf")]
    sources |= {
        f"{own}/figures.txt": "".join(f"{name}\n" for name in figures).encode(),
        f"{own}/README.md": readme(study, anonymous).encode(),
        f"{own}/config.yaml": yaml.safe_dump(study.config, allow_unicode=True).encode(),
        f"{own}/snakemake.json": json.dumps(study.records, indent=1, sort_keys=True).encode(),
        f"{own}/machines.json": json.dumps(study.machines, indent=1, sort_keys=True).encode(),
        f"{own}/requirements.lock": Path("envs/requirements.lock"),
    }
    if not anonymous:
        sources[f"{own}/CITATION.cff"] = Path("CITATION.cff")
    return sources


def readme(study: Contents, anonymous: bool) -> str:
    """What the reader is told."""
    commit, modified = (None, False) if anonymous else contents.commit()
    changed = ", with changes" if modified else ""
    own = archive.own_folder(study.study)
    left = Template(LEFT).substitute(what="\n".join(f"- `{name}`" for name in study.left_out))
    return README.substitute(
        study=study.study,
        own=own,
        made=f"\nMade at commit {commit}{changed}." if commit else "",
        checkout=" at that commit" if commit else "",
        logs=" (times alone)" if anonymous else "",
        citation="" if anonymous else "; `CITATION.cff`",
        left=left if study.left_out else "Nothing is left out.",
    )


def search(sources: Sources, args: argparse.Namespace) -> None:
    """Raise `InputError` for a file with a token, and in an anonymous bundle with a name."""
    found = anonymity.tokens()
    wanted = "no token in a bundle"
    if args.anonymous:
        found |= anonymity.names(args.hide, args.allow)
        wanted = "no name in an anonymous bundle (--allow NAME lets one pass)"
    looking = anonymity.Search(found)
    for name, source in sorted(sources.items()):
        content = source if isinstance(source, bytes) else source.read_bytes()
        looking.check(name, name.encode(), wanted)
        looking.check(name, content, wanted)


if __name__ == "__main__":
    program(main)
