"""The documentation: its examples run, its links lead somewhere, its reference pages match the code."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import results_page
import site_pages
from hub_server import Hub

import benchmark
import fdrd
from benchmark.registry import takes

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(text):
    """The commands of `console` blocks and the whole of `python` blocks; `sh` blocks are not run."""
    for language, body in BLOCK.findall(text):
        if language == "python":
            yield [sys.executable, "-c", body]
        else:
            yield from (
                ["bash", "-c", line[2:]] for line in body.splitlines() if line.startswith("$ ")
            )


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_of_a_document_run(document, tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HOME": str(tmp_path / "cache"),
        "FDRD_CACHE": str(tmp_path / "cache" / "fdrd"),
        "HF_HUB_OFFLINE": "1",
    }
    folder = tmp_path / "empty"
    folder.mkdir()
    with Hub() as hub:
        if document.name == "hub.md":
            environment |= hub.environment()
        for command in commands(document.read_text(encoding="utf-8")):
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


def test_every_link_inside_the_documents_leads_somewhere():
    for document in [*DOCUMENTS, *ROOT.glob("[A-Z]*.md")]:
        for target in re.findall(
            r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")
        ):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_reference_has_every_public_name_once_and_links_to_it():
    pages = site_pages.api_pages()
    directives = {
        name: page
        for page, text in pages.items()
        for name in re.findall(r"^::: ([\w.]+)$", text, re.M)
    }
    names = [
        f"{package.__name__}.{name}"
        for package in (fdrd, benchmark)
        for name in set(package.__all__) - {"__version__"}
    ]
    assert sorted(directives) == sorted(names)
    links = set(re.findall(r"\]\(api/([\w-]+)\.md#([\w.]+)\)", site_pages.python_api()))
    assert links == {(page, name) for name, page in directives.items()}


def test_the_site_has_every_page_in_its_navigation(tmp_path):
    site_pages.collect(tmp_path / "pages")
    pages = {file.relative_to(tmp_path / "pages").as_posix() for file in tmp_path.rglob("*.md")}
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    navigation = set(re.findall(r'= "([^"]+\.md)"', text))
    assert navigation <= pages
    top = {page for page in pages if "/" not in page or page.startswith(("api/", "commands/"))}
    assert top <= navigation
    assert "<!-- generated" not in "".join(
        file.read_text("utf-8") for file in tmp_path.rglob("*.md")
    )


def test_a_link_between_rooms_of_the_repository_becomes_a_link_of_the_site():
    page, readme = ROOT / "docs/captions.md", ROOT / "dcar/README.md"
    assert site_pages.relink("[x](../CONTRIBUTING.md#rules)", page) == "[x](CONTRIBUTING.md#rules)"
    assert site_pages.relink("[x](../docs/results.md)", readme) == "[x](../results.md)"
    assert site_pages.relink("[x](https://a.org/b.md)", page) == "[x](https://a.org/b.md)"


def test_every_direct_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    listed = [each for name, group in extras.items() if name != "dev" for each in group]
    table = set(re.findall(r"`([\w-]+)`", (ROOT / "docs/dependencies.md").read_text()))
    for requirement in [*project["dependencies"], *listed]:
        assert re.match(r"[\w-]+", requirement)[0] in table


def test_the_citation_has_the_version_of_the_package():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_tables_of_the_results_page_are_those_of_its_files():
    text = results_page.PAGE.read_text(encoding="utf-8")
    assert results_page.page(text) == text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len(text.split()) - len(" ".join(tables).split()) <= 1200


def test_declared_experiments_can_run_and_give_trained_methods_equal_schedules():
    """A method with a schedule of its own says so on the page: `dcar_plus` and those without training."""
    files = sorted((ROOT / "docs/results").glob("*.toml"))
    rows = [row for each in files for row in benchmark.read_experiment(each).rows()]
    schedules = {
        (row.train.get("steps"), row.train.get("eval_every"), row.train.get("keep_untrained", True))
        for row in rows
        if takes(row.method, "train") and row.method != "dcar_plus"
    }
    assert schedules == {(100, 25, True)}
