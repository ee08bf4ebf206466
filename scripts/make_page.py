"""Make the page of a study: one HTML file that says what was found, and shows all that was made.

It loads nothing: pictures, style and data are in it. It has aggregates alone, no answers. The same
files give the same bytes. The parameters determine which files are read. Their paths are relative
to the working folder, and so are links to files beside the page, such as PDFs.
"""

from __future__ import annotations

import time

from multical.errors import program
from multical.files import atomic
from multical.fixity import Inputs
from multical.page import build, contents
from multical.page.contents import PageJob
from multical.params import command_line
from multical.provenance.sidecar import write_sidecar


def main() -> None:
    started = time.monotonic()
    files = {"page": "output: the page, .html", "sidecar": "output: how it was made, JSON"}
    parser = command_line(__doc__, PageJob, **files)
    parser.add_argument("--code", required=True, help="fingerprint of the code, for the sidecar")
    args = parser.parse_args()
    page: PageJob = args.params
    inputs = Inputs(contents.inputs(page))
    text = build.html(page)
    with atomic(args.page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_sidecar(
        args.sidecar,
        study=page.study,
        target=str(args.page),
        params=page.model_dump(mode="json"),
        code=args.code,
        inputs=inputs,
        outputs=[args.page],
        started=started,
        seed=None,
    )


if __name__ == "__main__":
    program(main)
