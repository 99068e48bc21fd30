"""`fdrd build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fdrd.commands.console import app, out, show_progress
from fdrd.commands.dataset import build_options as of
from fdrd.commands.dataset.build_summary import print_build, resume_hint, tokens_of
from fdrd.commands.options import Engine, Json, Out, Replace, Workers, one_of

if TYPE_CHECKING:
    from fdrd.sources import SourceOptions


@app.command(
    epilog="Examples:  fdrd build raw/        fdrd build raw/ -o data/birds --name birds        "
    "fdrd build birds.zip --map image=filepath --category-from column:species"
)
def build(
    place: of.Place = None,
    source: of.Source = None,
    layout: of.Layout = None,
    map: of.Map = None,
    separator: of.Separator = None,
    category: of.Category = None,
    category_from: of.CategoryFrom = None,
    explain: of.Explain = False,
    target: Out = None,
    replace: Replace = False,
    name: of.Name = "fdrd",
    shard_mb: of.ShardMb = 64,
    format: of.Format = "arrow",
    backbone: of.DefaultBackbone = None,
    negatives: of.Negatives = 4,
    attribute_negatives: of.AttributeNegatives = 2,
    seed: of.Seed = 0,
    policy: of.PolicyOptions = None,
    decisions: of.Decisions = None,
    max_pixels: of.MaxPixels = 50_000_000,
    min_side: of.MinSide = 8,
    max_aspect: of.MaxAspect = 20,
    max_caption: of.MaxCaption = 5000,
    workers: Workers = None,
    engine: Engine = "local",
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

    Note:
        One parameter per option of the command line.
    """
    from fdrd.build_config import BuildConfig
    from fdrd.hub.source import local_source
    from fdrd.policy import parse
    from fdrd.sources import make_options

    given = one_of(place, source, "give one SOURCE, e.g. fdrd build raw/")
    options = make_options(
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
        _explain(folder, options)
        return
    from fdrd.hub.name_check import start_name_check
    from fdrd.pipeline.builder import build as run_build

    on_hub = start_name_check(name)
    with show_progress(resume_hint(target)) as progress:
        built = run_build(
            folder, target, config=config, options=options, decisions=decisions,
            replace=replace, workers=workers, engine=engine, tokens=tokens_of, progress=progress,
        )  # fmt: skip
    print_build(built, json, on_hub())


def _explain(source: Path, options: SourceOptions) -> None:
    from fdrd.sources.explain import explain
    from fdrd.sources.single_file import as_folder

    with as_folder(source) as folder:
        for line in explain(folder, options):
            out.print(line)
