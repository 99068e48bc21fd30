"""`fdrd audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import err, out, quiet_transformers, show_progress
from fdrd.commands.options import Json, dataset_folder, default_dataset
from fdrd.errors import CheckError, FdrdError


def audit(
    dataset: Annotated[
        Path | None, typer.Argument(metavar="DATASET|SOURCE", callback=dataset_folder)
    ] = None,
    text_only: bool = True,
    card: bool = True,
    rows: Annotated[bool, typer.Option("--list")] = False,
    fail_on: Annotated[list[str] | None, typer.Option(metavar="REASON=N")] = None,
    backbone: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    min_clip_score: Annotated[float | None, typer.Option(metavar="COSINE")] = None,
    json: Json = False,
) -> None:
    """Count flaws of captions and negatives, and measure how well a text-only baseline does.

    The results are added to the card of a built dataset. A source is audited file by file after normalization. The
    number of times that each normalization rule applied is printed, and what the noise filters of `fdrd caption`
    would reject. For a dataset that was reviewed with `fdrd view`, what reviewers answered about hard negatives and
    natural pairs is printed: whether they are false, fluent, and guessable.

    --list and --fail-on name the rows, and neither train the text-only baseline nor change the card.

    Args:
        dataset: Folder or registered name of a dataset, or a folder of annotations, which need no images. Default:
            data/fdrd, else the only dataset in data.
        text_only: Train the text-only baseline: a few seconds per thousand rows.
        card: Add the results to the dataset's card, README.md.
        rows: Print the rows instead: reason, domain, record id, text.
        fail_on: Exit with 1 if --list has more such rows; repeatable.
        backbone: Score the captions of a source with this CLIP model, which needs the images.
        min_clip_score: With --backbone: minimum cosine of image and caption.

    Examples:
        fdrd audit data/fdrd
        fdrd audit raw/
        fdrd audit data/fdrd --fail-on negative_equal=0      # in CI
    """
    from fdrd.card.render import put_audit
    from fdrd.checks import audits
    from fdrd.hub.source import local_source
    from fdrd.storage.manifest import read_manifest

    folder = local_source(dataset or default_dataset())
    is_source = folder.is_dir() and not (folder / "manifest.json").exists()
    if backbone and not is_source:
        raise FdrdError("--backbone scores the captions of a source; remove it")
    if min_clip_score is not None and not backbone:
        raise FdrdError("--min-clip-score requires --backbone")
    limits = audits.parse_limits(fail_on or [])
    digest = "" if is_source else read_manifest(folder).digest
    read = audits.source_records if is_source else audits.dataset_records
    records, rules = read(folder)
    if rows or fail_on:
        _print_rows(records, rows, limits, json)
        return
    found = audits.audit_records(records, text_only=text_only)
    shares = [] if is_source else _reviewed(folder, records)
    noise = _noise(folder, records, backbone, min_clip_score) if is_source else {}
    if json:
        reviewed = {"reviewed": shares} if shares else {}
        out.json({"audits": found, "rules": rules, **reviewed, **noise})
    else:
        out.report(audits.tables(found))
        if shares:
            _print_shares(shares)
        for rule, count in rules.items():
            out.print(f"{count:,} times: {rule}")
        if noise:
            _print_noise(noise)
    if not is_source and text_only and card:
        err.print(f"Added to the card: {put_audit(folder, found, digest)}", soft_wrap=True)


def _reviewed(folder: Path, records: list[Any]) -> list[dict[str, Any]]:
    """Return what reviewers answered about the negatives and pairs of a dataset (`fdrd view --review`)."""
    import numpy as np

    from benchmark.intervals import score_interval
    from fdrd.curation.decisions import in_effect, read_decisions, reviewed_shares
    from fdrd.viewer.review import review_folder

    reviews = sorted(review_folder(folder).glob("*/decisions.jsonl"))
    decisions = [each for path in reviews for each in in_effect(read_decisions(path)[0])]
    items = {
        record.id: {
            *(negative.caption for negative in record.negatives),
            *(pair.id for pair in getattr(record, "natural_pairs", ())),
        }
        for record in (records if decisions else ())
    }
    found = []
    for kind, question, yes, count in reviewed_shares(decisions, items):
        sums, counts = (np.array(values, float)[:, None] for values in (yes, count))
        share = {"kind": kind, "question": question, "answers": sum(count)}
        share |= {"yes": sum(yes) / sum(count), "interval": score_interval([(sums, counts)])}
        found.append(share)
    return found


def _print_shares(shares: list[dict[str, Any]]) -> None:
    rows = []
    for each in shares:
        low, high = each["interval"]
        counts = f"{each['answers']:,}", f"{each['yes']:.1%}", f"{low:.1%} to {high:.1%}"
        rows.append((each["kind"], each["question"], *counts))
    out.table(("reviewed", "question", "answers", "yes", "95 % interval"), rows)


def _print_rows(records: list[Any], listed: bool, limits: dict[str, int], json: bool) -> None:
    """Print the rows with a finding."""
    from fdrd.checks.audits import exceeded, find_rows

    found = list(find_rows(records))
    if listed and json:
        out.json({"rows": found})
    elif listed:
        for each in found:
            out.cells((each.reason, each.domain, each.id, each.text))
    if failed := exceeded(found, limits):
        raise CheckError(f"{'; '.join(failed)}; `fdrd audit --list` names the rows")


def _noise(
    source: Path, records: list[Any], backbone: str | None, minimum: float | None
) -> dict[str, Any]:
    """Return what noise filters would reject, and quantiles of CLIP scores."""
    from fdrd.captioning.noise import count_noise

    scores: list[float] = []
    if backbone:
        records, scores = _scored(source, records, backbone)
    ordered = sorted(scores)
    quantiles = {
        f"{share:.0%}": ordered[int(share * len(ordered))]
        for share in (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.99)
        if ordered
    }
    return {"noise": count_noise(records, scores, minimum), "clip_score": quantiles}


def _print_noise(found: dict[str, Any]) -> None:
    for report in found["noise"]:
        out.print(
            f"{report.domain or '-'}: {report.rejected:,} of {report.rows:,} rows "
            f"({report.rejected / report.rows:.1%}) would be rejected; as `fdrd caption` words them "
            f"{report.after:,} ({report.after / report.rows:.1%})",
            style="bold",
            soft_wrap=True,
        )
        rows = []
        for name, each in report.filters.items():
            counts = f"{each.rows:,}", f"{each.rows / report.rows:.1%}", f"{each.fixed:,}"
            examples = ", ".join(map(" ".join, each.examples))
            rows.append((name, *counts, f"{each.alone:,}", examples))
        out.table(("filter", "rows", "share", "fixed", "alone", "example digests and keys"), rows)
    for share, score in found["clip_score"].items():
        out.print(f"CLIP score: {share} of the captions are below {score:.4f}")


def _scored(source: Path, records: list[Any], spec: str) -> tuple[list[Any], list[float]]:
    """Return the records that have an image, with the cosine of image and caption."""
    from benchmark.evaluation.encoding import clip_scores
    from benchmark.models.loading import load_backbone
    from fdrd.captioning.uncaptioned import load_image
    from fdrd.images.check import check_image

    quiet_transformers()
    root, limit = str(source), 50_000_000
    with_image = [each for each in records if not check_image(root, each.image, limit).reason]
    if not with_image:
        raise FdrdError(f"{source} has no images of these annotations, which --backbone needs")
    loaded = load_backbone(spec, allow_code=True)
    pairs = ((load_image(root, record.image), record.caption) for record in with_image)
    with show_progress("Nothing was changed.") as progress:
        scores = []
        for score in clip_scores(loaded, pairs):
            scores.append(score)
            progress("Scored captions", len(scores), len(with_image))
    return with_image, scores
