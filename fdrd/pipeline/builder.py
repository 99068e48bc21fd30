"""Build a dataset from a source: read, curate, stage, document, publish, register."""

from __future__ import annotations

import ctypes
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any, TypedDict, Unpack

from fdrd.build_config import BuildConfig
from fdrd.card.render import gaps
from fdrd.curation import decisions as reviews
from fdrd.curation.decide import decide
from fdrd.curation.pair_table import SourceWriter, pair_table
from fdrd.dataset_handle import Dataset
from fdrd.engines import Engine, open_engine
from fdrd.errors import CheckError, FdrdError
from fdrd.files.atomic import disk_errors, write_text
from fdrd.images.containers import remove_unpacked
from fdrd.options import shows_keywords, unknown
from fdrd.pipeline.collect import checked_source, read_items
from fdrd.pipeline.documents import make_counted, nothing_kept, write_documents, write_rejected
from fdrd.pipeline.stage import stage_shards
from fdrd.progress import Progress, silent
from fdrd.reasons import Action, Rejection, default_action
from fdrd.sources import (
    Domain,
    SourceOptions,
    find_domains,
    make_options,
    unused_files,
    unused_text,
)
from fdrd.sources.reading.columns import NO_OPTIONS
from fdrd.sources.single_file import as_folder
from fdrd.storage import publish, resume
from fdrd.storage.manifest import Manifest, dump, make_manifest, read_manifest
from fdrd.storage.registration import register
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
    stale: Sequence[tuple[reviews.Decision, str]] = ()
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


@shows_keywords(BuildSettings, BuildConfig)
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
        replace: replace a dataset of another source (`fdrd.storage.resume`) in `out`.
        workers: number of processes, by default one per core.
        engine: one of `fdrd.engines.ENGINES`.
        tokens: returns a token counter for a backbone. By default CLIP's tokens are estimated.
        progress: called for each step.
        settings: fields of `config` and of `options` as keywords, which win over those objects.

    Raises:
        FdrdError: the source or the target is unusable, all records were rejected, the policy fails the
            build, another build is writing to the target, or the disk is full.
    """
    config, options = with_settings(config or BuildConfig(), options or NO_OPTIONS, settings)
    path = Path(source)
    with disk_errors(path), as_folder(path) as root, ExitStack() as stack:
        domains = find_domains(root, options)
        fingerprint = resume.fingerprint_source(root)
        origin = resume.Origin(str(path.resolve()), fingerprint.lasting)
        target, name = (
            resume.choose_default(origin, replace) if out is None else (Path(out), config.name)
        )
        instead_of = resume.DEFAULT_OUT if out is None and target != resume.DEFAULT_OUT else None
        if instead_of and config.name == resume.DEFAULT_NAME:
            config = with_fields(config, name=name)
        publish.check_outside(target, path)
        target = stack.enter_context(publish.lock_output(target))
        pool = stack.enter_context(open_engine(engine, workers))
        read, sha256 = reviews.read_decisions(Path(decisions)) if decisions else ([], "")
        ids, ids_digest = reviews.read_selection(Path(only)) if only else (None, "")
        counter = counter_for(config.backbone, tokens)
        inputs: list[Any] = [asdict(config), counter.name]
        inputs += [sha256] if sha256 else []
        inputs += [{"only": ids_digest}] if ids_digest else []
        digest = resume.inputs_digest(inputs, domains, fingerprint.digest)
        publish.recover(target)
        publish.check_target(target)
        if resume.is_built_from(target, digest):
            if resume.recorded_origin(target) != origin:  # it moved, or the note is lost
                resume.write_origin(target, origin)
            built = Build(str(target), target, read_manifest(target), 0, True, ())
        else:
            if not replace:
                resume.check_same_source(target, origin)
            run = _Run(
                source, root, domains, target, config, pool, progress, counter, read, sha256, ids
            )
            built = run.build(digest, origin, fingerprint.files)
            resume.forget_if_changed(target, root, fingerprint)
        named = register(target, built.manifest)
        resume.refresh_states(target)
        return with_fields(
            built,
            configs=named.configs,
            name_owner=named.owner,
            not_registered=[named.failure] if named.failure else [],
            unused=list(unused_files(root, domains)),
            instead_of=instead_of,
        )


def with_settings(
    config: BuildConfig, options: SourceOptions, settings: BuildSettings
) -> tuple[BuildConfig, SourceOptions]:
    """Return the options of a build, changed by keywords; raise `FdrdError` for an unknown one."""
    known = BuildSettings.__annotations__
    for name in settings:
        if name not in known:
            raise FdrdError(unknown("option", name, known, "build"))
    rest: Any = dict(settings)
    changes = {
        each.name: rest.pop(each.name) for each in fields(BuildConfig) if each.name in settings
    }
    return with_fields(config, **changes), make_options(**rest).over(options)


def return_freed_memory() -> None:
    """Return freed memory that the C library would keep: all of it in glibc, nothing in others."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)


@dataclass(frozen=True, slots=True)
class _Run:
    """One build of the locked folder `out`.

    `source` is what the user named, and `folder` the folder of it. `decisions_digest` is empty without a file of
    decisions. `only` are the ids of the records to keep, or None for all.
    """

    source: str | Path
    folder: Path
    domains: list[Domain]
    out: Path
    config: BuildConfig
    engine: Engine
    progress: Progress
    tokens: TokenCounter
    decisions: list[reviews.Decision]
    decisions_digest: str
    only: frozenset[str] | None

    def build(self, inputs: str, origin: resume.Origin, files: int) -> Build:
        """Build the dataset and publish it; `inputs` is the digest of all inputs, `files` the number of files."""
        started = time.time()
        out, work = self.out, publish.work_folder(self.out)
        with ExitStack() as stack:
            items = read_items(self.folder, self.domains, reviews.written_captions(self.decisions))
            limit, ledger = self.config.max_pixels, publish.ledger_path(out)
            checked = checked_source(
                work, self.folder, items, limit, self.engine, self.progress, ledger, files
            )
            contents = stack.enter_context(checked)
            return_freed_memory()  # of the names of all files and images
            # Workers import what they need while this process decides.
            self.engine.prepare(make_counted)
            reviewed = reviews.Reviewed()
            if self.decisions_digest or self.only is not None:
                after = stack.enter_context(SourceWriter(work / "reviewed.partial"))
                reviewed = reviews.review(contents, self.decisions, after, self.only)
                contents = after.finish(contents.root, contents.images)
            captions = contents.records.table("caption")["caption"].chunks
            lengths = measure((chunk.to_pylist() for chunk in captions), self.tokens, self.progress)
            pairs = pair_table(contents)
            decide(pairs, self.config, lengths, self.progress)
            return_freed_memory()  # of the search for near duplicates
            rejected = pairs.rejections()
            self._check_usable(len(pairs.rows), rejected)
            shards, counted, extra = stage_shards(
                out, pairs, self.config, self.engine, self.progress, reviewed.true_negatives
            )
            digest, counts = self.decisions_digest, None
            if digest:
                counts = reviews.review_counts(digest, reviewed, pairs.records(pairs.rows))
            tokens = summary(pairs.by_split(), lengths)
            manifest = make_manifest(
                self.config, self.domains, pairs, rejected, shards, tokens, counts, extra
            )
            unpacked = {each.image.path for each in contents.images if each.image.member}
        stage = publish.stage_folder(out)
        write_rejected(stage, rejected)
        tallies = write_documents(stage, manifest, self.progress, self.engine, counted)
        write_text(stage / "manifest.json", dump(manifest))
        resume.record_states(out, manifest)
        resume.write_origin(out, origin)
        publish.publish_stage(out)
        remove_unpacked({self.folder / path for path in unpacked})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(out, None if retry else inputs, started, self.engine.workers)
        return Build(
            str(out), out, manifest, len(counted), False, (), reviewed.stale, gaps=gaps(tallies)
        )

    def _check_usable(self, kept: int, rejected: list[Rejection]) -> None:
        """Raise `FdrdError` if the policy fails the build or no record was kept."""
        policy = self.config.policy
        fails = [each for each in rejected if policy.get(each.reason) == "fail"]
        if kept and not fails:
            return
        listed = write_rejected(publish.work_folder(self.out), rejected)
        if fails:
            counts = Counter(each.reason for each in fails)
            text = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
            remedy = f"{fails[0].reason}={default_action(fails[0].reason)}"
            raise CheckError(
                f"the policy fails the build because of {text}; the first is {fails[0]}. See {listed}; "
                f"fix the source, or give `policy` {remedy}"
            )
        unused = unused_text(self.folder, self.domains)
        raise FdrdError(f"{self.source}: {nothing_kept(rejected)}{unused}. See {listed}")
