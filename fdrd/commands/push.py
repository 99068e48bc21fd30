"""`fdrd push`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdrd.commands.console import count_of, err, out, show_progress
from fdrd.commands.options import Json, dataset_folder
from fdrd.errors import FdrdError
from fdrd.kinds import kind_of

if TYPE_CHECKING:
    from fdrd.hub.publisher import PushPlan, PushResult


def push(
    folder: Annotated[Path, typer.Argument(metavar="DATASET", callback=dataset_folder)],
    repo_id: Annotated[str, typer.Option(metavar="ORG/NAME")],
    private: Annotated[bool, typer.Option("--private")] = False,
    revision: Annotated[str, typer.Option(metavar="BRANCH")] = "main",
    tag: str | None = None,
    pr: Annotated[bool, typer.Option("--pr")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    rights: Annotated[bool, typer.Option("--i-have-the-rights")] = False,
    format: Annotated[str | None, typer.Option(show_default=False)] = None,
    json: Json = False,
) -> None:
    """Push a built dataset or a trained method to the Hugging Face Hub.

    Files are uploaded first, then one commit publishes them, so readers never see a partial push. Unchanged files
    are not uploaded again, and an interrupted push resumes. Files of an earlier build are deleted. Your own files
    stay, and so do your edits of the card outside of fdrd's sections.

    A trained method becomes a model repository with its tensors, results, and a card. Use it with
    fdrd bench --checkpoint ORG/NAME. A fine-tuned model that `fdrd export --to transformers` wrote
    becomes one that transformers loads.

    The token comes from `hf auth login` or HF_TOKEN. HF_ENDPOINT selects another Hub.

    Args:
        folder: Folder or registered name of a dataset; .safetensors file from `fdrd bench`; or folder of a fine-tuned
            model from `fdrd export --to transformers`.
        repo_id: Repository on the Hub, e.g. ORG/fdrd.
        private: Make a new repository private.
        revision: Branch, created if missing, or refs/pr/N.
        tag: Tag for the commit, e.g. v1.0.
        pr: Open a pull request instead of committing.
        dry_run: Show what would change, and stop.
        rights: Confirm that you may publish rows of unknown license.
        format: parquet, which other tools read and the Hub shows (default), or arrow.

    Examples:
        fdrd push data/fdrd --repo-id ORG/fdrd --private
    """
    from fdrd.hub.publisher import PushOptions, execute, prepare

    if kind_of(folder) == "results":
        remedy = "give a dataset, or a .safetensors file of `fdrd bench`"
        raise FdrdError(f"{folder} is a folder of results; {remedy}")
    is_model = folder.suffix == ".safetensors" or (folder / "config.json").is_file()
    if is_model and (format or rights):
        raise FdrdError("--format and --i-have-the-rights are for datasets; remove them")
    with show_progress("Uploaded files are kept; run the same command again to resume.") as bar:
        if is_model:
            from benchmark.reporting.publishing import publication as model_publication

            publication = model_publication(folder, repo_id)
        else:
            from fdrd.hub.dataset_repository import dataset_publication
            from fdrd.pipeline.documents import convert_dataset

            converted = convert_dataset(folder, format or "parquet", bar)
            publication = dataset_publication(converted, repo_id, rights, bar)
        plan = prepare(publication, PushOptions(private, revision, tag, pr), dry_run=dry_run)
        if not json:
            _print_plan(plan)
        result = None if dry_run else execute(plan, progress=bar)
    if json:
        out.json(_as_json(plan, result))
    elif result:
        _print_result(plan, result)


def _print_plan(plan: PushPlan) -> None:
    """Print the plan on stderr before it is carried out."""
    publication, branch = plan.publication, plan.options.revision
    visibility = "private" if plan.options.private else "public"
    state = f"a new {visibility} {publication.repo_type} repository"
    if plan.head:
        state = f"at {plan.head[:12]}" + (", in a new branch" if plan.new_branch else "")
    lines = [f"{publication.repo_id}{f' ({branch})' if branch != 'main' else ''}: {state}"]
    sizes = {file.path_in_repo: file.upload_info.size for file in plan.files}
    for action, paths in {**_changes(plan), "keep": plan.foreign}.items():
        size = sum(sizes.get(path, 0) for path in paths) / 1e6
        names = ", ".join(paths[:5]) + (f", {len(paths) - 5} more" if len(paths) > 5 else "")
        measure = f", {size:,.1f} MB" if size else ""
        lines += [f"  {action}: {count_of(len(paths), 'file')}{measure} ({names})"] if paths else []
    lines += [f"  unchanged: {count_of(len(plan.unchanged), 'file')}"] if plan.unchanged else []
    lines += [publication.note] if publication.note else []
    for line in lines:
        err.print(line, soft_wrap=True)


def _print_result(plan: PushPlan, result: PushResult) -> None:
    options, commit = plan.options, result.commit[:12]
    if plan.is_done:
        out.print(f"Nothing to do: {result.url} already holds these files.")
    else:
        out.print(f"{count_of(len(plan.files), 'file')} in commit {commit}.")
    if options.tag:
        out.print(f"Tagged commit {commit} as {options.tag}.")
    if result.pull_request:
        out.print(f"Pull request: {result.pull_request}")
        return
    name, repo_id = options.tag or options.revision, plan.publication.repo_id
    is_main, command = name == "main", plan.publication.usage
    usage = f'load_dataset("{repo_id}"' + (")" if is_main else f', revision="{name}")')
    if command:
        usage = command if is_main else f"{command}@{name}"
    out.print(result.url)
    out.print(f"Use it:  {usage}")


def _changes(plan: PushPlan) -> dict[str, list[str]]:
    return {"upload": plan.upload, "replace": plan.replace, "delete": plan.delete}


def _as_json(plan: PushPlan, result: PushResult | None) -> dict[str, Any]:
    return {
        "repo_id": plan.publication.repo_id,
        "revision": plan.options.revision,
        "head": plan.head,
        **_changes(plan),
        "unchanged": plan.unchanged,
        "foreign": plan.foreign,
        "files": {file.path_in_repo: file.upload_info.size for file in plan.files},
        "pushed": result,
    }
