"""`fdrd sample` and `fdrd fetch`: sources that are drawn or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.console import count_of, err, out, show_progress
from fdrd.commands.options import Count, SameTarget, Target, Workers, one_of
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.fetching.fetching_run import Collection, FetchOptions, PublicSet


def sample(
    folder: Target = None,
    target: SameTarget = None,
    categories: Count = 120,
    pairs: Count = 2400,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    size: Annotated[int, typer.Option(metavar="N", min=32, max=1024)] = 128,
    workers: Workers = None,
) -> None:
    """Draw a raw source: images of made-up species and objects, with captions and attributes.

    Args:
        categories: Number of fine categories.
        pairs: Number of image-caption pairs.
        seed: Seed of the images and captions.
        size: Height and width in pixels.

    Examples:
        fdrd sample raw/ --categories 120 --pairs 2400
    """
    from fdrd.field_guide import sample as draw_sample
    from fdrd.files.atomic import disk_errors

    home = Path(one_of(folder, target, "give one FOLDER to write to, e.g. fdrd sample raw/"))
    with show_progress("Run the same command again to resume.") as progress, disk_errors(home):
        draw_sample(home, categories, pairs, seed, size, workers=workers, progress=progress)
    out.print(f"Drew {pairs:,} pairs of {categories:,} categories into {home}")
    out.hint(f"Next:  fdrd build {home}")


def fetch(
    name: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="FOLDER")] = None,
    out_folder: SameTarget = None,
    yes: Annotated[bool, typer.Option("--yes")] = False,
    local: Annotated[Path | None, typer.Option("--from", metavar="FOLDER")] = None,
    mirror: Annotated[str, typer.Option(metavar="URL")] = "",
    accept_unverified: Annotated[bool, typer.Option("--accept-unverified")] = False,
) -> None:
    """Download a public set of images, with the captions that were published, or several sets.

    Says first what only you can get and where to put it, then shows licenses, terms and sizes, and asks. Files are
    checked by digest, and an interrupted download resumes. Sets that are in the folder already are kept.

    Args:
        name: Name of a set, or fdrd for the nine sets of the paper; without one, list them.
        folder: New or empty folder; raw/NAME by default, and raw for several sets.
        yes: Accept license and terms without asking.
        local: Folder with files that are here already; they are checked, too.
        mirror: URL with the files as NAME/FILE, instead of the original places.
        accept_unverified: Use files of which no digest is known.

    Examples:
        fdrd fetch caltech101 raw/caltech101
        fdrd fetch fdrd raw
    """
    from fdrd.fetching import fetching_run as public

    if folder and out_folder:
        raise FdrdError("the folder is given twice; remove --out")
    if name is None:
        table = public.read_table()
        _print_sets(table.values(), public.read_collections(table).values())
        return
    options = public.FetchOptions(local, mirror, accept_unverified)
    chosen = public.find(name)
    if isinstance(chosen, public.Collection):
        target = folder or out_folder or Path("raw")
        wanted = [each for each in chosen.sets if not public.is_fetched(each, target)]
    else:
        target = folder or out_folder or Path("raw", chosen.name)
        wanted = [chosen]
    _print_terms(wanted, options)
    if wanted and not yes:
        typer.confirm("Do you accept these terms?", abort=True, err=True)
    with show_progress("Run the same command again to resume.") as progress:
        if isinstance(chosen, public.Collection):
            public.fetch_sets(chosen.sets, target, options, progress)
        else:
            public.fetch_set(chosen, target, options, progress)
    out.print(f"Fetched {chosen.title} into {target}")
    out.hint(f"Next:  fdrd build {target}")


def _print_sets(sets: Iterable[PublicSet], collections: Iterable[Collection]) -> None:
    """Print what each set holds, and which sets are fetched together."""
    rows = []
    for each in sets:
        count = sum(not file.url for file in each.files)  # files that no command can download
        by_hand = count_of(count, "file") if count else "-"
        size = f"{each.mb:,.0f} MB"
        rows.append((each.name, each.captions, f"{each.images:,}", size, by_hand, each.license))
    out.table(("name", "captions", "images", "size", "by hand", "license"), rows)
    for collection in collections:
        names = ", ".join(each.name for each in collection.sets)
        total = sum(each.mb for each in collection.sets)
        out.paragraph(f"{collection.name}: {collection.title}, {total:,.0f} MB: {names}")


def _print_terms(sets: Sequence[PublicSet], options: FetchOptions) -> None:
    """Print what the user must get or accept: first what no command can do."""
    from fdrd.fetching.fetching_run import missing_by_hand, unverified

    by_hand = ((each.name, line) for each in sets for line in missing_by_hand(each, options))
    lines = [f"By hand:  {name}: {line}" for name, line in by_hand]
    if names := [f"{each.name}/{name}" for each in sets for name in unverified(each, options)]:
        consent = "" if options.accept_unverified else ", used with --accept-unverified only"
        lines.append(f"No known digest{consent}: {', '.join(names)}")
    for each in sets:
        about = f"; license {each.captions_license}, see {each.captions_terms}"
        lines += [
            f"{each.title}: {each.images:,} images, about {each.mb:,.0f} MB, and as much again unpacked",
            f"  license:  {each.license}",
            f"  terms:    {each.terms}",
            f"  captions: {each.captions}{about if each.captions_terms else ''}",
            *([f"  note:     {each.note}"] if each.note else []),
        ]
    if len(sets) > 1:
        total = sum(each.mb for each in sets)
        lines.append(f"Together about {total:,.0f} MB, and as much again unpacked")
    for line in lines:
        err.print(line, soft_wrap=True)
