"""`fdrd build`, its token counter, and the summary that it prints."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdrd.commands.console import count_of, err, out, show_progress
from fdrd.commands.options import RARE, Json, Workers, one_of
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.pipeline.builder import Build
    from fdrd.sources import SourceOptions
    from fdrd.storage.manifest import Manifest, Tokens
    from fdrd.text.tokens import TokenCounter


_source = partial(typer.Option, rich_help_panel="Source")
_negatives = partial(typer.Option, rich_help_panel="Hard negatives")
_records = partial(typer.Option, rich_help_panel="Records to keep")
_files = partial(typer.Option, rich_help_panel="Dataset")
_rare = partial(typer.Option, rich_help_panel=RARE)
_stop = partial(typer.Option, rich_help_panel="Instead of building")


def build(
    context: typer.Context,
    positional: Annotated[str | None, typer.Argument(metavar="SOURCE")] = None,
    source: Annotated[str | None, _source(hidden=True)] = None,
    layout: Annotated[str | None, _source()] = None,
    map: Annotated[list[str] | None, _source(metavar="FIELD=COLUMN")] = None,
    category_from: Annotated[str | None, _source(metavar="WHERE")] = None,
    category: Annotated[str | None, _rare()] = None,
    separator: Annotated[str | None, _rare()] = None,
    target: Annotated[Path | None, typer.Option("--out", "-o", metavar="FOLDER")] = None,
    replace: Annotated[bool, typer.Option("--replace")] = False,
    name: Annotated[str, _files()] = "fdrd",
    format: Annotated[str, _files()] = "arrow",
    backbone: Annotated[str | None, _files(metavar="NAME")] = None,
    shard_mb: Annotated[int, _rare(metavar="N", min=1)] = 64,
    negatives: Annotated[int, _negatives(metavar="N", min=0)] = 4,
    attribute_negatives: Annotated[int, _negatives(metavar="N", min=0)] = 2,
    seed: Annotated[int, _negatives(metavar="N")] = 0,
    policy: Annotated[list[str] | None, _records(metavar="REASON=ACTION")] = None,
    decisions: Annotated[Path | None, _records(metavar="FILE")] = None,
    only: Annotated[Path | None, _rare(metavar="FILE")] = None,
    max_pixels: Annotated[int, _rare(metavar="N", min=1)] = 50_000_000,
    min_side: Annotated[int, _rare(metavar="N", min=1)] = 8,
    max_aspect: Annotated[float, _rare(min=1)] = 20,
    max_caption: Annotated[int, _rare(metavar="N", min=1)] = 5000,
    explain: Annotated[bool, _stop("--explain")] = False,
    reasons: Annotated[bool, _stop("--reasons")] = False,
    workers: Workers = None,
    engine: str = "local",
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

    Args:
        positional: Folder of one domain or of several domains; a zip, tar or Parquet file of them; or hub:ORG/NAME, a
            dataset on the Hub.
        layout: Layout of the source; detected by default.
        map: Column that holds a field, e.g. image=filepath or caption=title,text; repeatable.
        category_from: Origin of categories: folder, parent, column:NAME, caption-pattern, or none.
        category: Category of all records.
        separator: Separator of tables: one character, or tab.
        target: Folder of the dataset; default: data/fdrd, or data/NAME-OF-SOURCE if another source has it.
        replace: Replace a dataset of another source in --out.
        name: Name for `load_dataset` on this machine.
        format: Shard format: arrow, or parquet for the Hub's viewer.
        backbone: Default backbone for benchmarks, e.g. embedded or a Hub id.
        shard_mb: Image bytes per shard, in MiB.
        negatives: Hard negatives per pair.
        attribute_negatives: How many of them change an attribute, not the category.
        seed: Seed of hashed splits and hard negatives.
        policy: keep, drop or fail, for a reason of `fdrd build --reasons`; repeatable.
        decisions: Apply reviewers' decisions: the file that `fdrd view --review` wrote.
        only: Keep only the records whose ids it lists, e.g. exported by `fdrd view`.
        max_pixels: Maximum pixels (width times height) of an image.
        min_side: Minimum pixels of the shorter side of an image.
        max_aspect: Maximum ratio of the longer to the shorter side.
        max_caption: Maximum characters of a caption.
        explain: Show the detected layout of each folder and three of its records.
        reasons: List the reasons for rejecting records, the default actions, and the fixes of records that are kept.
        engine: Where processes run: local, or ray for a Ray cluster.

    Examples:
        fdrd build raw/
        fdrd build raw/ -o data/birds --name birds
        fdrd build birds.zip --map image=filepath --category-from column:species
    """
    if reasons:
        _print_reasons(json)
        return
    from fdrd.build_config import BuildConfig
    from fdrd.hub.source import local_source
    from fdrd.pipeline.builder import BuildSettings, with_settings
    from fdrd.pipeline.builder import build as run_build
    from fdrd.reasons import parse
    from fdrd.sources.reading.columns import NO_OPTIONS

    location = one_of(positional, source, "give one SOURCE, e.g. fdrd build raw/")
    named = BuildSettings.__annotations__
    settings: Any = {k: v for k, v in context.params.items() if k in named and v is not None}
    settings |= {"columns": map or (), "shard_bytes": shard_mb * 2**20}
    settings["policy"] = parse(policy or [])
    config, options = with_settings(BuildConfig(), NO_OPTIONS, settings)
    with show_progress("Run the same command again to resume.") as progress:
        folder = local_source(location, progress)
    if explain:
        _explain(folder, options)
        return
    from fdrd.hub.client import start_name_check

    on_hub = start_name_check(name)
    with show_progress(resume_hint(target)) as progress:
        built = run_build(
            folder,
            target,
            config=config,
            options=options,
            decisions=decisions,
            only=only,
            replace=replace,
            workers=workers,
            engine=engine,
            tokens=tokens_of,
            progress=progress,
        )
    print_build(built, json, on_hub())


def resume_hint(target: Path | None) -> str:
    """Return the text that Ctrl-C prints during a build; without a target the build chooses one."""
    kept = f" in {target}.work" if target else ""
    return f"Finished work is kept{kept}; run the same command again to resume."


def tokens_of(backbone: str) -> TokenCounter | None:
    """Return a token counter for a backbone, or None, with a message, if its tokenizer is not available."""
    from benchmark.models.loading import token_counter

    try:
        return token_counter(backbone)
    except FdrdError as error:
        err.print(f"{error}; estimating CLIP's tokens instead", style="dim")
        return None


def print_build(built: Build, json: bool, on_hub: bool = False) -> None:
    """Print the result of a build, and the next command; `on_hub`: the Hub has the name, too."""
    manifest = built.manifest
    name, folder, notes = manifest.name, built.path, []
    if on_hub:
        notes.append(
            f'The Hub has a dataset {name}, which datasets.load_dataset("{name}") loads instead; load this one with '
            f'fdrd.load("{name}"), or choose another --name'
        )
    if built.not_registered:
        notes.append(
            f"{folder} is complete, but was not registered ({'; '.join(built.not_registered)}); name its folder, e.g. "
            f"fdrd bench {folder}"
        )
    if built.instead_of:
        notes.append(
            f"{built.instead_of} holds the dataset of another source, so this one is {folder}, named {name}; "
            "--out and --name choose otherwise"
        )
    if built.name_owner:
        notes.append(
            f"The name {name} belongs to {built.name_owner}; load this dataset by its folder, {folder}, or build "
            "it with another --name"
        )
    for note in notes:
        err.print(note, soft_wrap=True)
    if json:
        from msgspec import to_builtins

        head = {"folder": str(folder), "nothing_to_do": built.nothing_to_do}
        out.json(head | to_builtins(manifest))
        return
    _print_counts(built)
    if fewer := manifest.rules.get("negatives_fewer"):
        pairs = f"{fewer:,} of {manifest.records.kept:,} pairs"
        limit = f"fewer than {manifest.config.negatives} hard negatives"
        out.print(f"{pairs} have {limit}: no other swap is plausible")
    if reviewed := manifest.decisions:
        verified = sum(sum(splits.values()) for splits in reviewed.verified.values())
        counts = {"decisions applied": reviewed.applied, "not applied": reviewed.stale}
        counts["verified records"] = verified
        parts = (f"{count:,} {label}" for label, count in counts.items() if count)
        out.print(f"Review: {', '.join(parts) or 'no decisions'}")
        for decision, reason in built.stale[:10]:
            out.print(f"  not applied: {decision.action} on {decision.record}: {reason}")
    for file, why in built.unused[:10]:
        out.print(f"Not used: {file}: {why}")
    if built.nothing_to_do:
        out.print(f"Nothing to do: {folder} is up to date.")
    else:
        shards = count_of(len(manifest.shards), "shard")
        out.print(f"Built {folder}: {shards}, {built.shards_written} newly written.")
    _print_tokens(manifest.tokens)
    _print_splits(manifest)
    for sentence in built.gaps:
        out.print(sentence)
    if built.configs:
        out.print(f'Load it in any project on this machine:  fdrd.load("{name}")')
    if built.configs and not on_hub:
        out.hint(f'datasets.load_dataset("{name}") works too, unless the Hub has that name.')
    splits = [split for known in manifest.splits.values() for split in known]
    other = "" if "test" in splits else f" --split {max(splits)}"  # validation before train
    out.hint(f"Next:  fdrd bench {folder} --method zero_shot{other}")


def _print_splits(manifest: Manifest) -> None:
    """Print the images of each split, and what their numbers mean for measuring."""
    from benchmark.intervals import few_images

    names = ("train", "validation", "test")
    counts = {
        domain: {name: known[name].images if name in known else 0 for name in names}
        for domain, known in manifest.splits.items()
    }
    rows = [(domain, *(f"{sizes[name]:,}" for name in names)) for domain, sizes in counts.items()]
    out.table(("images of", *names), rows)
    without = [domain for domain, sizes in counts.items() if not sizes["test"]]
    tested = {domain: sizes["test"] for domain, sizes in counts.items() if sizes["test"]}
    if without:
        other = max(manifest.splits[without[0]])
        out.print(
            f"No test split: {', '.join(without)}. The source names other splits only, or has too few images. Measure "
            f"with --split {other}, or take the split out of folders, file names and columns: then the build draws "
            "all three"
        )
    if images := manifest.rules.get("split_by_image"):
        out.print(
            f"{images:,} pairs have categories with one image. They are split by image, so test and train have "
            "different categories"
        )
    if few := few_images("test", tested):
        out.print(few)


def _print_counts(built: Build) -> None:
    """Print the records by annotation file, and where to look for those that were rejected."""
    manifest = built.manifest
    records, rejected = manifest.records, Counter[str]()
    rows = []
    for file, entry in manifest.files.items():
        # One per line: a narrow terminal would part counts from their reasons.
        reasons = ",\n".join(f"{count:,} {reason}" for reason, count in entry.rejected.items())
        rejected.update(entry.rejected)
        rows.append((file, f"{entry.read:,}", f"{entry.kept:,}", reasons or "none"))
    out.table(("annotations", "read", "kept", "rejected"), rows)
    line = f"{records.read:,} read = {records.kept:,} kept + {records.rejected:,} rejected"
    out.print(f"{line}: {built.path / 'rejected.jsonl'}" if records.rejected else line)
    if missing := rejected["caption_missing"]:
        images = "image has" if missing == 1 else "images have"
        out.print(f"{missing:,} {images} no caption; `fdrd caption SOURCE` writes captions")


def _print_tokens(tokens: Tokens | None) -> None:
    """Print how many captions are truncated."""
    if tokens is None:
        return
    splits = [split for splits in tokens.splits.values() for split in splits.values()]
    longest, over = max(split.max for split in splits), sum(split.over for split in splits)
    cut = f"; {over:,} exceed the limit of {tokens.limit} and are truncated" if over else ""
    out.print(f"Captions have up to {longest} tokens ({tokens.tokenizer}){cut}")


def _print_reasons(json: bool) -> None:
    """Print the reasons of rejected records and the fixes of kept ones; what leaves no usable record cannot be kept."""
    from fdrd.reasons import KEEPABLE, REASONS, RULES, default_action

    actions = {
        reason: default_action(reason) if reason in KEEPABLE else "drop, or fail"
        for reason in REASONS
    }
    if json:
        listed = {name: {"action": actions[name], "meaning": REASONS[name]} for name in REASONS}
        out.json({"reasons": listed, "fixes": RULES})
        return
    rows = [(name, actions[name], meaning) for name, meaning in REASONS.items()]
    out.table(("reason", "action", "a record is rejected because"), rows)
    out.table(("fix", "what happened to a record that is kept"), RULES.items())
    out.hint("Next:  fdrd build SOURCE --policy caption_in_other_split=drop")


def _explain(source: Path, options: SourceOptions) -> None:
    from fdrd.sources.explain import explain
    from fdrd.sources.single_file import as_folder

    with as_folder(source) as folder:
        for line in explain(folder, options):
            out.print(line)
