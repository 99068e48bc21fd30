"""`fdrd push`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdrd.commands.console import Json, app, err, out, print_json, show_progress
from fdrd.errors import FdrdError

if TYPE_CHECKING:
    from fdrd.hub import Options


@app.command(epilog="Example:  fdrd push data/fdrd --repo-id ORG/fdrd --private")
def push(
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder that `fdrd build` wrote, or the .safetensors file of a method that "
            "`fdrd bench` trained."
        ),
    ],
    repo_id: Annotated[str, typer.Option(help="Its name on the Hub, as ORG/fdrd.")],
    private: Annotated[
        bool, typer.Option("--private", help="A new repository is for its members only.")
    ] = False,
    revision: Annotated[
        str, typer.Option(help="Branch to commit to, made where it is missing; or refs/pr/N.")
    ] = "main",
    tag: Annotated[str | None, typer.Option(help="Name for the commit, as v1.0.")] = None,
    pr: Annotated[
        bool, typer.Option("--pr", help="Open a pull request instead of committing.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and stop.")
    ] = False,
    rights: Annotated[
        bool,
        typer.Option(
            "--i-have-the-rights", help="You may publish the rows whose licence is unknown."
        ),
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(help="arrow or parquet; that of the build unless given.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Upload a built dataset, or what a method learned, to the Hugging Face Hub.

    Files go up one after the other, then one commit puts them in place: no reader sees half a build. What is there
    already is not sent again, also after a push that was cut. What an earlier build left behind is deleted; files
    that you put there stay, and so does what you wrote on the card outside of fdrd's sections.

    A trained method becomes a small model repository: tensors, the results of its training, and a card. Others
    use it with fdrd bench --checkpoint ORG/NAME.

    The token is that of `hf auth login`, or of HF_TOKEN. HF_ENDPOINT names another Hub.
    """
    from fdrd.hub import Options, carry_out, prepare
    from fdrd.pipeline.reformat import in_format

    options = Options(private, revision, tag, pr, rights)
    if folder.suffix == ".safetensors":
        if format or rights:
            raise FdrdError("--format and --i-have-the-rights are for datasets; leave them out")
        _push_method(folder, repo_id, options, dry_run, json)
        return
    with show_progress(
        "What is uploaded stays on the Hub; the same command goes on from there."
    ) as bar:
        folder = in_format(folder, format, bar)
        plan = prepare(folder, repo_id, options, dry_run=dry_run, progress=bar)
        if not json:
            _print_plan(plan, options)
        if dry_run:
            if json:
                print_json(_as_json(plan, None))
            return
        pushed = carry_out(plan, folder, options, progress=bar)
    if json:
        print_json(_as_json(plan, pushed))
        return
    if plan.is_done:
        out.print(f"Nothing to do: {pushed.url} holds this very build.")
    else:
        out.print(f"{pushed.verified} files checked by digest in commit {pushed.commit[:12]}.")
    if tag:
        out.print(f"Tag {tag} names commit {pushed.commit[:12]}.")
    out.print(f"Pull request: {pushed.pull_request}" if pushed.pull_request else pushed.url)
    if not pushed.pull_request:
        at = f', revision="{revision}"' if revision != "main" else ""
        out.print(f'From anywhere:  load_dataset("{repo_id}"{at})')


def _push_method(
    checkpoint: Path, repo_id: str, options: Options, dry_run: bool, json: bool
) -> None:
    from dataclasses import asdict

    from benchmark.reporting.publishing import draft_method, publish

    draft = draft_method(checkpoint, repo_id, options, dry_run=dry_run)
    kind = "private" if options.private else "public"
    if not draft.exists:
        err.print(f"{repo_id}: a new {kind} model repository", soft_wrap=True)
    for path, data in draft.content.items():
        err.print(f"  upload where it changed: {path}, {len(data) / 1e6:,.2f} MB", soft_wrap=True)
    if not draft.on_hub:
        err.print(
            f"It was learned on {draft.backbone}, which is not on the Hub: others must have that backbone, "
            f"and give it with --backbone.",
            soft_wrap=True,
        )
    pushed = None if dry_run else publish(draft, options)
    if json:
        files = {path: len(data) for path, data in draft.content.items()}
        print_json({"files": files, "pushed": asdict(pushed) if pushed else None})
    elif pushed:
        out.print(f"{pushed.verified} files checked by digest in commit {pushed.commit[:12]}.")
        if pushed.pull_request:
            out.print(f"Pull request: {pushed.pull_request}")
        else:
            name = options.tag or options.revision
            at = f"@{name}" if name != "main" else ""
            out.print(pushed.url)
            out.print(f"From anywhere:  fdrd bench --checkpoint {repo_id}{at}")


def _print_plan(plan: Any, options: Any) -> None:
    """What is about to happen, on stderr, before it does."""
    where = f"{plan.repo_id} ({plan.revision})" if plan.revision != "main" else plan.repo_id
    if plan.head is None:
        kind = "private" if options.private else "public"
        err.print(f"{where}: a new {kind} dataset repository", soft_wrap=True)
    else:
        branch = ", in a new branch" if plan.new_branch else ""
        err.print(f"{where}: at {plan.head[:12]}{branch}", soft_wrap=True)
    for what, files in (("upload", plan.new), ("replace", plan.changed)):
        if files:
            size = sum(file.size for file in files) / 1e6
            named = _named([file.path for file in files])
            err.print(f"  {what}: {len(files)} files, {size:,.1f} MB ({named})", soft_wrap=True)
    for what, paths in (("delete", plan.deleted), ("leave alone", plan.foreign)):
        if paths:
            err.print(f"  {what}: {len(paths)} files ({_named(paths)})", soft_wrap=True)
    if plan.unchanged:
        err.print(f"  unchanged: {len(plan.unchanged)} files", soft_wrap=True)


def _named(paths: Sequence[str]) -> str:
    more = f", {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more


def _as_json(plan: Any, pushed: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "repo_id": plan.repo_id,
        "revision": plan.revision,
        "head": plan.head,
        "upload": [file.path for file in plan.new],
        "replace": [file.path for file in plan.changed],
        "unchanged": [file.path for file in plan.unchanged],
        "delete": list(plan.deleted),
        "foreign": list(plan.foreign),
        "pushed": asdict(pushed) if pushed else None,
    }
