"""Fonts in PDF files have the outlines of the whole font, and no tables that combine glyphs."""

from __future__ import annotations

from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.backends._backend_pdf_ps import get_glyphs_subset

from multical.figures import style
from multical.patches import matplotlib as patch


def test_embedded_glyphs_are_those_of_the_font() -> None:
    path = font_manager.findfont(style.plt.rcParams["font.family"][0])
    whole = TTFont(path)
    assert set(patch.UNREAD) <= set(whole.keys())
    used = {whole.getGlyphID(whole.getBestCmap()[ord(letter)]) for letter in "Fit 0,5é"}
    with get_glyphs_subset(font_manager.FontPath(path, 0), used) as part:
        assert not set(patch.UNREAD) & set(part.font.keys())
        for glyph in used:
            place = part.glyph_index_map[glyph]
            own = part.font["glyf"][part.font.getGlyphName(place)]
            expected = whole["glyf"][whole.getGlyphName(glyph)]
            assert own.getCoordinates(part.font["glyf"]) == expected.getCoordinates(whole["glyf"])
    patch.embed_glyphs_alone()
    assert patch.subset.Options().drop_tables.count("GSUB") == 1
