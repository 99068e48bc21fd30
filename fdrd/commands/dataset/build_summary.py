"""The token counter and the printed summary of `fdrd build`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fdrd.commands.console import err, out, print_hint, print_json, print_table
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.pipeline.builder import Build
    from fdrd.storage.manifest_types import Manifest, Tokens
    from fdrd.text.tokens import TokenCounter


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
    name, folder = manifest.name, built.path
    warnings = []
    if on_hub:
        warnings.append(
            f'The Hub has a dataset {name}, which datasets.load_dataset("{name}") loads instead; load this one with '
            f'fdrd.load("{name}"), or choose another --name'
        )
    if built.not_registered:
        warnings.append(
            f"{folder} is complete, but was not registered ({'; '.join(built.not_registered)}); name its folder, e.g. "
            f"fdrd bench {folder}"
        )
    if built.instead_of:
        warnings.append(
            f"{built.instead_of} holds the dataset of another source, so this one is {folder}, named {name}; "
            "--out and --name choose otherwise"
        )
    if built.name_owner:
        warnings.append(
            f"The name {name} belongs to {built.name_owner}; load this dataset by its folder, {folder}, or build "
            "it with another --name"
        )
    for warning in warnings:
        err.print(warning, soft_wrap=True)
    if json:
        from msgspec import to_builtins

        head = {"folder": str(folder), "nothing_to_do": built.nothing_to_do}
        print_json(head | to_builtins(manifest))
        return
    _print_counts(built)
    if fewer := manifest.rules.get("negatives_fewer"):
        out.print(
            f"{fewer:,} of {manifest.records.kept:,} pairs have fewer than {manifest.config.negatives} hard "
            "negatives: no other swap is plausible"
        )
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
        count = len(manifest.shards)
        shards = "1 shard" if count == 1 else f"{count} shards"
        out.print(f"Built {folder}: {shards}, {built.shards_written} newly written.")
    _print_tokens(manifest.tokens)
    _print_splits(manifest)
    for sentence in built.gaps:
        out.print(sentence, soft_wrap=True)
    if built.configs:
        out.print(f'Load it in any project on this machine:  fdrd.load("{name}")')
    if built.configs and not on_hub:
        print_hint(f'datasets.load_dataset("{name}") works too, unless the Hub has that name.')
    splits = [split for known in manifest.splits.values() for split in known]
    other = "" if "test" in splits else f" --split {max(splits)}"  # validation before train
    print_hint(f"Next:  fdrd bench {folder} --method zero_shot{other}")


def _print_splits(manifest: Manifest) -> None:
    """Print the images of each split, and what their numbers mean for measuring."""
    from benchmark.intervals import few_images

    names = ("train", "validation", "test")
    counts = {
        domain: {name: known[name].images if name in known else 0 for name in names}
        for domain, known in manifest.splits.items()
    }
    rows = [(domain, *(f"{sizes[name]:,}" for name in names)) for domain, sizes in counts.items()]
    print_table(("images of", *names), rows)
    without = [domain for domain, sizes in counts.items() if not sizes["test"]]
    tested = {domain: sizes["test"] for domain, sizes in counts.items() if sizes["test"]}
    if without:
        other = max(manifest.splits[without[0]])
        out.print(
            f"No test split: {', '.join(without)}. The source names other splits only, or has too few images. Measure "
            f"with --split {other}, or take the split out of folders, file names and columns: then the build draws "
            "all three",
            soft_wrap=True,
        )
    if images := manifest.rules.get("split_by_image"):
        out.print(
            f"{images:,} pairs have categories with one image. They are split by image, so test and train have "
            "different categories",
            soft_wrap=True,
        )
    if few := few_images("test", tested):
        out.print(few, soft_wrap=True)


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
    print_table(("annotations", "read", "kept", "rejected"), rows)
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
