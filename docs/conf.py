"""How Sphinx builds the documentation: offline, and nothing is fetched when a page is opened."""

from __future__ import annotations

from typing import Any

from latex2mathml.converter import convert

from usjp_research import __version__

project, author = "usjp-research", "usjp-research contributors"
html_show_copyright = False
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "study", "quiet"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types with shapes and units
add_module_names = False
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"  # one pair of backticks in a docstring is a name

html_theme = "furo"
html_title = "usjp-research"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_copy_source = html_show_sourcelink = html_show_sphinx = False
html_use_index = False
LIGHT, DARK = ("#0b5394", "#ffffff", "#f5f6f8"), ("#8cc0f5", "#13171c", "#1b2027")
html_theme_options = {
    f"{name}_css_variables": {
        "color-brand-primary": link,
        "color-brand-content": link,
        "color-brand-visited": link,
        "color-background-primary": paper,
        "color-background-secondary": plate,
    }
    for name, (link, paper, plate) in {"light": LIGHT, "dark": DARK}.items()
}


def _mathml(writer: Any, node: Any) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    kind = "block" if node.tagname == "math_block" else "inline"
    writer.body.append(convert(node.astext(), display=kind))
    node.clear()  # its text is written


def setup(app: Any) -> None:
    """Register the formulas' form."""
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))


html_math_renderer = "mathml"
