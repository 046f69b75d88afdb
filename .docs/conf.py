"""The documentation site: sphinx-build -W -b html .docs build/docs

Pages about games, algorithms, results and native code lie beside what they describe. A line

    <!-- include: loqa/algos/README.md / PPO -->

stands for the section of that page whose heading begins with "PPO"; "(beginning)" for what comes before the
first section; a line without a heading for the whole page. Links to files of the repository become links to
the pages that show them.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / ".docs"

project = "loqa"
author = "The loqa authors"
copyright = "the loqa authors, MIT license"
version = release = version("loqa")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_title = f"loqa {release}"
myst_heading_anchors = 4
default_role = "code"  # what docstrings have in single backticks
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
suppress_warnings = [
    "ref.python"
]  # two classes are called VectorEnv: annotations name the module's own

# LOQA_DOCS_ONLINE=1 fetches the names of other sites, so that types link to them. Without it, and without a
# network, nothing is fetched.
intersphinx_mapping = (
    {"python": ("https://docs.python.org/3", None), "torch": ("https://docs.pytorch.org/docs/stable", None)}
    if os.environ.get("LOQA_DOCS_ONLINE")
    else {}
)  # fmt: skip

# Pages of the repository -> pages of the site.
SHOWN = {
    "README.md": "index",
    "CHANGELOG.md": "changelog",
    "CITATION.cff": "citation",
    "benchmarks/README.md": "benchmarks",
    "csrc/README.md": "native",
    "csrc/games/README.md": "games/index",
    "loqa/algos/README.md": "algorithms/index",
    "loqa/algos/exact/README.md": "algorithms/exact",
    "loqa/trained/README.md": "trained",
    ".docs/guides": "guides/index",
}
_INCLUDE = re.compile(r"^<!-- include: (\S+?)(?: / (.+?))? -->$", re.MULTILINE)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s:]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def section(text: str, heading: str) -> str:
    """The part of a page under a heading, which becomes the first level; under "", what is before all.

    The files that a heading names in brackets are left out: titles stand in every page's list of pages.
    """
    lines = _without_fences(text)
    if not heading:
        ends = [place for place, line in enumerate(lines) if line.startswith("## ")]
        return "\n".join(text.splitlines()[: ends[0] if ends else None])
    starts = [
        place for place, line in enumerate(lines) if re.match(rf"#+ {re.escape(heading)}", line)
    ]
    if len(starts) != 1:
        raise ExtensionError(
            f"expected one heading that begins with {heading!r}, found {len(starts)}"
        )
    level = len(lines[starts[0]].split(" ")[0])
    later = range(starts[0] + 1, len(lines))
    end = next((place for place in later if re.match(rf"#{{1,{level}}} ", lines[place])), None)
    shown = text.splitlines()[starts[0] : end]
    raised = [
        line[level - 1 :] if plain.startswith("#" * level) else line
        for line, plain in zip(shown, lines[starts[0] : end], strict=True)
    ]
    raised[0] = re.sub(r" \(`.*`\)$", "", raised[0])
    return "\n".join(raised)


def _without_fences(text: str) -> list[str]:
    """The page's lines, with those of code blocks empty."""
    return _FENCE.sub(lambda code: "\n" * code[0].count("\n"), text).splitlines()


def with_site_links(text: str, page: Path, docname: str) -> str:
    """A page of the repository with links of the site; to what is not shown there, with code instead."""
    folder = (HERE / docname).parent

    def link(match: re.Match[str]) -> str:
        mark, title, target = match.groups()
        file, _, anchor = target.partition("#")
        if not file:
            return match[0]
        path = (page.parent / file).resolve()
        if mark:
            return f"![{title}]({os.path.relpath(path, folder)})"
        name = path.relative_to(ROOT).as_posix()
        if name in SHOWN:
            path = HERE / f"{SHOWN[name]}.md"
        elif not (path.suffix == ".md" and path.is_relative_to(HERE)):
            return title if "`" in title else f"`{title}`"
        return f"[{title}]({os.path.relpath(path, folder)}{'#' + anchor if anchor else ''})"

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the included pages in, and makes links those of the site."""

    def included(match: re.Match[str]) -> str:
        page = ROOT / match[1]
        app.env.note_dependency(str(page))
        text = page.read_text()
        if match[2]:
            text = section(text, "" if match[2] == "(beginning)" else match[2])
        return with_site_links(text, page, docname)

    own = with_site_links(source[0], HERE / f"{docname}.md", docname)
    source[0] = _INCLUDE.sub(included, own)


def plain(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text: what a site would take for marks of its own means itself.

    `[B, *obs_shape]` is a shape, not the start of emphasis; "B." is no number of a list; what comes before a
    colon in the description of a returned value is no type; "height, width: ..." are two attributes.
    """
    lines[:] = [re.sub(r"(?<![`\w*])\*(?=\w)", r"\\*", line) for line in lines]
    lines[:] = [re.sub(r"((?:^|: )\s*)([A-Z])\.(?=\s|$)", r"\1\2\\.", line) for line in lines]
    for place, line in enumerate(lines[:-1]):
        if line.strip() == "Returns:":
            following = lines[place + 1]
            text = following.lstrip()
            lines[place + 1] = f"{following[: len(following) - len(text)]}: {text}"  # an empty type
    if what == "attribute" and lines and ":" in lines[0]:
        lines[0] = f": {lines[0]}"  # the same of an attribute
    if "Attributes:" in lines:
        start = lines.index("Attributes:") + 1
        end = next((i for i in range(start, len(lines)) if re.match(r"\S", lines[i])), len(lines))
        lines[start:end] = _one_by_one(lines[start:end])


def _one_by_one(lines: list[str]) -> list[str]:
    """The entries of a section, each under one name."""
    entries: list[list[str]] = []
    for line in lines:
        if re.match(r" {4}\S", line) or not entries:
            entries.append([])
        entries[-1].append(line)
    found = []
    for entry in entries:
        names, colon, text = entry[0].partition(":")
        for name in names.split(",") if colon and "`" not in names else [names]:
            found += [f"    {name.strip()}{colon}{text}", *entry[1:]]
    return found


def signature(
    app: Sphinx,
    what: str,
    name: str,
    thing: Any,
    options: Any,
    said: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """A default that a dataclass makes anew is "..."."""
    return (said.replace("<factory>", "...") if said else said), returns


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", read)
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True}
