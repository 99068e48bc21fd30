"""`fdrd build`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdrd.commands.console import out, print_hint, print_json, print_table, show_progress
from fdrd.commands.dataset.build_summary import print_build, resume_hint, tokens_of
from fdrd.commands.help import RARE
from fdrd.commands.options import Json, Workers, one_of

if TYPE_CHECKING:
    from fdrd.sources import SourceOptions


_source = partial(typer.Option, rich_help_panel="Source")
_negatives = partial(typer.Option, rich_help_panel="Hard negatives")
_records = partial(typer.Option, rich_help_panel="Records to keep")
_files = partial(typer.Option, rich_help_panel="Dataset")
_rare = partial(typer.Option, rich_help_panel=RARE)
_stop = partial(typer.Option, rich_help_panel="Instead of building")


def build(
    positional: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="Folder of one domain or of several domains; a zip, tar or Parquet file of them; or "
            "hub:ORG/NAME, a dataset on the Hub.",
        ),
    ] = None,
    source: Annotated[str | None, _source(hidden=True)] = None,
    layout: Annotated[
        str | None, _source(help="Layout of the source; detected by default.")
    ] = None,
    map: Annotated[
        list[str] | None,
        _source(
            metavar="FIELD=COLUMN",
            help="Column that holds a field, e.g. image=filepath or caption=title,text; repeatable.",
        ),
    ] = None,
    category_from: Annotated[
        str | None,
        _source(
            metavar="WHERE",
            help="Origin of categories: folder, parent, column:NAME, caption-pattern, or none.",
        ),
    ] = None,
    category: Annotated[str | None, _rare(help="Category of all records.")] = None,
    separator: Annotated[
        str | None, _rare(help="Separator of tables: one character, or tab.")
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="Folder of the dataset; default: data/fdrd, or data/NAME-OF-SOURCE if another source has it.",
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a dataset of another source in --out.")
    ] = False,
    name: Annotated[str, _files(help="Name for `load_dataset` on this machine.")] = "fdrd",
    format: Annotated[
        str, _files(help="Shard format: arrow, or parquet for the Hub's viewer.")
    ] = "arrow",
    backbone: Annotated[
        str | None,
        _files(
            "--backbone",
            metavar="NAME",
            help="Default backbone for benchmarks, e.g. embedded or a Hub id.",
        ),
    ] = None,
    shard_mb: Annotated[int, _rare(metavar="N", min=1, help="Image bytes per shard, in MiB.")] = 64,
    negatives: Annotated[int, _negatives(metavar="N", min=0, help="Hard negatives per pair.")] = 4,
    attribute_negatives: Annotated[
        int,
        _negatives(
            metavar="N", min=0, help="How many of them change an attribute, not the category."
        ),
    ] = 2,
    seed: Annotated[
        int, _negatives(metavar="N", help="Seed of hashed splits and hard negatives.")
    ] = 0,
    policy: Annotated[
        list[str] | None,
        _records(
            metavar="REASON=ACTION",
            help="keep, drop or fail, for a reason of `fdrd build --reasons`; repeatable.",
        ),
    ] = None,
    decisions: Annotated[
        Path | None,
        _records(
            metavar="FILE",
            help="Apply reviewers' decisions: the file that `fdrd view --review` wrote.",
        ),
    ] = None,
    only: Annotated[
        Path | None,
        _rare(
            metavar="FILE",
            help="Keep only the records whose ids it lists, e.g. exported by `fdrd view`.",
        ),
    ] = None,
    max_pixels: Annotated[
        int, _rare(metavar="N", min=1, help="Maximum pixels (width times height) of an image.")
    ] = 50_000_000,
    min_side: Annotated[
        int, _rare(metavar="N", min=1, help="Minimum pixels of the shorter side of an image.")
    ] = 8,
    max_aspect: Annotated[
        float, _rare(min=1, help="Maximum ratio of the longer to the shorter side.")
    ] = 20,
    max_caption: Annotated[
        int, _rare(metavar="N", min=1, help="Maximum characters of a caption.")
    ] = 5000,
    explain: Annotated[
        bool,
        _stop(
            "--explain", help="Show the detected layout of each folder and three of its records."
        ),
    ] = False,
    reasons: Annotated[
        bool,
        _stop(
            "--reasons",
            help="List the reasons for rejecting records, the default actions, and the fixes of records that are kept.",
        ),
    ] = False,
    workers: Workers = None,
    engine: Annotated[
        str, typer.Option(help="Where processes run: local, or ray for a Ray cluster.")
    ] = "local",
    json: Json = False,
) -> None:
    """Build Arrow shards, a manifest and a dataset card from a raw source.

    Layouts are detected: image_folder, [split/][category/]image.jpg with metadata.jsonl, metadata.csv,
    metadata.parquet or image.txt; nested_folders, class folders in class folders; table, CSV, TSV, JSON lines or
    Parquet with a column of image paths or bytes; webdataset, tar archives of jpg with txt or json; saved_dataset, of
    `save_to_disk`; coco_captions; karpathy; flickr_tokens; json_captions, lists, maps or conversations; cub;
    sugar_crepe; released, the authors' JSON; coop_splits. Zip and tar archives of these are read in place. A folder of
    such folders is a dataset of several domains, and a domain.toml in one of them gives its license, meta-categories
    and groups.

    Run it again to resume an interrupted build; it does nothing if nothing changed.

    Examples:
        fdrd build raw/
        fdrd build raw/ -o data/birds --name birds
        fdrd build birds.zip --map image=filepath --category-from column:species

    Note:
        One parameter per option of the command line.
    """
    if reasons:
        _print_reasons(json)
        return
    from fdrd.build_config import BuildConfig
    from fdrd.hub.source import local_source
    from fdrd.reasons import parse
    from fdrd.sources import make_options

    location = one_of(positional, source, "give one SOURCE, e.g. fdrd build raw/")
    source_options = make_options(
        layout=layout, columns=map or (), separator=separator,
        category=category, category_from=category_from,
    )  # fmt: skip
    config = BuildConfig(
        name=name, seed=seed, negatives=negatives, attribute_negatives=attribute_negatives,
        max_pixels=max_pixels, min_side=min_side, max_aspect=max_aspect, max_caption=max_caption,
        shard_bytes=shard_mb * 2**20, format=format, backbone=backbone,
        policy=parse(policy or []),
    )  # fmt: skip
    with show_progress("Run the same command again to resume.") as progress:
        folder = local_source(location, progress)
    if explain:
        _explain(folder, source_options)
        return
    from fdrd.hub.client import start_name_check
    from fdrd.pipeline.builder import build as run_build

    on_hub = start_name_check(name)
    with show_progress(resume_hint(target)) as progress:
        built = run_build(
            folder, target, config=config, options=source_options, decisions=decisions,
            only=only, replace=replace, workers=workers, engine=engine, tokens=tokens_of, progress=progress,
        )  # fmt: skip
    print_build(built, json, on_hub())


def _print_reasons(json: bool) -> None:
    """Print the reasons of rejected records and the fixes of kept ones; what leaves no usable record cannot be kept."""
    from fdrd.reasons import KEEPABLE, REASONS, RULES, default_action

    actions = {
        reason: default_action(reason) if reason in KEEPABLE else "drop, or fail"
        for reason in REASONS
    }
    if json:
        listed = {name: {"action": actions[name], "meaning": REASONS[name]} for name in REASONS}
        print_json({"reasons": listed, "fixes": RULES})
        return
    print_table(
        ("reason", "action", "a record is rejected because"),
        [(name, actions[name], meaning) for name, meaning in REASONS.items()],
    )
    print_table(("fix", "what happened to a record that is kept"), RULES.items())
    print_hint("Next:  fdrd build SOURCE --policy caption_in_other_split=drop")


def _explain(source: Path, options: SourceOptions) -> None:
    from fdrd.sources.explain import explain
    from fdrd.sources.single_file import as_folder

    with as_folder(source) as folder:
        for line in explain(folder, options):
            out.print(line)
