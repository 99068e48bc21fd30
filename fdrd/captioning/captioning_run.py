"""One captioning run, from a source to a captioned source, in rounds (figure 3 of arXiv 2508.04028).

Each round drafts, filters, evaluates and gives feedback. A draft that a noise filter rejects is not evaluated: the
feedback of a filter costs nothing. An image without a good draft after the last round is rejected.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fdrd.captioning import (
    captioners,  # noqa: F401 - registers the built-in captioners
    wording,
)
from fdrd.captioning.interface import (
    Answer,
    AnswerCache,
    Captioner,
    Failure,
    Question,
    Spending,
    make_captioner,
    question_key,
)
from fdrd.captioning.noise import FILTERS, Draft, first_problem
from fdrd.captioning.output import check_out, write_captions
from fdrd.captioning.uncaptioned import CaptionSource, UncaptionedImage, find_uncaptioned
from fdrd.errors import FdrdError
from fdrd.files.atomic import sole_writer
from fdrd.files.paths import cache_folder
from fdrd.options import unknown
from fdrd.progress import Progress, silent
from fdrd.text.tokens import CLIP_LIMIT, ESTIMATE, TokenCounter

Score = Callable[[Sequence[UncaptionedImage], Sequence[str]], list[float]]
"""Returns the cosine of each image with its caption under a backbone."""

CACHE = "captions.sqlite"
BATCH = 256  # images that go through all rounds together

_MARGIN = 3  # tokens; the estimate is at most 2 too low for 99 % of captions

DEFAULT_TOKENS = replace(ESTIMATE, limit=CLIP_LIMIT - _MARGIN)
"""The counter of tokens if no backbone is named."""


@dataclass(frozen=True, slots=True)
class CaptionSettings:
    """Settings of a captioning run.

    Attributes:
        rounds: Maximum number of drafts per image.
        questions: Prompts with `{category}` and `{dataset}`; each image gets one of them.
        opening: Template that precedes a caption without its category; may be empty.
        without: Filters and verdicts to ignore.
        min_clip_score: Minimum cosine of image and caption under the backbone.
        tokens: Counts tokens and has the maximum length of a caption.
        sample: Number of images to caption, always the same ones; None for all.
        max_pixels: Images with more pixels are rejected.

    Raises:
        FdrdError: A filter name or a placeholder of `opening` is unknown.
    """

    rounds: int = 3
    questions: tuple[str, ...] = wording.QUESTIONS
    opening: str = ""
    without: frozenset[str] = frozenset()
    min_clip_score: float | None = None
    tokens: TokenCounter = DEFAULT_TOKENS
    sample: int | None = None
    max_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise FdrdError(f"rounds must be at least 1, got {self.rounds}")
        for name in self.without:
            if name not in FILTERS and name not in wording.VERDICTS:
                raise FdrdError(unknown("filter", name, [*FILTERS, *wording.VERDICTS], "fdrd"))
        try:
            wording.fill(self.opening, {"category": "wren"})
        except KeyError as error:
            flaw = f"unknown placeholder {{{error.args[0]}}}"
            raise FdrdError(f"--opening: {flaw}; use {{a category}}") from error


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

    states: tuple["ImageState", ...]
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

        def report(stage: str, done: int) -> None:
            money = f", {spending.spent:.4f} spent" if spending.spent else ""
            progress(f"Captions | {stage}{money}", done, len(images))

        session = CaptioningSession(
            writer, answers, judge, score, settings, contents.categories, report
        )
        states = tuple(session.caption(images))
        kept = sum(state.is_good for state in states)
        report(f"{kept:,} kept, {len(states) - kept:,} rejected", len(images))
        made_by = {"captioner": dict(writer.identity), "evaluator": judge and dict(judge.identity)}
        summary = made_by | _summary(states, len(images), contents, settings)
        removed = write_captions(out, root, contents, states, made_by, summary)
    usage = {"cached": session.cached, "answered": session.answered, "spent": spending.spent}
    usage |= {"input_tokens": spending.input_tokens, "output_tokens": spending.output_tokens}
    return CaptioningRun(states, summary, usage, session.stopped, removed)


def _summary(
    states: Sequence["ImageState"], total: int, contents: CaptionSource, settings: CaptionSettings
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


@dataclass(eq=False)
class ImageState:
    """The state of one image: its latest draft, and why it is rejected.

    `reason` is the name of a filter, or a key of `FAILURES` or `VERDICTS`, and empty for a good draft. `problems` are
    those of each round, `question` is the digest of the latest one, and `feedback` is for the next round.
    """

    image: UncaptionedImage
    caption: str = ""
    reason: str = ""
    detail: str = ""
    problems: list[tuple[str, ...]] = field(default_factory=list)
    question: str = ""
    score: float | None = None
    feedback: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """True if the draft has not been rejected."""
        return bool(self.caption) and not self.reason

    def reject(self, problems: tuple[str, ...], detail: str, *feedback: str) -> None:
        """Reject the draft of the current round."""
        self.reason, self.detail, self.feedback = problems[0], detail, feedback
        self.problems[-1] = problems


Report = Callable[[int], None]  # called with the number of questions done


@dataclass
class CaptioningSession:
    """Captions images by asking captioner and evaluator, and counts their answers.

    `categories` are those of each domain. `report` gets the name of the stage, and how many images are done. `cached`
    and `answered` count the answers from the cache and the new ones. `stopped` says why no more questions are asked, or
    is empty.
    """

    captioner: Captioner
    cache: AnswerCache
    evaluator: Captioner | None = None
    score: Score | None = None
    settings: CaptionSettings = field(default_factory=CaptionSettings)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    report: Callable[[str, int], None] = lambda stage, done: None
    cached: int = 0
    answered: int = 0
    stopped: str = ""

    def caption(self, images: Sequence[UncaptionedImage]) -> Iterator[ImageState]:
        """Yield the final state of each image, until the session stops. Unfinished images are left out."""
        for start in range(0, len(images), BATCH):
            if self.stopped:
                return
            yield from self._batch(list(map(ImageState, images[start : start + BATCH])), start)

    def _batch(self, states: list[ImageState], start: int) -> list[ImageState]:
        """Return those of a batch of images that went through all rounds that they need."""
        active = finished = states
        rounds = self.settings.rounds if self.captioner.converses else 1
        steps = 2 if self.evaluator else 1

        def report_of(step: str, turn: int, asked: int) -> Report:
            before = steps * (turn - 1) + (step == "evaluation")

            def report(done: int) -> None:
                share = (before + done / max(1, asked)) / (steps * rounds)
                stage = f"{step} {turn}: {done:,} of {asked:,}"
                self.report(stage, start + int(share * len(states)))

            return report

        for turn in range(1, rounds + 1):
            self._draft(active, report_of("draft", turn, len(active)))
            if self.evaluator:
                good = [state for state in active if state.is_good]
                self._evaluate(self.evaluator, good, report_of("evaluation", turn, len(good)))
            again = [state for state in active if state.caption and state.reason]
            if self.stopped:
                unfinished = [state for state in active if state.reason == self.stopped]
                unfinished += again if turn < rounds else []
                finished = [state for state in states if state not in unfinished]
            if self.stopped or not again:
                break
            active = again
        self._score([state for state in finished if state.is_good])
        return finished

    def ask(
        self,
        captioner: Captioner,
        questions: Sequence[Question],
        report: Report = lambda done: None,
    ) -> list[Answer | Failure]:
        """Return the answer of captioner or evaluator to each question. Cached answers are not asked again."""
        identity = captioner.identity

        def key_of(question: Question) -> str:
            # A look-up may depend on the name of an image.
            return question.image.record.id if captioner.free else question_key(identity, question)

        keys = [key_of(question) for question in questions]
        waiting = dict(zip(keys, questions, strict=True))  # equal questions are asked once
        answers: dict[str, Answer | Failure] = {}
        if not captioner.free:
            found = {key: self.cache.get(key) for key in waiting}
            answers |= {key: answer for key, answer in found.items() if answer}
            waiting = {key: question for key, question in waiting.items() if key not in answers}
        cached = len(answers)

        def keep(question: Question, answer: Answer | Failure) -> None:
            key = key_of(question)
            if isinstance(answer, Answer) and not captioner.free:
                self.cache.put(key, answer, str(identity.get("model", "")))
            answers[key] = answer
            report(len(answers))

        report(cached)
        if waiting and not self.stopped:
            self.stopped = captioner.answer(iter(waiting.values()), keep)
        self.cached += cached
        if not captioner.free:
            self.answered += sum(isinstance(answers.get(key), Answer) for key in waiting)
        return [answers.get(key, Failure(self.stopped or "no_answer")) for key in keys]

    def _draft(self, states: list[ImageState], report: Report) -> None:
        """Ask for a draft of each image, and filter it."""
        prompts = self.settings.questions
        questions = [
            wording.draft_question(state.image, prompts, state.caption, state.feedback)
            for state in states
        ]
        answers = self.ask(self.captioner, questions, report)
        for state, question, answer in zip(states, questions, answers, strict=True):
            state.question = hashlib.sha256(question.text.encode()).hexdigest()[:16]
            state.caption = state.reason = state.detail = ""
            state.feedback = ()
            state.problems.append(())
            if isinstance(answer, Failure):
                state.reject((answer.reason,), answer.detail)
            else:
                self._take_draft(state, answer)

    def _take_draft(self, state: ImageState, answer: Answer) -> None:
        record = state.image.record
        cut, opening = answer.cut, self.settings.opening
        limit, categories = self.settings.tokens.limit, self.categories[record.domain]

        def count(text: str) -> int:
            return self.settings.tokens.count([text])[0]

        state.caption = wording.make_caption(
            answer.text, record.category, cut, opening, limit, count
        )
        if not state.caption:
            state.reject(("empty_answer",), "")
            return
        tokens = count(state.caption)
        draft = Draft(state.caption, record.category, categories, tokens, limit, cut)
        if problem := first_problem(draft, self.settings.without):
            state.reject((problem,), "", FILTERS[problem][0])

    def _evaluate(self, evaluator: Captioner, states: list[ImageState], report: Report) -> None:
        """Reject the drafts that the evaluator finds wrong."""
        questions = [wording.evaluation_question(state.image, state.caption) for state in states]
        answers = self.ask(evaluator, questions, report)
        for state, answer in zip(states, answers, strict=True):
            if isinstance(answer, Answer):
                verdict = wording.read_verdict(answer.text)
            elif answer.reason == self.stopped:  # a draft without a verdict is unfinished
                state.reject((answer.reason,), "")
                continue
            else:
                why = f"{answer.reason}: {answer.detail}"
                verdict = wording.Verdict(("evaluation_failed",), why)
            problems = tuple(p for p in verdict.problems if p not in self.settings.without)
            if problems:
                advice = verdict.advice
                sentences = [advice] if advice else map(wording.VERDICTS.get, problems)
                state.reject(problems, advice, *filter(None, sentences))

    def _score(self, states: list[ImageState]) -> None:
        if not self.score or not states:
            return
        limit = None if "clip_score" in self.settings.without else self.settings.min_clip_score
        captions = [state.caption for state in states]
        scores = self.score([state.image for state in states], captions)
        for state, score in zip(states, scores, strict=True):
            state.score = score
            if limit is not None and score < limit:
                state.reject(("clip_score",), f"{score:.4f}, the limit is {limit}")
