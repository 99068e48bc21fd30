"""`fdrd build`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import Json, app, out, print_json, show_progress
from fdrd.commands.dataset.build_options import Engine, Workers, print_build, tokens_of
from fdrd.errors import FdrdError
from fdrd.policy import default_action, parse
from fdrd.reasons import KEEPABLE, REASONS, RULES

OUT = Path("data/fdrd")


def _reasons() -> str:
    """A paragraph for each reason and each rule, as the end of the help shows them."""
    lines = ["Reasons for --policy, with what is done unless you choose:"]
    for reason, what in REASONS.items():
        choice = default_action(reason) if reason in KEEPABLE else "drop, or fail"
        lines.append(f"[b]{reason}[/] ({choice}): {what}")
    lines.append(
        "Rules, which mend a record or say what is done to see its image, and are counted:"
    )
    lines += [f"[b]{rule}[/]: {what}" for rule, what in RULES.items()]
    return "\n\n".join([*lines, "Example:  fdrd build --source raw/ --out data/fdrd"])


@app.command(epilog=_reasons())
def build(
    source: Annotated[
        Path,
        typer.Option(
            help="Folder of a domain, or of folders of domains; or hub:ORG/NAME, a dataset of the Hub."
        ),
    ],
    target: Annotated[Path, typer.Option("--out", help="Folder of the dataset.")] = OUT,
    name: Annotated[
        str, typer.Option(help="What `load_dataset` will call it on this machine.")
    ] = "fdrd",
    seed: Annotated[int, typer.Option(help="Moves the hashed splits and the hard negatives.")] = 0,
    negatives: Annotated[int, typer.Option(min=0, help="Hard negatives for each pair.")] = 4,
    attribute_negatives: Annotated[
        int, typer.Option(min=0, help="How many of them swap an attribute, not the category.")
    ] = 2,
    workers: Workers = None,
    engine: Engine = "local",
    part: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Build part I of N, as in a job array; `fdrd merge` puts them together.",
        ),
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse images of more pixels.")
    ] = 50_000_000,
    min_side: Annotated[
        int, typer.Option(min=1, help="Pixels that the shorter side of an image must have.")
    ] = 8,
    max_aspect: Annotated[
        float, typer.Option(min=1, help="How many times the shorter side the longer may be.")
    ] = 20,
    max_caption: Annotated[
        int, typer.Option(min=1, help="Characters that a caption may have.")
    ] = 5000,
    shard_mb: Annotated[int, typer.Option(min=1, help="Image bytes per shard, in MiB.")] = 64,
    format: Annotated[
        str, typer.Option(help="Of the shards: arrow, or parquet for the Hub's viewer.")
    ] = "arrow",
    backbone: Annotated[
        str | None, typer.Option(help="Hub id that a benchmark on this dataset uses by default.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REASON=keep|drop|fail",
            help="What is done about a reason, of those below; repeat it for several.",
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

    Layouts: [b]image_folder[/], \[split/]category/image.jpg with metadata.jsonl, metadata.csv or image.txt
    beside it; [b]released[/], the authors' JSON of captions beside the images; [b]table[/], CSV, TSV, JSON
    lines or Parquet with a column for the image, as path or bytes; [b]webdataset[/], tar archives of jpg
    with txt or json; [b]saved_dataset[/], what `datasets` saved to disk; [b]coop_splits[/], split_zhou_*.json
    without captions, which `fdrd caption` writes. A folder of such folders is a dataset of several domains;
    domain.toml in one of them gives its licence, meta-categories and groups.

    A rerun does nothing where nothing changed, and goes on where a run was stopped.
    """
    from fdrd.hub.source import local_source

    with show_progress("The same command goes on from there.") as progress:
        source = local_source(source, progress)
    if explain:
        from fdrd.sources.explain import explain as explain_source

        for line in explain_source(source):
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
    if part is not None and decisions is not None:
        raise FdrdError("--decisions applies to a whole build; leave out --part")
    if part is not None:
        _build_part(source, target, part, config, workers, engine)
        return
    with show_progress(
        f"What is done is kept in {target}.work; the same command goes on from there."
    ) as progress:
        built = run_build(
            source, target, config=config, decisions=decisions, workers=workers, engine=engine,
            tokens=tokens_of, progress=progress,
        )  # fmt: skip
    if json:
        print_json({"nothing_to_do": built.nothing_to_do, **built.manifest})
        return
    print_build(built)


def _build_part(
    source: Path, target: Path, text: str, config: Any, workers: int | None, engine: str
) -> None:
    from fdrd.hub.source import local_source
    from fdrd.pipeline.part_builder import build_part
    from fdrd.pipeline.parts import parse_part

    part = parse_part(text)
    if target == OUT:
        target = Path("data/parts") / f"{part.number}-of-{part.of}"
    with show_progress(
        f"What is done is kept in {target}.work; the same command goes on from there."
    ) as progress:
        built = build_part(
            local_source(source, progress),
            target,
            part,
            config=config,
            workers=workers,
            engine=engine,
            progress=progress,
        )
    out.print(f"Built {target}." if built else f"Nothing to do: {target} is this very part.")
    out.print(f"Once all {part.of} are there:  fdrd merge {target.parent}/*", style="dim")
