"""How the pages of this folder become a site: `python -m sphinx -W docs docs/_build`."""

from __future__ import annotations

import re
from typing import Any

import tinygrad_edu

project = "tinygrad_edu"
version = release = tinygrad_edu.__version__
html_title = "tinygrad_edu"
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["page.css"]
html_copy_source = html_show_sourcelink = html_show_copyright = False
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build"]
copybutton_exclude = ".linenos, .gp, .go"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
nitpicky = False

SECTION = re.compile(r"(\w+):(?:\s+(.*))?$")


def rewrite(docstring: list[str]) -> list[str]:
    """A docstring of this package as reStructuredText.

    Paragraphs stay paragraphs, `code` is code, lines such as `Shapes:  (m, n) → (m, k)` become
    fields, and what is indented is shown as it stands.
    """
    lines: list[str] = []
    in_field = in_block = False
    for line in docstring:
        section = SECTION.match(line) if not line.startswith(" ") else None
        if not line.strip():
            lines.append("")
        elif section and section[1] in ("Shapes", "Error", "Raises", "Source", "Keeps", "Example"):
            in_field, in_block = section[1] != "Example", False
            end = f" {_inline(section[2])}" if section[2] else ""
            lines += [] if in_field and lines and lines[-1].startswith(":") else [""]
            lines.append(f":{section[1]}:{end}")
        elif line.startswith("    ") and in_field:
            lines.append("    " + _inline(line.strip()))
        elif line.startswith("    "):
            if not in_block:
                indent = "    " if lines and _after_example(lines) else ""
                kind = "pycon" if line.lstrip().startswith(">>>") else "text"
                lines += ["", f"{indent}.. code-block:: {kind}", ""]
                in_block = True
            lines.append(f"    {line}")
        else:
            if in_block or in_field:
                lines.append("")
            in_field = in_block = False
            lines.append(_inline(line))
    return [*lines, ""]


def _after_example(lines: list[str]) -> bool:
    return next(filter(str.strip, reversed(lines))).startswith(":Example:")


def _inline(text: str) -> str:
    """`code` as code, and everything else without a meaning of its own."""
    parts = re.split(r"(`[^`]+`)", text)
    for i, part in enumerate(parts):
        parts[i] = f"\\ `{part}`\\ " if i % 2 else re.sub(r"([\\*_|`])", r"\\\1", part)
    return "".join(parts)


def setup(app: Any) -> None:
    def on_docstring(app: Any, what: str, name: str, thing: Any, options: Any, doc: Any) -> None:
        if name.startswith("tinygrad_edu"):
            doc[:] = rewrite(doc)

    app.connect("autodoc-process-docstring", on_docstring)
