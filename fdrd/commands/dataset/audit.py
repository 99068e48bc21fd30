"""`fdrd audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import app, err, out, print_json, print_line, print_report, show_progress
from fdrd.commands.options import Json, dataset_folder
from fdrd.errors import CheckError, FdrdError

Audited = Annotated[
    Path | None,
    typer.Argument(
        help="Folder or registered name of a built dataset, or a folder of annotations. "
        "Annotations need no images.",
        callback=dataset_folder,
    ),
]


@app.command(
    epilog="Example:  fdrd audit data/fdrd        fdrd audit raw/        "
    "fdrd audit captioned/ --noise\n\nIn CI:  fdrd audit data/fdrd --fail-on negative_equal=0"
)
def audit(
    folder: Audited = None,
    source: Annotated[
        Path | None, typer.Option(help="Folder of annotations, same as the argument.")
    ] = None,
    text_only: Annotated[
        bool,
        typer.Option(help="Train the text-only baseline: a few seconds per thousand rows."),
    ] = True,
    blind: Annotated[bool, typer.Option(hidden=True)] = True,
    card: Annotated[
        bool, typer.Option(help="Add the results to the dataset's card, README.md.")
    ] = True,
    rows: Annotated[
        bool,
        typer.Option("--list", help="Print the rows instead: reason, domain, record id, text."),
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(help="REASON=N: exit with 1 if --list has more such rows; repeatable."),
    ] = None,
    noise: Annotated[
        bool,
        typer.Option(
            "--noise", help="Count what the noise filters of `fdrd caption` would reject."
        ),
    ] = False,
    backbone: Annotated[
        str | None,
        typer.Option(help="With --noise: CLIP model that scores captions. Needs the images."),
    ] = None,
    min_clip_score: Annotated[
        float | None,
        typer.Option(help="With --noise: minimum cosine of image and caption."),
    ] = None,
    json: Json = False,
) -> None:
    """Count flaws of captions and negatives, and measure how well a text-only baseline does.

    The results are added to the card of a built dataset. A source is audited file by file after
    normalization, and the number of times that each normalization rule applied is printed.

    --list and --fail-on name the rows, and neither train the text-only baseline nor change the card.

    With --noise, count what the noise filters of `fdrd caption` would reject in a source.
    """
    from dataclasses import asdict

    from fdrd.card.render import put_audit
    from fdrd.checks.audit_records import dataset_records, source_records
    from fdrd.checks.audit_tables import tables
    from fdrd.checks.audits import audit_records
    from fdrd.checks.findings import parse_limits
    from fdrd.hub.source import local_source
    from fdrd.storage.manifest import read_manifest

    if folder and not source and folder.is_dir() and not (folder / "manifest.json").exists():
        folder, source = None, folder
    _check_options(folder, source, noise, backbone)
    if source and noise:
        _print_noise(source, backbone, min_clip_score, json)
        return
    limits = parse_limits(fail_on or [])
    text_only = text_only and blind  # the old name of the option
    digest = read_manifest(folder).digest if folder else ""
    source = local_source(source) if source else None
    records, rules = dataset_records(folder) if folder else source_records(source or Path())
    if rows or fail_on:
        _print_rows(records, rows, limits, json)
        return
    found = audit_records(records, text_only=text_only)
    if json:
        print_json({"audits": [asdict(each) for each in found], "rules": rules})
    else:
        print_report(tables(found))
        for rule, count in rules.items():
            out.print(f"{count:,} times: {rule}")
    if folder and text_only and card:
        err.print(f"Added to the card: {put_audit(folder, found, digest)}", soft_wrap=True)


def _check_options(
    folder: Path | None, source: Path | None, noise: bool, backbone: str | None
) -> None:
    if (folder is None) == (source is None):
        raise FdrdError("give one folder, of a built dataset or of annotations")
    if backbone and not noise:
        raise FdrdError("--backbone requires --noise")
    if noise and not source:
        raise FdrdError("--noise requires a folder of annotations")


def _print_rows(records: list[Any], listed: bool, limits: dict[str, int], json: bool) -> None:
    """Print the rows with a finding.

    Raises:
        CheckError: there are more of a kind than its limit.
    """
    from dataclasses import asdict

    from fdrd.checks.findings import exceeded, find_rows

    found = list(find_rows(records))
    if listed and json:
        print_json({"rows": [asdict(each) for each in found]})
    elif listed:
        for each in found:
            print_line((each.reason, each.domain, each.id, each.text))
    if failed := exceeded(found, limits):
        raise CheckError(f"{'; '.join(failed)}; `fdrd audit --list` names the rows")


def _print_noise(source: Path, backbone: str | None, minimum: float | None, json: bool) -> None:
    from dataclasses import asdict

    from fdrd.captioning.noise_report import count_noise, noise_tables
    from fdrd.checks.audit_records import source_records

    if minimum is not None and not backbone:
        raise FdrdError("--min-clip-score requires --backbone")
    records, _ = source_records(source)
    scores: list[float] = []
    if backbone:
        records, scores = _scored(source, records, backbone)
    found = count_noise(records, scores, minimum)
    ordered = sorted(scores)
    quantiles = {
        f"{share:.0%}": ordered[int(share * len(ordered))]
        for share in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.99)
        if ordered
    }
    if json:
        print_json({"noise": [asdict(each) for each in found], "clip_score": quantiles})
        return
    print_report(noise_tables(found))
    for share, score in quantiles.items():
        out.print(f"CLIP score: {share} of the captions are below {score:.4f}")


def _scored(source: Path, records: list[Any], spec: str) -> tuple[list[Any], list[float]]:
    """Return the records that have an image, with the cosine of image and caption."""
    from benchmark.models.clip_score import clip_scores
    from benchmark.models.loading import load_backbone
    from fdrd.captioning.uncaptioned import load_image
    from fdrd.commands.console import quiet_transformers
    from fdrd.images.check import check_image

    quiet_transformers()
    there = [
        record
        for record in records
        if not check_image(str(source), record.image, 50_000_000).reason
    ]
    if not there:
        raise FdrdError(f"{source} has no images of these annotations, which --backbone needs")
    loaded = load_backbone(spec, allow_code=True)
    pairs = ((load_image(str(source), record.image), record.caption) for record in there)
    with show_progress("Nothing was changed.") as progress:
        scores = []
        for score in clip_scores(loaded, pairs):
            scores.append(score)
            progress("Scored captions", len(scores), len(there))
    return there, scores
