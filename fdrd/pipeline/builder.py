"""Wires a build: a source, or the parts of one, is gathered, decided over, staged, described, published, registered."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdrd.build_config import BuildConfig
from fdrd.curation.decide import decide
from fdrd.curation.decisions import (
    Decision,
    Reviewed,
    decisions_entry,
    read_decisions,
    review,
)
from fdrd.curation.source_contents import SourceContents
from fdrd.engines import Engine, open_engine
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.files.last_build import remember_build
from fdrd.images.containers import forget_unpacked
from fdrd.pipeline.claim import claim, usable_source
from fdrd.pipeline.collect import gather, read_items
from fdrd.pipeline.documents import write_documents
from fdrd.pipeline.parts import read_parts
from fdrd.pipeline.stage import stage_folder, stage_shards
from fdrd.policy import refusal, refused
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.storage import publish, resume
from fdrd.storage.manifest import (
    annotation_file,
    describe_domain,
    dump,
    library_versions,
    make_manifest,
    read_manifest,
)
from fdrd.storage.registration import register
from fdrd.storage.rejected import list_rejected, nothing_kept
from fdrd.text.tokens import CounterOf, TokenCounter, counter_for, measure, summary


@dataclass(frozen=True, slots=True)
class Build:
    """What `build` did."""

    out: Path
    manifest: dict[str, Any]
    shards_written: int
    nothing_to_do: bool
    configs: Sequence[str]
    """Names under which `load_dataset(<name>, <config>)` finds it on this machine."""
    stale: Sequence[tuple[Decision, str]] = ()
    """Reviewers' decisions that were not applied, each with the reason."""


def build(
    source: str | Path,
    out: str | Path = "data/fdrd",
    *,
    config: BuildConfig | None = None,
    decisions: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    tokens: CounterOf | None = None,
    progress: Progress = silent,
) -> Build:
    """Builds a dataset from a raw source, goes on where a run was stopped, does nothing twice.

    Args:
        source: folder of one domain, or of folders of domains, in a layout of `fdrd.sources`.
        out: folder of the dataset; `<out>.work` beside it holds what a later run can use again.
        config: what determines the bytes.
        decisions: file of reviewers' decisions to apply (`fdrd.curation.decisions`).
        workers: processes that decode images and write shards, by default one per core.
        engine: where they run, of `fdrd.engines.ENGINES`.
        tokens: what counts the tokens of captions for a backbone; by default, and where it gives none,
            CLIP's BPE, where a package ships it.
        progress: told of each step.

    Raises:
        FdrdError: the source or the target is not usable, no record survived, another build is
            writing to the same target, or the disk is full.
    """
    source, config = Path(source), config or BuildConfig()
    domains = usable_source(source, Path(out))
    with claim(Path(out)) as target, open_engine(engine, workers) as opened:
        made = read_decisions(Path(decisions)) if decisions else None
        run = _Run(target, config, opened, progress, counter_for(config.backbone, tokens), made)
        tree = resume.fingerprint_source(source)
        settings = [asdict(config), run.tokenizer, *([made[1]] if made else [])]
        described = [describe_domain(domain) for domain in domains]
        built = run.build(
            resume.inputs_digest(settings, domains, tree),
            described,
            lambda: gather(
                source, read_items(source, domains), config.max_pixels, run.ledger, opened, progress,
                expected=tree.files,
            ),
            str(source),
        )  # fmt: skip
        return built


def merge(
    parts: Sequence[str | Path],
    out: str | Path = "data/fdrd",
    *,
    workers: int | None = None,
    engine: str = "local",
    tokens: CounterOf | None = None,
    progress: Progress = silent,
) -> Build:
    """Puts the parts of a build together: the same bytes as `build` would have written.

    Args:
        parts: folders that `build_part` wrote, all of one build, in any order.
        out: as for `build`, and so are the others.
        workers: as above.
        engine: as above.
        tokens: as above.
        progress: as above.

    Raises:
        FdrdError: a part is missing, damaged or of another build; or as `build`.
    """
    folders = [Path(part).resolve() for part in parts]
    with claim(Path(out)) as target, open_engine(engine, workers) as opened:
        gathered, common = read_parts(folders)
        config = BuildConfig(**common["config"])
        if library_versions() != common["libraries"]:
            raise FdrdError(
                f"the parts were built with {common['libraries']}, here are {library_versions()}; "
                "merge with the versions that built them"
            )
        run = _Run(target, config, opened, progress, counter_for(config.backbone, tokens))
        inputs = resume.inputs_digest([common, run.tokenizer], (), resume.Tree("", 0))
        return run.build(inputs, common["domains"], lambda: gathered, f"{len(folders)} parts")


@dataclass(frozen=True, slots=True)
class _Run:
    """One build of a target that is claimed."""

    out: Path
    config: BuildConfig
    engine: Engine
    progress: Progress
    tokens: TokenCounter | None
    decisions: tuple[list[Decision], str] | None = None

    @property
    def tokenizer(self) -> str | None:
        return self.tokens.name if self.tokens else None

    @property
    def ledger(self) -> Path:
        return publish.work_folder(self.out) / "examined.jsonl"

    def build(
        self,
        inputs: str,
        domains: list[dict[str, Any]],
        gathering: Callable[[], SourceContents],
        source: str,
    ) -> Build:
        started = time.time()
        publish.recover(self.out)
        publish.check_target(self.out)
        if resume.is_built_from(self.out, inputs):
            manifest = read_manifest(self.out)
            remember_build(self.out)
            return Build(self.out, manifest, 0, True, register(self.out, manifest))

        gathered = gathering()
        files_read = Counter(annotation_file(item) for item in gathered.items)
        reviewed = Reviewed([])
        if self.decisions:
            reviewed = review(gathered.items, gathered.examined, self.decisions[0])
            gathered.items[:] = reviewed.items
        lengths = measure(gathered.items, self.tokens, self.progress)
        items = decide(gathered, self.config, lengths, self.progress)
        gathered.items.clear()
        kept = [item for item in items if isinstance(item, Record)]
        rejected = [item for item in items if isinstance(item, Rejection)]
        del items
        if failing := refused(rejected, self.config.policy):
            raise refusal(failing, list_rejected(publish.work_folder(self.out), rejected))
        if not kept:
            listed = list_rejected(publish.work_folder(self.out), rejected)
            raise FdrdError(f"{source}: {nothing_kept(rejected)}. All are in {listed}")
        staged = stage_shards(
            self.out, kept, gathered, self.config, self.engine, self.progress,
            reviewed.true_negatives,
        )  # fmt: skip
        entry = decisions_entry(self.decisions[1], reviewed, kept) if self.decisions else None
        manifest = make_manifest(
            self.config, domains, files_read, kept, rejected, staged.shards, summary(kept, lengths),
            entry,
        )  # fmt: skip
        stage = stage_folder(self.out)
        list_rejected(stage, rejected)
        del kept  # what is read again below needs its room
        write_documents(stage, manifest, self.progress, self.engine)
        write_text(stage / "manifest.json", dump(manifest))
        publish.exchange(self.out)
        if gathered.root:
            unpacked = {image.path for image in gathered.examined if image.member}
            forget_unpacked({Path(gathered.root, path) for path in unpacked})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(self.out, None if retry else inputs, started, self.engine.workers)
        remember_build(self.out)
        configs = register(self.out, manifest)
        return Build(self.out, manifest, staged.written, False, configs, reviewed.stale)
