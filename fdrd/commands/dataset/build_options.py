"""What the commands that build a dataset share: their options, what counts tokens, how a build is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdrd.commands.console import err, out
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.text.tokens import TokenCounter

Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")]
Engine = Annotated[str, typer.Option(help="Where they run: local, or ray for a Ray cluster.")]


def tokens_of(backbone: str) -> TokenCounter | None:
    """What counts tokens as the backbone does; None, and a line on stderr, where its tokenizer is out of reach."""
    from benchmark.models.tokenizer import token_counter

    try:
        return token_counter(backbone)
    except FdrdError as error:
        err.print(f"{error}; CLIP's BPE counts tokens instead, if a package holds it", style="dim")
        return None


def print_build(built: Any) -> None:
    """What a build or a merge did, and what may come next."""
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
    if reviewed := built.manifest.get("decisions"):
        verified = sum(sum(splits.values()) for splits in reviewed["verified"].values())
        out.print(
            f"Review: {reviewed['applied']:,} decisions applied, {reviewed['stale']:,} not applied, "
            f"{verified:,} records verified"
        )
        for decision, reason in built.stale[:10]:
            out.print(f"  not applied: {decision.action} on {decision.record}: {reason}")
    if built.nothing_to_do:
        out.print(f"Nothing to do: {built.out} is built from this very source.")
    else:
        shards = len(built.manifest["shards"])
        out.print(
            f"Built {built.out}: {shards} shards, {built.shards_written} of them written now."
        )
    _print_tokens(built.manifest["tokens"])
    name = built.manifest["name"]
    out.print(f'From any project here:  load_dataset("{name}")')
    out.print(f"Next:  fdrd bench --method zero_shot --data {built.out}", style="dim")


def _print_tokens(tokens: dict[str, Any] | None) -> None:
    """How many captions the text tower cuts off, or how to know."""
    if tokens is None:
        from fdrd.text.tokens import HOW_TO_GET

        out.print(f"Caption lengths in tokens were not counted: {HOW_TO_GET}.", style="dim")
        return
    splits = [split for splits in tokens["splits"].values() for split in splits.values()]
    longest, over = max(split["max"] for split in splits), sum(split["over"] for split in splits)
    out.print(
        f"Captions have up to {longest} tokens ({tokens['tokenizer']}); {over:,} have more than the "
        f"{tokens['limit']} that its text tower reads"
    )
