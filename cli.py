"""The command line: each command parses, calls one library function and prints. Results on stdout, progress on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fdrd.error import FdrdError

app = typer.Typer(
    name="fdrd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  fdrd sample raw/  &&  fdrd build --source raw/  &&  fdrd bench --method random",
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False)

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main() -> None:
    """Runs the command line; a user's mistake is one line on stderr and exit code 2."""
    try:
        app()
    except FdrdError as error:
        err.print("[bold red]fdrd:[/]", end=" ")
        err.print(str(error), markup=False, soft_wrap=True)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"fdrd {version('fdrd')}")
        raise typer.Exit


@app.callback()
def fdrd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build described fine-category datasets, and compare image-text retrieval methods on them."""


@contextmanager
def _progress(resumes: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr, one line per step; Ctrl-C says how to go on and exits with 130."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total or None)

        try:
            yield show
        except KeyboardInterrupt:
            bars.stop()
            err.print(f"Stopped. {resumes}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, ensure_ascii=False, indent=1))  # noqa: T201 - for machines, so without rich


Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Folder = Annotated[Path, typer.Argument(help="Folder that `fdrd build` wrote.")]


@app.command(epilog="Example:  fdrd sample raw/ --categories 120 --pairs 2400")
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to draw into; new or empty.")],
    categories: Annotated[int, typer.Option(min=1, help="Number of fine categories.")] = 120,
    pairs: Annotated[int, typer.Option(min=1, help="Number of image-caption pairs.")] = 2400,
    seed: Annotated[int, typer.Option(help="Another seed draws another field guide.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Height and width in pixels.")] = 128,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
) -> None:
    """Draw a raw source: images of made-up species and things, with captions and attributes."""
    from fdrd.field_guide import sample as draw_sample

    with _progress("The same command goes on from here.") as progress:
        draw_sample(
            folder,
            categories=categories,
            pairs=pairs,
            seed=seed,
            size=size,
            workers=workers,
            progress=progress,
        )
    out.print(f"Drew {pairs:,} pairs of {categories:,} categories into {folder}")
    out.print(f"Next:  fdrd build --source {folder}", style="dim")


@app.command(epilog="Example:  fdrd build --source raw/ --out data/fdrd")
def build(
    source: Annotated[Path, typer.Option(help="Folder of a domain, or of folders of domains.")],
    target: Annotated[Path, typer.Option("--out", help="Folder of the dataset.")] = Path(
        "data/fdrd"
    ),
    name: Annotated[
        str, typer.Option(help="What `load_dataset` will call it on this machine.")
    ] = "fdrd",
    seed: Annotated[int, typer.Option(help="Moves the hashed splits and the hard negatives.")] = 0,
    negatives: Annotated[int, typer.Option(min=0, help="Hard negatives for each pair.")] = 4,
    attribute_negatives: Annotated[
        int, typer.Option(min=0, help="How many of them swap an attribute, not the category.")
    ] = 2,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse images of more pixels.")
    ] = 50_000_000,
    shard_mb: Annotated[int, typer.Option(min=1, help="Image bytes per shard, in MiB.")] = 256,
    backbone: Annotated[
        str | None, typer.Option(help="Hub id that a benchmark on this dataset uses by default.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which layout was recognised, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Build Arrow shards, a manifest and a dataset card from a raw source.

    Layouts: [b]image_folder[/], [split/]category/image.jpg with metadata.jsonl, metadata.csv or image.txt
    beside it; [b]released[/], the authors' JSON of captions beside the images. A folder of such folders
    is a dataset of several domains.

    A rerun does nothing where nothing changed, and goes on where a run was stopped.
    """
    if explain:
        from fdrd.sources import find_domains

        for domain in find_domains(source):
            out.print(f"{domain.name}: {domain.reader}, because {domain.why}", markup=False)
        return
    from fdrd.build_config import BuildConfig
    from fdrd.builder import build as run_build

    config = BuildConfig(
        name=name, seed=seed, negatives=negatives, attribute_negatives=attribute_negatives,
        max_pixels=max_pixels, shard_bytes=shard_mb * 2**20, backbone=backbone,
    )  # fmt: skip
    with _progress(
        f"What is done is kept in {target}.work; the same command goes on from there."
    ) as progress:
        built = run_build(source, target, config=config, workers=workers, progress=progress)
    if json:
        _print_json({"nothing_to_do": built.nothing_to_do, **built.manifest})
        return
    _print_build(built)


def _print_build(built: Any) -> None:
    from rich.table import Table

    records = built.manifest["records"]
    table = Table("annotations", "read", "kept", "rejected", box=None, header_style="bold")
    for file, entry in built.manifest["files"].items():
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in entry["rejected"].items())
        table.add_row(file, f"{entry['read']:,}", f"{entry['kept']:,}", reasons or "none")
    out.print(table)
    out.print(
        f"{records['read']:,} read = {records['kept']:,} kept + {records['rejected']:,} rejected"
    )
    if built.nothing_to_do:
        out.print(f"Nothing to do: {built.out} is built from this very source.")
    else:
        shards = len(built.manifest["shards"])
        out.print(
            f"Built {built.out}: {shards} shards, {built.shards_written} of them written now."
        )
    name = built.manifest["name"]
    out.print(f'From any project here:  load_dataset("{name}")', markup=False)
    out.print(f"Next:  fdrd bench --method zero_shot --data {built.out}", style="dim")


@app.command(epilog="Example:  fdrd validate data/fdrd")
def validate(folder: Folder, json: Json = False) -> None:
    """Check every digest, count, span, negative and split of a dataset; exit 1 if something is wrong."""
    from dataclasses import asdict

    from fdrd.validate import validate as check

    with _progress("Nothing was changed.") as progress:
        problems = list(check(folder, progress))
    if json:
        _print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(f"{problem.place}: {problem.what}", markup=False)
        out.print(f"{folder}: {len(problems)} problems" if problems else f"{folder}: valid")
    if problems:
        raise typer.Exit(1)


@app.command(epilog="Example:  fdrd stats data/fdrd")
def stats(folder: Folder, json: Json = False) -> None:
    """Show counts and caption lengths by domain and split."""
    from dataclasses import asdict

    from rich.table import Table

    from fdrd.stats import stats as count

    found = count(folder)
    if json:
        _print_json([asdict(split) for split in found])
        return
    heads = (
        "domain",
        "split",
        "pairs",
        "images",
        "captions",
        "shared",
        "categories",
        "words",
        "negatives",
        "attributes",
    )
    table = Table(*heads, box=None, header_style="bold")
    for split in found:
        table.add_row(
            split.domain, split.split, f"{split.pairs:,}", f"{split.images:,}", f"{split.captions:,}",
            f"{split.shared_captions:,}", f"{split.categories:,}", f"{split.words_median:g} (max {split.words_max})",
            f"{split.negatives_per_pair:.2f}", f"{split.attributes_per_pair:.2f}",
        )  # fmt: skip
    out.print(table)


if __name__ == "__main__":
    main()
