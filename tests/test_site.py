"""The documentation site shows every public name and every section; .ci/run builds it."""

from __future__ import annotations

import re
from importlib import import_module

import pages
import pytest

DOCS = pages.ROOT / ".docs"
API = "\n".join(page.read_text() for page in sorted((DOCS / "api").glob("*.md")))
SHOWN = re.findall(r"^\.\. auto(?:function|class|module):: ([\w.]+)$", API, flags=re.MULTILINE)
# Shown under the name of another package, as the page says.
SAME = {
    "loqa.envs.make": "loqa.make",
    "loqa.envs.EnvSpec": "loqa.EnvSpec",
    "loqa.envs.register": "loqa.games.register",
    "loqa.algos.exact": "loqa.algos.exact.train",
}
# Public names of modules without `__all__`.
PUBLIC = [
    "loqa.envs.gymnasium.VectorEnv",
    "loqa.envs.pettingzoo.parallel_env",
    "loqa.evaluation.exploit.exploit",
    "loqa.agents.policy.Policy",
    "loqa.agents.actor_critic.Agent",
    "loqa.evaluation.players.as_player",
]


PACKAGES = [
    "loqa",
    *(f"loqa.{name}" for name in ["ops", "envs", "games", "algos", "algos.exact", "reference"]),
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_shown(package: str) -> None:
    for name in import_module(package).__all__:
        full = f"{package}.{name}"
        packages = (DOCS / "api" / f"{name}.md").exists()
        assert packages or {full, package, SAME.get(full, full)} & set(SHOWN), full


def test_what_is_shown_exists() -> None:
    assert len(SHOWN) == len(set(SHOWN))
    assert set(PUBLIC) <= set(SHOWN)
    for name in SHOWN:
        try:
            import_module(name)
        except ImportError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(import_module(module), attribute), name


@pytest.mark.parametrize("page", ["loqa/algos/README.md", "csrc/games/README.md"])
def test_every_section_has_a_page(page: str) -> None:
    text = (pages.ROOT / page).read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    sources = [one.read_text() for one in DOCS.rglob("*.md")]
    parts = [
        part for source in sources for part in re.findall(rf"<!-- include: {page} / (.*) -->", source)
    ]  # fmt: skip
    missing = [one for one in headings if not one.startswith(tuple(parts))]
    assert missing in ([], ["Exact games (`exact/`)"])  # which has a page of its own


def test_every_page_is_in_a_table_of_contents() -> None:
    pages_listed = {DOCS / "index.md"}
    for index in DOCS.rglob("index.md"):
        trees = re.findall(r"^```\{toctree\}.*?^```", index.read_text(), flags=re.M | re.S)
        listed = re.findall(r"^[\w/]+$", "\n".join(trees), flags=re.MULTILINE)
        assert listed
        pages_listed |= {index.parent / f"{name}.md" for name in listed}
    assert pages_listed == set(DOCS.rglob("*.md"))
