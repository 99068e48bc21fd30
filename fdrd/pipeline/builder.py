"""Build a dataset from a source: read, curate, stage, document, publish, register."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any, TypedDict, Unpack

from fdrd.build_config import BuildConfig
from fdrd.card.summary import gaps
from fdrd.curation.decide import decide
from fdrd.curation.decisions import (
    Decision,
    decisions_entry,
    read_decisions,
    read_selection,
    review,
    written_captions,
)
from fdrd.curation.pair_table import pair_table
from fdrd.curation.source_contents import SourceWriter
from fdrd.dataset_handle import Dataset
from fdrd.engines import Engine, open_engine
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.images.containers import remove_unpacked
from fdrd.options import unknown
from fdrd.pipeline.collect import checked_source, read_items
from fdrd.pipeline.counts import make_counted
from fdrd.pipeline.documents import write_documents
from fdrd.pipeline.locking import check_outside, lock_output, open_source
from fdrd.pipeline.memory import return_freed_memory
from fdrd.pipeline.stage import stage_shards
from fdrd.policy import failing, policy_error
from fdrd.progress import Progress, silent
from fdrd.reasons import Action, Rejection
from fdrd.sources import Domain, SourceOptions, make_options, unused_files, unused_text
from fdrd.sources.reading.options import NO_OPTIONS
from fdrd.storage import publish, resume
from fdrd.storage.file_states import record_states, refresh_states
from fdrd.storage.manifest import (
    dump,
    make_manifest,
    read_manifest,
)
from fdrd.storage.manifest_types import Manifest
from fdrd.storage.origin import (
    DEFAULT_NAME,
    DEFAULT_OUT,
    Origin,
    check_same_source,
    choose_default,
    recorded_origin,
    write_origin,
)
from fdrd.storage.registration import register
from fdrd.storage.rejected_list import nothing_kept, write_rejected
from fdrd.text.tokens import CounterOf, TokenCounter, counter_for, measure, summary


@dataclass(frozen=True, eq=False, repr=False)
class Build(Dataset):
    """A dataset that was just built, and how the build went.

    Attributes:
        shards_written: number of shards that had to be written.
        nothing_to_do: whether the folder was already built from the same inputs.
        configs: config names for `load_dataset(<name>, <config>)` on this machine.
        stale: reviewers' decisions that were not applied, each with the reason.
        unused: files of the source that look like annotations and were not read, each with the reason.
        instead_of: the default folder, if it holds the dataset of another source and `out` and the name of the
            dataset therefore follow the source.
        name_owner: another folder that the name belongs to; `load_dataset(<name>)` loads that dataset.
        not_registered: why the name does not point to the dataset, which is complete: caches
            that cannot be written.
        gaps: sentences about domains whose captions have hardly any attributes or hard negatives; empty if there was
            nothing to do.
    """

    path: Path
    manifest: Manifest
    shards_written: int
    nothing_to_do: bool
    configs: Sequence[str]
    stale: Sequence[tuple[Decision, str]] = ()
    unused: Sequence[tuple[str, str]] = ()
    instead_of: Path | None = None
    name_owner: Path | None = None
    not_registered: Sequence[str] = ()
    gaps: Sequence[str] = ()

    @property
    def out(self) -> Path:
        """The folder, as `path`."""
        return self.path


class BuildSettings(TypedDict, total=False):
    """Options of a build as keywords: fields of `BuildConfig` and of `SourceOptions`, which explain them."""

    name: str
    seed: int
    negatives: int
    attribute_negatives: int
    max_pixels: int
    min_side: int
    max_aspect: float
    max_caption: int
    shard_bytes: int
    format: str
    backbone: str | None
    policy: Mapping[str, Action]
    layout: str
    columns: Mapping[str, str | list[str]]
    separator: str
    category: str
    category_from: str


def build(
    source: str | Path,
    out: str | Path | None = None,
    *,
    config: BuildConfig | None = None,
    options: SourceOptions | None = None,
    decisions: str | Path | None = None,
    only: str | Path | None = None,
    replace: bool = False,
    workers: int | None = None,
    engine: str = "local",
    tokens: CounterOf | None = None,
    progress: Progress = silent,
    **settings: Unpack[BuildSettings],
) -> Build:
    """Build a dataset from a raw source. Resume an interrupted build; do nothing if nothing changed.

        fdrd.build("photos/", "data/birds", seed=1, category_from="parent")

    Args:
        source: folder of one domain or of several domains in a layout of `fdrd.sources`, or a zip, tar or
            Parquet file of them.
        out: folder of the dataset. `<out>.work` next to it stores what a later run can reuse. By default
            `data/fdrd`, or `data/<name of the source>` if that holds the dataset of another source.
        config: options that determine the bytes.
        options: layout, columns and categories of the source; detected by default.
        decisions: file of reviewers' decisions to apply (`fdrd.curation.decisions`).
        only: file of record ids, one per line; all others are rejected.
        replace: replace a dataset of another source (`fdrd.storage.origin`) in `out`.
        workers: number of processes, by default one per core.
        engine: one of `fdrd.engines.ENGINES`.
        tokens: returns a token counter for a backbone. By default CLIP's tokens are estimated.
        progress: called for each step.
        settings: fields of `config` and of `options` as keywords, which win over those objects.

    Raises:
        FdrdError: the source or the target is unusable, all records were rejected, the policy fails the
            build, another build is writing to the target, or the disk is full.
    """
    config, options = _changed(config or BuildConfig(), options or NO_OPTIONS, settings)
    with open_source(Path(source), options) as (folder, domains), ExitStack() as stack:
        fingerprint = resume.fingerprint_source(folder)
        origin = Origin(str(Path(source).resolve()), fingerprint.lasting)
        target = _target(out, config, origin, replace)
        check_outside(target.out, Path(source))
        target = target.locked(stack)
        opened = stack.enter_context(open_engine(engine, workers))
        read = read_decisions(Path(decisions)) if decisions else None
        chosen = read_selection(Path(only)) if only else None
        counter = counter_for(target.config.backbone, tokens)
        run = _Run(source, folder, domains, target, opened, progress, counter, read, chosen)
        inputs = run.inputs(fingerprint.digest)
        built = run.last_build(inputs)
        if not built:
            built = run.build(inputs, fingerprint.files)
            resume.forget_if_changed(target.out, folder, fingerprint)
        return with_fields(built, unused=run.unused)


def _changed(
    config: BuildConfig, options: SourceOptions, settings: BuildSettings
) -> tuple[BuildConfig, SourceOptions]:
    """Return the options of a build, changed by keywords.

    Raises:
        FdrdError: a keyword or its value is unknown.
    """
    known = BuildSettings.__annotations__
    for name in settings:
        if name not in known:
            raise FdrdError(unknown("option", name, known, "build"))
    ours = {field.name for field in fields(BuildConfig)}
    given: Any = {name: value for name, value in settings.items() if name in ours}
    of_source: Any = {name: value for name, value in settings.items() if name not in ours}
    return with_fields(config, **given), make_options(**of_source).over(options)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a build goes.

    Attributes:
        out: folder of the dataset.
        config: options, with the final name.
        origin: source of the build.
        replace: whether the dataset of another source may be replaced.
        instead_of: the default folder, if another source has it.
    """

    out: Path
    config: BuildConfig
    origin: Origin
    replace: bool
    instead_of: Path | None = None

    def locked(self, stack: ExitStack) -> _Target:
        """Return the target with links resolved, locked until the stack is closed."""
        return with_fields(self, out=stack.enter_context(lock_output(self.out)))


def _target(out: str | Path | None, config: BuildConfig, origin: Origin, replace: bool) -> _Target:
    """Return the named folder, or else the default or the one that is named after the source."""
    if out is not None:
        return _Target(Path(out), config, origin, replace)
    chosen, name = choose_default(origin, replace)
    if chosen == DEFAULT_OUT:
        return _Target(chosen, config, origin, replace)
    if config.name == DEFAULT_NAME:
        config = with_fields(config, name=name)
    return _Target(chosen, config, origin, replace, DEFAULT_OUT)


@dataclass(frozen=True, slots=True)
class _Run:
    """One build of a locked target.

    Attributes:
        source: what the user named.
        folder: folder of the source.
        domains: domains of the source.
        target: where the build goes.
        engine: runs the tasks.
        progress: called for each step.
        tokens: counts the tokens of captions.
        decisions: reviewers' decisions, and the digest of their file.
        only: ids of the records to keep, and the digest of their file.
    """

    source: str | Path
    folder: Path
    domains: list[Domain]
    target: _Target
    engine: Engine
    progress: Progress
    tokens: TokenCounter
    decisions: tuple[list[Decision], str] | None = None
    only: tuple[frozenset[str], str] | None = None

    @property
    def out(self) -> Path:
        return self.target.out

    @property
    def config(self) -> BuildConfig:
        return self.target.config

    @property
    def unused(self) -> list[tuple[str, str]]:
        return list(unused_files(self.folder, self.domains))

    def inputs(self, source: str) -> str:
        """Return the digest of everything that determines the build; `source` is that of the source's files."""
        settings: list[Any] = [asdict(self.config), self.tokens.name]
        if self.decisions:
            settings.append(self.decisions[1])
        if self.only:
            settings.append({"only": self.only[1]})
        return resume.inputs_digest(settings, self.domains, source)

    def last_build(self, inputs: str) -> Build | None:
        """Return the last build if it had the same inputs and is intact. Finish its publishing if it was killed."""
        publish.recover(self.out)
        publish.check_target(self.out)
        if not resume.is_built_from(self.out, inputs):
            return None
        if recorded_origin(self.out) != self.target.origin:  # it moved, or the note is lost
            write_origin(self.out, self.target.origin)
        return self._register(Build(str(self.out), self.out, read_manifest(self.out), 0, True, ()))

    def build(self, inputs: str, files: int) -> Build:
        """Build the dataset, publish it and register it; `files` is the number of files of the source."""
        started = time.time()
        if not self.target.replace:
            check_same_source(self.out, self.target.origin)
        with ExitStack() as stack:
            work = publish.work_folder(self.out)
            written = written_captions(self.decisions[0]) if self.decisions else {}
            contents = stack.enter_context(
                checked_source(
                    work, self.folder, read_items(self.folder, self.domains, written), self.config.max_pixels,
                    publish.ledger_path(self.out), self.engine, self.progress, expected=files,
                )
            )  # fmt: skip
            return_freed_memory()  # of the names of all files and images
            # Workers import what they need while this process decides.
            self.engine.prepare(make_counted)
            reviewed = None
            if self.decisions or self.only:
                after = stack.enter_context(SourceWriter(work / "reviewed.partial"))
                decided = self.decisions[0] if self.decisions else ()
                only = self.only[0] if self.only else None
                reviewed = review(contents, decided, after, only)
                contents = after.finish(contents.root, contents.images)
            captions = contents.records.table("caption")["caption"].chunks
            lengths = measure((chunk.to_pylist() for chunk in captions), self.tokens, self.progress)
            pairs = pair_table(contents)
            decide(pairs, self.config, lengths, self.progress)
            return_freed_memory()  # of the search for near duplicates
            rejected = pairs.rejections()
            self._check_usable(len(pairs.rows), rejected)
            staged = stage_shards(
                self.out, pairs, self.config, self.engine, self.progress,
                reviewed.true_negatives if reviewed else None,
            )  # fmt: skip
            entry = None
            if self.decisions and reviewed:
                entry = decisions_entry(self.decisions[1], reviewed, pairs.records(pairs.rows))
            manifest = make_manifest(
                self.config, self.domains, pairs, rejected, staged.shards,
                summary(pairs.by_split(), lengths), entry, staged.extra,
            )  # fmt: skip
            unpacked = {each.image.path for each in contents.images if each.image.member}
        stage = publish.stage_folder(self.out)
        write_rejected(stage, rejected)
        summaries = write_documents(stage, manifest, self.progress, self.engine, staged.counted)
        write_text(stage / "manifest.json", dump(manifest))
        record_states(self.out, manifest)
        write_origin(self.out, self.target.origin)
        publish.publish_stage(self.out)
        remove_unpacked({self.folder / path for path in unpacked})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(self.out, None if retry else inputs, started, self.engine.workers)
        stale = reviewed.stale if reviewed else ()
        built = Build(
            str(self.out), self.out, manifest, len(staged.counted), False, (), stale,
            gaps=gaps(summaries),
        )  # fmt: skip
        return self._register(built)

    def _register(self, built: Build) -> Build:
        """Make the finished dataset known on this machine."""
        named = register(self.out, built.manifest)
        refresh_states(self.out)
        failures = [named.failure] if named.failure else []
        return with_fields(
            built,
            configs=named.configs,
            instead_of=self.target.instead_of,
            name_owner=named.owner,
            not_registered=failures,
        )

    def _check_usable(self, kept: int, rejected: list[Rejection]) -> None:
        """Raise `FdrdError` if the policy fails the build or no record was kept."""
        fails = failing(rejected, self.config.policy)
        if kept and not fails:
            return
        listed = write_rejected(publish.work_folder(self.out), rejected)
        if fails:
            raise policy_error(fails, listed)
        unused = unused_text(self.folder, self.domains)
        raise FdrdError(f"{self.source}: {nothing_kept(rejected)}{unused}. See {listed}")
