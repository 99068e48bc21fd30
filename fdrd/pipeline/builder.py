"""Build a dataset from a source, or merge the parts of one: read, curate, stage, document, publish, register."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fdrd.build_config import BuildConfig
from fdrd.curation.decide import decide
from fdrd.curation.decisions import (
    Decision,
    decisions_entry,
    read_decisions,
    review,
)
from fdrd.curation.pair_table import pair_table
from fdrd.curation.source_contents import SourceContents
from fdrd.engines import Engine, open_engine
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.files.cache import remember_build
from fdrd.images.containers import remove_unpacked
from fdrd.pipeline.collect import check_items, read_items
from fdrd.pipeline.counts import make_counted
from fdrd.pipeline.documents import write_documents
from fdrd.pipeline.locking import lock_output, open_source
from fdrd.pipeline.memory import return_freed_memory
from fdrd.pipeline.parts import read_common, read_parts
from fdrd.pipeline.stage import stage_shards
from fdrd.policy import failing, policy_error
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.sources import SourceOptions, unused_files
from fdrd.storage import publish, resume
from fdrd.storage.manifest import (
    describe_domain,
    dump,
    library_versions,
    make_manifest,
    read_manifest,
)
from fdrd.storage.registration import register
from fdrd.storage.rejected_list import nothing_kept, write_rejected
from fdrd.text.tokens import CounterOf, TokenCounter, counter_for, measure, summary


@dataclass(frozen=True, slots=True)
class Build:
    """Result of a build.

    Attributes:
        out: folder of the dataset.
        manifest: content of its `manifest.json`.
        shards_written: number of shards that had to be written.
        nothing_to_do: whether the folder was already built from the same inputs.
        configs: config names for `load_dataset(<name>, <config>)` on this machine.
        stale: reviewers' decisions that were not applied, each with the reason.
        unused: files of the source that look like annotations and were not read, each with the reason.
        replaced: another dataset that the name pointed to before.
        not_registered: why the name or the working folder does not point to the dataset, which is complete: caches
            that cannot be written.
    """

    out: Path
    manifest: dict[str, Any]
    shards_written: int
    nothing_to_do: bool
    configs: Sequence[str]
    stale: Sequence[tuple[Decision, str]] = ()
    unused: Sequence[tuple[str, str]] = ()
    replaced: Path | None = None
    not_registered: Sequence[str] = ()


def build(
    source: str | Path,
    out: str | Path = "data/fdrd",
    *,
    config: BuildConfig | None = None,
    options: SourceOptions | None = None,
    decisions: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    tokens: CounterOf | None = None,
    progress: Progress = silent,
) -> Build:
    """Build a dataset from a raw source. Resume an interrupted build; do nothing if nothing changed.

    Args:
        source: folder of one domain or of several domains in a layout of `fdrd.sources`, or a zip, tar or
            Parquet file of them.
        out: folder of the dataset. `<out>.work` next to it stores what a later run can reuse.
        config: options that determine the bytes.
        options: layout, columns and categories of the source; detected by default.
        decisions: file of reviewers' decisions to apply (`fdrd.curation.decisions`).
        workers: number of processes, by default one per core.
        engine: one of `fdrd.engines.ENGINES`.
        tokens: returns a token counter for a backbone. By default CLIP's tokens are estimated.
        progress: called for each step.

    Raises:
        FdrdError: the source or the target is unusable, all records were rejected, the policy fails the
            build, another build is writing to the target, or the disk is full.
    """
    config = config or BuildConfig()
    with (
        open_source(Path(source), Path(out), options) as (folder, domains),
        lock_output(Path(out)) as target,
        open_engine(engine, workers) as opened,
    ):
        made = read_decisions(Path(decisions)) if decisions else None
        run = _Run(target, config, opened, progress, counter_for(config.backbone, tokens), made)
        settings = [asdict(config), run.tokens.name, *([made[1]] if made else [])]
        fingerprint = resume.fingerprint_source(folder)
        unused = list(unused_files(folder, domains))
        built = run.build(
            resume.inputs_digest(settings, domains, fingerprint.digest),
            [describe_domain(domain) for domain in domains],
            str(folder),
            lambda contents: check_items(
                contents, read_items(folder, domains), config.max_pixels,
                publish.ledger_path(target), opened, progress, expected=fingerprint.files,
            ),
            str(source),
            "".join(f". {file} was not used: {why}" for file, why in unused[:5]),
        )  # fmt: skip
        if not built.nothing_to_do:
            resume.forget_if_changed(target, folder, fingerprint)
        return replace(built, unused=unused)


def merge(
    parts: Sequence[str | Path],
    out: str | Path = "data/fdrd",
    *,
    workers: int | None = None,
    engine: str = "local",
    tokens: CounterOf | None = None,
    progress: Progress = silent,
) -> Build:
    """Merge the parts of a build into a dataset with the same bytes as `build` writes.

    Args:
        parts: folders that `build_part` wrote: all parts of one build, in any order.
        out: as for `build`.
        workers: as for `build`.
        engine: as for `build`.
        tokens: as for `build`.
        progress: as for `build`.

    Raises:
        FdrdError: a part is missing, damaged, or of another build; or as `build`.
    """
    folders = [Path(part).resolve() for part in parts]
    with lock_output(Path(out)) as target, open_engine(engine, workers) as opened:
        common = read_common(folders)
        config = BuildConfig(**common["config"])
        if library_versions() != common["libraries"]:
            raise FdrdError(
                f"the parts were built with {common['libraries']}, but this environment has "
                f"{library_versions()}; merge with the versions that built the parts"
            )
        run = _Run(target, config, opened, progress, counter_for(config.backbone, tokens))
        inputs = resume.inputs_digest([common, run.tokens.name], (), "")
        return run.build(
            inputs,
            common["domains"],
            "",
            lambda contents: read_parts(folders, contents),
            f"{len(folders)} parts",
        )


@dataclass(frozen=True, slots=True)
class _Run:
    """One build of a locked target."""

    out: Path
    config: BuildConfig
    engine: Engine
    progress: Progress
    tokens: TokenCounter
    decisions: tuple[list[Decision], str] | None = None
    """Reviewers' decisions, and the digest of their file."""

    def build(
        self,
        inputs: str,
        domains: list[dict[str, Any]],
        root: str,
        read: Callable[[SourceContents], None],
        source: str,
        hint: str = "",
    ) -> Build:
        started = time.time()
        publish.recover(self.out)
        publish.check_target(self.out)
        if resume.is_built_from(self.out, inputs):
            manifest = read_manifest(self.out)
            return self._register(Build(self.out, manifest, 0, True, ()))

        with ExitStack() as stack:
            work = publish.work_folder(self.out)
            contents = stack.enter_context(SourceContents.in_folder(work, root))
            read(contents)
            return_freed_memory()  # of the names of all files and images
            # Workers import what they need while this process decides.
            self.engine.prepare(make_counted)
            reviewed = None
            if self.decisions:
                after = stack.enter_context(contents.with_records(work / "reviewed.partial"))
                reviewed = review(contents, self.decisions[0], after)
                contents = after
            lengths = measure(contents.records, self.tokens, self.progress)
            pairs = pair_table(contents)
            decide(pairs, self.config, lengths, self.progress)
            return_freed_memory()  # of the search for near duplicates
            rejected = pairs.rejections()
            self._check_usable(len(pairs.rows), rejected, source, hint)
            staged = stage_shards(
                self.out, pairs, self.config, self.engine, self.progress,
                reviewed.true_negatives if reviewed else None,
            )  # fmt: skip
            entry = None
            if self.decisions and reviewed:
                entry = decisions_entry(self.decisions[1], reviewed, pairs.records())
            manifest = make_manifest(
                self.config, domains, pairs, rejected, staged.shards,
                summary(pairs.by_split(), lengths), entry,
            )  # fmt: skip
            unpacked = {each.image.path for each in contents.images if each.image.member}
        stage = publish.stage_folder(self.out)
        write_rejected(stage, rejected)
        write_documents(stage, manifest, self.progress, self.engine, staged.counted)
        write_text(stage / "manifest.json", dump(manifest))
        publish.publish_stage(self.out)
        if root:
            remove_unpacked({Path(root, path) for path in unpacked})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(self.out, None if retry else inputs, started, self.engine.workers)
        stale = reviewed.stale if reviewed else ()
        return self._register(Build(self.out, manifest, len(staged.counted), False, (), stale))

    def _register(self, built: Build) -> Build:
        """Make the finished dataset known on this machine."""
        forgotten, named = remember_build(self.out), register(self.out, built.manifest)
        failures = [each for each in (forgotten, named.failure) if each]
        return replace(
            built, configs=named.configs, replaced=named.replaced, not_registered=failures
        )

    def _check_usable(self, kept: int, rejected: list[Rejection], source: str, hint: str) -> None:
        """Raise `FdrdError` if the policy fails the build or no record was kept."""
        fails = failing(rejected, self.config.policy)
        if kept and not fails:
            return
        listed = write_rejected(publish.work_folder(self.out), rejected)
        if fails:
            raise policy_error(fails, listed)
        raise FdrdError(f"{source}: {nothing_kept(rejected)}{hint}. See {listed}")
