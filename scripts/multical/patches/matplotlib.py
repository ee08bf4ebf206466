"""matplotlib 3.11 embeds fonts in PDF files with tables that tell how to combine glyphs.

To read them takes a third of the time of a small figure. It has combined the glyphs by then, and no
reader of PDF files looks at them.

Until matplotlib > 3.11.2: a setting for the tables of embedded fonts.
"""

from __future__ import annotations

from matplotlib.backends._backend_pdf_ps import subset

#: Tables of OpenType Layout
UNREAD = ("GDEF", "GPOS", "GSUB")


def embed_glyphs_alone() -> None:
    """Leave these tables out of the fonts that this process embeds."""
    dropped = subset.Options._drop_tables_default
    dropped += [table for table in UNREAD if table not in dropped]
