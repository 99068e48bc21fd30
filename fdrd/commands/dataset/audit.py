"""`fdrd audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import Json, app, err, out, print_json, show_progress
from fdrd.errors import FdrdError


@app.command(
    epilog="Example:  fdrd audit data/fdrd        fdrd audit --source raw/        "
    "fdrd audit --source captioned/ --noise"
)
def audit(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder that `fdrd build` wrote; or give --source.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Folder of annotations; the pictures need not be there.")
    ] = None,
    blind: Annotated[
        bool, typer.Option(help="Train the text-only readers: some seconds per thousand rows.")
    ] = True,
    card: Annotated[
        bool, typer.Option(help="Put the figures on the dataset's card, README.md.")
    ] = True,
    noise: Annotated[
        bool, typer.Option("--noise", help="Count what the filters of `fdrd caption` would reject.")
    ] = False,
    backbone: Annotated[
        str | None,
        typer.Option(help="With --noise: CLIP that scores captions; needs the pictures."),
    ] = None,
    min_clip_score: Annotated[
        float | None, typer.Option(help="With --noise: the cosine below which a caption is noise.")
    ] = None,
    json: Json = False,
) -> None:
    """Count flaws of captions and negatives, and see what a reader without pictures makes of them.

    The figures are put on the card of a built dataset; without the text-only readers they are there
    since the build. A source is audited file by file, after the normalisation that a build would do; how often each of
    its rules applied is printed too.

    With --noise, count what the noise filters of `fdrd caption` would reject in a source.
    """
    from dataclasses import asdict

    from fdrd.card.render import put_audit
    from fdrd.checks.audit import audit as run_audit
    from fdrd.checks.audit import tables
    from fdrd.checks.audit.records import of_dataset, of_source
    from fdrd.hub.source import local_source
    from fdrd.storage.manifest import read_manifest

    if (folder is None) == (source is None):
        raise FdrdError("give a built dataset, or --source with annotations")
    if backbone and not noise:
        raise FdrdError("--backbone scores captions for --noise; add that")
    if noise and not source:
        raise FdrdError("--noise needs --source")
    if source and noise:
        _print_noise(source, backbone, min_clip_score, json)
        return
    digest = read_manifest(folder)["digest"] if folder else ""
    source = local_source(source) if source else None
    records, rules = of_dataset(folder) if folder else of_source(source or Path())
    found = run_audit(records, blind=blind)
    if json:
        print_json({"audits": [asdict(each) for each in found], "rules": rules})
    else:
        out.print(tables(found))
        for rule, count in rules.items():
            out.print(f"{count:,} times: {rule}")
    if folder and blind and card:
        err.print(f"On the card now: {put_audit(folder, found, digest)}", soft_wrap=True)


def _print_noise(source: Path, backbone: str | None, least: float | None, json: bool) -> None:
    from dataclasses import asdict

    from fdrd.captioning.measure import measure, tables
    from fdrd.checks.audit.records import of_source

    if least is not None and not backbone:
        raise FdrdError("--min-clip-score needs --backbone, whose cosines it limits")
    records, _ = of_source(source)
    scores: list[float] = []
    if backbone:
        records, scores = _scored(source, records, backbone)
    found = measure(records, scores, least)
    if json:
        print_json({"noise": [asdict(each) for each in found], "clip_score": _spread(scores)})
        return
    out.print(tables(found))
    for share, score in _spread(scores).items():
        out.print(f"CLIP score: {share} of the captions are below {score:.4f}")


def _scored(source: Path, records: list[Any], spec: str) -> tuple[list[Any], list[float]]:
    """The records whose picture is there, with the cosine of picture and caption."""
    from benchmark.models.clip_score import clip_scores
    from benchmark.models.loading import load_backbone
    from fdrd.captioning.pictures import Picture
    from fdrd.commands.benchmark.known_methods import quiet_transformers
    from fdrd.images.check import examine

    quiet_transformers()
    there = [
        record for record in records if not examine(str(source), record.image, 50_000_000).reason
    ]
    if not there:
        raise FdrdError(f"{source}: no picture of the annotations is there, which --backbone needs")
    loaded = load_backbone(spec, allow_code=True)
    pairs = ((Picture(str(source), record, "").upright(), record.caption) for record in there)
    with show_progress("Nothing was changed.") as progress:
        scores = []
        for score in clip_scores(loaded, pairs):
            scores.append(score)
            progress("Scored captions", len(scores), len(there))
    return there, scores


def _spread(scores: list[float]) -> dict[str, float]:
    ordered = sorted(scores)
    return {
        f"{share:.0%}": ordered[int(share * len(ordered))]
        for share in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.99)
        if ordered
    }
