"""Collect the pages of the documentation site: `python tools/site_pages.py build/docs`.

A mark `<!-- generated: NAME -->` is replaced by what the code says now, so a reference cannot differ from it.
Each command has a page of its own in `commands/`, and the names of the Python packages have several in `api/`.
A file outside `docs/` that a page links to joins the site under its path in the repository.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdrd.text.markup import markdown_table

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"<!-- generated: (\w+) -->")
LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)#\s]+)")


def command_line() -> str:
    """Return a table of the commands for each group, with links to their pages."""
    lines, panel = [], None
    for name, command in _commands().items():
        if command.rich_help_panel != panel:
            panel = command.rich_help_panel
            lines.append(f"\n## {panel}\n\n| command | what it does |\n| --- | --- |")
        sentence = command.help.partition("\n")[0]
        lines.append(f"| [`fdrd {name}`](commands/{name}.md) | {_escaped(sentence)} |")
    return "\n".join(lines)


def command_pages() -> dict[str, str]:
    """Return the page of each command by its name: arguments, options and examples."""
    return {
        name: "\n\n".join(_command(f"fdrd {name}", command))
        for name, command in _commands().items()
    }


def _commands() -> dict[str, Any]:
    import typer

    from fdrd.__main__ import app

    return vars(typer.main.get_command(app))["commands"]


def _command(name: str, command: Any) -> Iterator[str]:
    from typer import Context

    from fdrd.commands.help import heading

    context = Context(command, info_name=name)
    yield f"# `{name}`"
    yield _escaped(command.help)
    yield f"```sh\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    panels: dict[str, list[str]] = {}
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            panel = getattr(parameter, "rich_help_panel", None)
            rows = panels.setdefault(panel or f"{parameter.param_type_name.title()}s", [])
            rows.append(f"- `{heading(parameter, record[0])}`: {_escaped(record[1])}")
    for panel, rows in panels.items():
        yield f"**{panel}**"
        yield "\n".join(rows)
    if command.epilog:
        yield f"```sh\n{command.epilog}\n```"


def _escaped(text: str) -> str:
    """Return text as Markdown that shows it as it is; spans in backticks stay code."""
    pieces = re.split(r"(`[^`]*`)", text)
    pieces[::2] = [
        re.sub(r"([\[\]*_])", r"\\\1", html.escape(piece, quote=False)) for piece in pieces[::2]
    ]
    return "".join(pieces)


API_PAGES = {
    "fdrd": "`fdrd`: build and read datasets",
    "benchmark": "`benchmark`: run and compare methods",
    "benchmark-models": "`benchmark`: encoders",
    "benchmark-train": "`benchmark`: what methods are made of",
}
"""The titles of the pages in `api/`; one with a hyphen has the names of modules that begin so."""


def python_api() -> str:
    """Return the public names of each page of `api/`, with links to them."""
    lines = []
    for page, names in _public_names().items():
        lines.append(f"## [{API_PAGES[page]}](api/{page}.md)")
        lines.append(", ".join(f"[`{name}`](api/{page}.md#{name})" for name in names))
    return "\n\n".join(lines)


def api_pages() -> dict[str, str]:
    """Return the pages of `api/`: a directive of mkdocstrings for each public name."""
    return {
        page: "\n\n".join([f"# {API_PAGES[page]}", *(f"::: {name}" for name in names)])
        for page, names in _public_names().items()
    }


def _public_names() -> dict[str, list[str]]:
    import benchmark
    import fdrd

    pages: dict[str, list[str]] = {page: [] for page in API_PAGES}
    for package in (fdrd, benchmark):
        source = Path(str(package.__file__)).read_text(encoding="utf-8")
        for module, names in re.findall(r'^ +"([\w.]+)": "([\w ]+)",$', source, re.M):
            room = re.match(r"benchmark\.(models|train)", module)
            page = room[0].replace(".", "-") if room else package.__name__
            pages[page] += [f"{package.__name__}.{name}" for name in names.split()]
    return {page: sorted(names) for page, names in pages.items()}


def reasons() -> str:
    """Return a table of the reasons of rejected records."""
    from fdrd.reasons import KEEPABLE, REASONS, default_action

    rows = [
        (f"`{code}`", meaning, default_action(code), "yes" if code in KEEPABLE else "no")
        for code, meaning in REASONS.items()
    ]
    return markdown_table(("reason", "meaning", "default", "can be kept"), rows)


def rules() -> str:
    """Return a table of the fixes of kept records."""
    from fdrd.reasons import RULES

    return markdown_table(
        ("rule", "meaning"), [(f"`{code}`", text) for code, text in RULES.items()]
    )


def methods() -> str:
    """Return a table of the methods, with links to their papers."""
    from benchmark.registry import about, method_names

    paper = re.compile(r"arXiv (\d{4}\.\d{5})")
    rows = [
        (f"`{name}`", paper.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", about(name).summary))
        for name in method_names()
    ]
    return markdown_table(("method", "what it does"), rows)


def compatibility() -> list[tuple[str, ...]]:
    """Return the headings, and for each method whether it works on each kind of encoder."""
    from benchmark.models.backbone import ALL, TOKENS
    from benchmark.registry import method_names, obstacle, takes, works_with

    encoders = {
        "CLIP, MetaCLIP 2, SigLIP, SigLIP 2": ALL,
        "SigLIP 2 NaFlex": ALL - {TOKENS},
        "any other": frozenset[str](),
    }

    def answer(name: str, can: frozenset[str]) -> str:
        options = works_with(name, can)
        if options is None:
            return f"no: {obstacle(name, {}, can)}"
        if not takes(name, "backbone"):
            return "yes, uses none"
        return "yes" + (f", with `{options}`" if options else "")

    rows = [
        (f"`{name}`", *(answer(name, can) for can in encoders.values())) for name in method_names()
    ]
    return [("method", *encoders), *rows]


GENERATED = {
    **{make.__name__: make for make in (command_line, python_api, reasons, rules, methods)},
    "record_fields": lambda: _fields("record"),
    "manifest_fields": lambda: _fields("manifest"),
    "methods_by_encoder": lambda: markdown_table(compatibility()[0], compatibility()[1:]),
}


def collect(target: Path) -> None:
    """Write the pages of `docs/`, and everything that they link to, below an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    waiting = sorted((ROOT / "docs").glob("*.md"))
    seen = set(waiting)
    while waiting:
        source = waiting.pop()
        page = target / page_path(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(source, page)
            continue
        text = source.read_text(encoding="utf-8")
        page.write_text(MARK.sub(lambda mark: GENERATED[mark[1]](), relink(text, source)), "utf-8")
        linked = {path for link in LINK.findall(text) if (path := linked_file(source, link))}
        waiting += linked - seen
        seen |= linked
    for folder, pages in (("commands", command_pages()), ("api", api_pages())):
        (target / folder).mkdir()
        for name, text in pages.items():
            (target / folder / f"{name}.md").write_text(text, encoding="utf-8")


def page_path(source: Path) -> Path:
    """Return the path of a repository file in the site."""
    path = source.relative_to(ROOT)
    if path == Path("README.md"):
        return Path("index.md")
    return path.relative_to("docs") if path.parts[0] == "docs" else path


def linked_file(source: Path, link: str) -> Path | None:
    """Return the file of the repository that a link leads to; None if there is none."""
    path = (source.parent / link).resolve()
    return path if path.is_file() and path.is_relative_to(ROOT) else None


def relink(text: str, source: Path) -> str:
    """Return the text with links between files of the repository as links of the site."""

    def moved(link: re.Match[str]) -> str:
        path = linked_file(source, link[0])
        new = path and os.path.relpath(page_path(path), page_path(source).parent)
        return Path(new).as_posix() if new else link[0]

    return LINK.sub(moved, text)


def _fields(schema: str) -> str:
    content = json.loads((ROOT / "schemas" / f"{schema}.schema.json").read_text(encoding="utf-8"))
    if "$ref" in content:  # generated from a type, whose docstring describes its fields
        content = content["$defs"][_values(content)]
    _, _, attributes = content.get("description", "").partition("Attributes:\n")
    meanings = dict(re.findall(r"^    (\w+): (.*(?:\n     +.*)*)", attributes, re.M))
    rows = []
    for name, field in content["properties"].items():
        kinds = field.get("type") or [
            each.get("type") or _values(each) for each in field.get("anyOf", [])
        ]
        kind = kinds if isinstance(kinds, str) else " or ".join(kinds)
        meaning = " ".join(field.get("description", meanings.get(name, "")).split())
        rows.append((f"`{name}`", kind or _values(field), meaning[:1].upper() + meaning[1:]))
    return markdown_table(("field", "type", "meaning"), rows)


def _values(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]) if value)


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
