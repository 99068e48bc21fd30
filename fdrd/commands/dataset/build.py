"""`fdrd build`. The function is long because every option of the command line is a parameter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.console import Json, app, out, show_progress
from fdrd.commands.dataset.build_options import (
    OUT,
    Engine,
    Out,
    Workers,
    print_build,
    resume_hint,
    tokens_of,
)
from fdrd.errors import FdrdError
from fdrd.policy import default_action, parse
from fdrd.reasons import KEEPABLE, REASONS, RULES

if TYPE_CHECKING:
    from fdrd.build_config import BuildConfig
    from fdrd.sources import SourceOptions


def _reasons() -> str:
    """Return the end of the help: a paragraph for each reason and each rule."""
    lines = ["Reasons for --policy, with the default action:"]
    for reason, meaning in REASONS.items():
        actions = default_action(reason) if reason in KEEPABLE else "drop, or fail"
        lines.append(f"[b]{reason}[/] ({actions}): {meaning}")
    lines.append("Rules: fixes of kept records, which the manifest counts:")
    lines += [f"[b]{rule}[/]: {meaning}" for rule, meaning in RULES.items()]
    return "\n\n".join([*lines, "Example:  fdrd build --source raw/ --out data/fdrd"])


@app.command(epilog=_reasons())
def build(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of one domain or of several domains; or hub:ORG/NAME, a dataset on the Hub.",
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="Same as the argument.")] = None,
    layout: Annotated[
        str | None, typer.Option(help="Layout of the source; detected by default.")
    ] = None,
    map: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Column of a field, e.g. image=filepath or caption=title,text; can be repeated.",
        ),
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Separator of tables: one character, or tab.")
    ] = None,
    category: Annotated[str | None, typer.Option(help="Category of all records.")] = None,
    category_from: Annotated[
        str | None,
        typer.Option(
            metavar="WHERE",
            help="Origin of categories: folder, parent, column:NAME, caption-pattern, or none.",
        ),
    ] = None,
    target: Out = OUT,
    name: Annotated[str, typer.Option(help="Name for `load_dataset` on this machine.")] = "fdrd",
    seed: Annotated[int, typer.Option(help="Seed of hashed splits and hard negatives.")] = 0,
    negatives: Annotated[int, typer.Option(min=0, help="Hard negatives per pair.")] = 4,
    attribute_negatives: Annotated[
        int, typer.Option(min=0, help="How many of them change an attribute, not the category.")
    ] = 2,
    workers: Workers = None,
    engine: Engine = "local",
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N", help="Build part I of N, e.g. in a job array; `fdrd merge` joins them."
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Maximum pixels (width times height) of an image.")
    ] = 50_000_000,
    min_side: Annotated[
        int, typer.Option(min=1, help="Minimum pixels of the shorter side of an image.")
    ] = 8,
    max_aspect: Annotated[
        float, typer.Option(min=1, help="Maximum ratio of the longer to the shorter side.")
    ] = 20,
    max_caption: Annotated[
        int, typer.Option(min=1, help="Maximum characters of a caption.")
    ] = 5000,
    shard_mb: Annotated[int, typer.Option(min=1, help="Image bytes per shard, in MiB.")] = 64,
    format: Annotated[
        str, typer.Option(help="Shard format: arrow, or parquet for the Hub's viewer.")
    ] = "arrow",
    backbone: Annotated[
        str | None, typer.Option(help="Hub id of the default backbone for benchmarks.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON=keep|drop|fail",
            help="Action for a reason listed below; can be repeated.",
        ),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(help="Apply reviewers' decisions: the file that `fdrd view --review` wrote."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Name the detected layout of each folder, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    r"""Build Arrow shards, a manifest and a dataset card from a raw source.

    Layouts, detected unless --layout names one: [b]image_folder[/], \[split/]\[category/]image.jpg with
    metadata.jsonl, metadata.csv, metadata.parquet or image.txt; [b]nested_folders[/], class folders in class
    folders; [b]table[/], CSV, TSV, JSON lines or Parquet with a column of image paths or bytes;
    [b]webdataset[/], tar archives of jpg with txt or json, e.g. of img2dataset; [b]saved_dataset[/], written
    by `save_to_disk` of `datasets`; [b]coco_captions[/]; [b]karpathy[/]; [b]flickr_tokens[/];
    [b]json_captions[/], lists of objects, maps from files to captions, or conversations; [b]cub[/];
    [b]released[/], the authors' JSON of captions; [b]coop_splits[/], split_zhou_*.json without captions,
    which `fdrd caption` writes. Zip and tar archives of these are read in place. A folder of such folders is
    a dataset of several domains. A domain.toml in one of them gives its license, meta-categories and groups.

    Run it again to resume an interrupted build; it does nothing if nothing changed.
    """
    from fdrd.hub.source import local_source
    from fdrd.sources import make_options

    given = place or source
    if given is None or (place and source):
        raise FdrdError("give one SOURCE, e.g. fdrd build raw/")
    options = make_options(
        layout=layout, columns=map or (), separator=separator,
        category=category, category_from=category_from,
    )  # fmt: skip
    with show_progress("Run the same command again to resume.") as progress:
        source = local_source(given, progress)
    if explain:
        from fdrd.sources.explain import explain as explain_source

        for line in explain_source(source, options):
            out.print(line)
        return
    from fdrd.build_config import BuildConfig
    from fdrd.pipeline.builder import build as run_build

    config = BuildConfig(
        name=name, seed=seed, negatives=negatives, attribute_negatives=attribute_negatives,
        max_pixels=max_pixels, min_side=min_side, max_aspect=max_aspect, max_caption=max_caption,
        shard_bytes=shard_mb * 2**20, format=format, backbone=backbone,
        policy=parse(policy or []),
    )  # fmt: skip
    if part is not None:
        if decisions is not None:
            raise FdrdError("--decisions applies to a complete build; remove --part")
        _build_part(source, target, part, config, options, workers, engine)
        return
    with show_progress(resume_hint(target)) as progress:
        built = run_build(
            source, target, config=config, options=options, decisions=decisions, workers=workers,
            engine=engine, tokens=tokens_of, progress=progress,
        )  # fmt: skip
    print_build(built, json)


def _build_part(
    source: Path,
    target: Path,
    text: str,
    config: BuildConfig,
    options: SourceOptions,
    workers: int | None,
    engine: str,
) -> None:
    from fdrd.pipeline.part_builder import build_part
    from fdrd.pipeline.parts import parse_part

    part = parse_part(text)
    if target == OUT:
        target = Path("data/parts") / f"{part.number}-of-{part.of}"
    with show_progress(resume_hint(target)) as progress:
        built = build_part(
            source, target, part, config=config, options=options, workers=workers, engine=engine,
            progress=progress,
        )  # fmt: skip
    out.print(f"Built {target}." if built else f"Nothing to do: {target} is up to date.")
    out.print(f"When all {part.of} parts exist:  fdrd merge {target.parent}/*", style="dim")
