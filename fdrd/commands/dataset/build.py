"""`fdrd build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fdrd.commands.console import out, print_hint, print_json, print_table, show_progress
from fdrd.commands.dataset import build_options as options
from fdrd.commands.dataset.build_summary import print_build, resume_hint, tokens_of
from fdrd.commands.options import Engine, Json, Out, Replace, Workers, one_of

if TYPE_CHECKING:
    from fdrd.sources import SourceOptions


def build(
    place: options.SourceArgument = None,
    source: options.Source = None,
    layout: options.Layout = None,
    map: options.Map = None,
    category_from: options.CategoryFrom = None,
    category: options.Category = None,
    separator: options.Separator = None,
    target: Out = None,
    replace: Replace = False,
    name: options.Name = "fdrd",
    format: options.Format = "arrow",
    backbone: options.DefaultBackbone = None,
    shard_mb: options.ShardMb = 64,
    negatives: options.Negatives = 4,
    attribute_negatives: options.AttributeNegatives = 2,
    seed: options.Seed = 0,
    policy: options.PolicyOptions = None,
    decisions: options.Decisions = None,
    only: options.Only = None,
    max_pixels: options.MaxPixels = 50_000_000,
    min_side: options.MinSide = 8,
    max_aspect: options.MaxAspect = 20,
    max_caption: options.MaxCaption = 5000,
    explain: options.Explain = False,
    reasons: options.Reasons = False,
    workers: Workers = None,
    engine: Engine = "local",
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
    from fdrd.policy import parse
    from fdrd.sources import make_options

    given = one_of(place, source, "give one SOURCE, e.g. fdrd build raw/")
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
        folder = local_source(given, progress)
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
    from fdrd.policy import default_action
    from fdrd.reasons import KEEPABLE, REASONS, RULES

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
