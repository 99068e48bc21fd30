"""One captioning run: from a source to a captioned source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdrd.captioning import captioners  # noqa: F401 - registers the built-in captioners
from fdrd.captioning.answer_cache import AnswerCache, CaptioningSession, Score
from fdrd.captioning.interface import Captioner, Spending, make_captioner
from fdrd.captioning.output import check_out, write_captions
from fdrd.captioning.rounds import CaptionSettings, ImageState, caption_images
from fdrd.captioning.uncaptioned import CaptionSource, find_uncaptioned
from fdrd.errors import FdrdError
from fdrd.files.atomic import sole_writer
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress, silent

CACHE = "captions.sqlite"


@dataclass(frozen=True, slots=True)
class CaptioningRun:
    """The result of `caption`.

    Attributes:
        states: Final states of the finished images.
        summary: Contents of `captioning.json`.
        usage: Answers from cache and captioner, tokens and money.
        stopped: Why the run stopped early, or empty. The same call resumes.
        removed: Images of earlier runs that were removed, because they have no caption now or left the source.
    """

    states: tuple[ImageState, ...]
    summary: Mapping[str, Any]
    usage: Mapping[str, Any]
    stopped: str
    removed: int


def caption(
    source: str | Path,
    out: str | Path = "captioned",
    *,
    captioner: str | Captioner,
    options: Mapping[str, Any] | None = None,
    evaluator: str | Captioner | None = None,
    evaluator_options: Mapping[str, Any] | None = None,
    settings: CaptionSettings | None = None,
    score: Score | None = None,
    budget: float | None = None,
    cache: str | Path | None = None,
    progress: Progress = silent,
) -> CaptioningRun:
    """Write captions for the images of a source that have none.

    Every answer is cached before it counts. A run that was stopped or killed resumes with the same call, and a repeated
    run asks nothing.

    Args:
        source: Folder of images in a layout of `fdrd build`. It is not changed.
        out: Folder of the captioned source, for `fdrd build`.
        captioner: Name of a registered captioner (`endpoint`, `transformers`, `template`, `reader`), or your own.
        options: Options of a captioner given by name.
        evaluator: Captioner that checks each draft.
        evaluator_options: Options of an evaluator given by name.
        settings: Rounds, prompts, filters, limits.
        score: Scores images and captions, e.g. `benchmark.evaluation.encoding.caption_scorer("embedded")`.
        budget: Maximum money to spend, in the currency of the prices in `options`.
        cache: File of cached answers; by default in the user's cache folder.
        progress: Called as the run advances.

    Raises:
        FdrdError: An argument is invalid, another process is writing `out`, or the captioner cannot answer at all.
            Answers so far are in the cache.
    """
    root, out, settings = Path(source), Path(out), settings or CaptionSettings()
    check_out(out, root)
    spending = Spending(budget)
    writer, judge = captioner, evaluator
    if isinstance(writer, str):
        writer = make_captioner(writer, options or {}, spending)
    if isinstance(judge, str):
        judge = make_captioner(judge, evaluator_options or {}, spending)
    if judge and not judge.converses:
        raise FdrdError(f"evaluator {evaluator} cannot answer questions; choose another one")
    if settings.min_clip_score is not None and score is None:
        raise FdrdError("--min-clip-score needs --backbone")
    with AnswerCache(Path(cache or cache_folder() / CACHE)) as answers, sole_writer(out):
        contents = find_uncaptioned(root, settings.max_pixels, progress)
        images = contents.sample(settings.sample)
        session = CaptioningSession(writer, answers, judge, score, spending)

        def report(stage: str, done: int) -> None:
            money = f", {spending.spent:.4f} spent" if spending.spent else ""
            progress(f"Captions | {stage}{money}", done, len(images))

        states = tuple(caption_images(images, contents.categories, settings, session, report))
        kept = sum(state.is_good for state in states)
        report(f"{kept:,} kept, {len(states) - kept:,} rejected", len(images))
        made_by = {"captioner": dict(writer.identity), "evaluator": judge and dict(judge.identity)}
        summary = made_by | _summary(states, len(images), contents, settings)
        removed = write_captions(out, root, contents, states, made_by, summary)
    usage = {"cached": session.cached, "answered": session.answered, "spent": spending.spent}
    usage |= {"input_tokens": spending.input_tokens, "output_tokens": spending.output_tokens}
    return CaptioningRun(states, summary, usage, session.stopped, removed)


def _summary(
    states: Sequence[ImageState], total: int, contents: CaptionSource, settings: CaptionSettings
) -> dict[str, Any]:
    rejected = Counter(state.reason for state in states if state.reason)
    return {
        "rounds": settings.rounds,
        "opening": settings.opening,
        "without": sorted(settings.without),
        "least_score": settings.min_clip_score,
        "tokenizer": settings.tokens.name,
        "most_tokens": settings.tokens.limit,
        "images": total,
        "kept": len(states) - rejected.total(),
        "rejected": dict(sorted(rejected.items(), key=lambda item: (-item[1], item[0]))),
        "unfinished": total - len(states),
        "copied": len(contents.captioned),
        "not_examined": len(contents.rejected),
    }
