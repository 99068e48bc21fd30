"""`fdrd view`."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.console import err, out, quiet_transformers, show_progress
from fdrd.commands.options import OptionalFolder, Plugins, default_dataset, load_plugins
from fdrd.errors import FdrdError


def view(
    dataset: OptionalFolder = None,
    results: Annotated[list[Path] | None, typer.Option(metavar="PATH")] = None,
    review: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    reviewer: Annotated[str | None, typer.Option(metavar="NAME")] = None,
    source: Annotated[Path | None, typer.Option(metavar="SOURCE")] = None,
    drafts: Annotated[list[Path] | None, typer.Option(metavar="FOLDER")] = None,
    before: Annotated[Path | None, typer.Option(metavar="DATASET")] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535)] = 8765,
    no_browser: Annotated[bool, typer.Option("--no-browser")] = False,
    plugin: Plugins = None,
) -> None:
    """See, search, compare, and correct a dataset in the browser.

    The index is built once for each build of the dataset. A review is kept in
    DATASET.review/NAME/decisions.jsonl; `fdrd build --decisions FILE` applies it. Ctrl-C ends the server.

    Args:
        results: Result files, or folders of them, to show and compare.
        review: Name of a review to write decisions to. Without it nothing is written.
        reviewer: Your name in the decisions; by default the login name.
        source: The raw source, to see the images that were rejected.
        drafts: Outputs of `fdrd caption`: drafts for images without a caption; repeatable.
        before: An earlier build, to see which records changed.
        host: Address to bind to. Others can reach any but 127.0.0.1.
        port: Port; 0 for any.
        no_browser: Open no browser.

    Examples:
        fdrd view data/fdrd --results runs/ --review first-pass
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise FdrdError(f"{error.name} is not installed; run `pip install 'fdrd[view]'`") from None
    import secrets
    import webbrowser

    from fdrd.sources.single_file import as_folder
    from fdrd.viewer.context import Context
    from fdrd.viewer.security import redirect_file
    from fdrd.viewer.server import is_local, serve

    if results:
        quiet_transformers()
        load_plugins(plugin)

    def ready(address: str) -> None:
        if not is_local(host):
            warning = (
                f"Warning: others can reach {host} over plain HTTP, which shows the token to the network. "
                "Use --host 127.0.0.1 and an SSH tunnel where you do not trust it."
            )
            err.print(warning, style="yellow", soft_wrap=True)
        out.print(f"Viewing {context.library.folder} at {address}")
        if context.review:
            out.print(f"Decisions go to {context.review.path}")
        out.print("Ctrl-C ends it.", style="dim")
        if not no_browser:
            with suppress(OSError):  # e.g. a full disk: the address was printed
                webbrowser.open(stack.enter_context(redirect_file(address)).as_uri())

    with ExitStack() as stack:
        raw = stack.enter_context(as_folder(source)) if source else None
        with show_progress("The same command starts over.") as progress:
            context = Context(
                dataset or default_dataset(),
                results=results or (),
                review=review,
                reviewer=reviewer or _login(),
                source=raw,
                drafts=drafts or (),
                before=before,
                progress=progress,
            )
        serve(context, secrets.token_urlsafe(24), host, port, ready)


def _login() -> str:
    import getpass

    try:
        name = "".join(c for c in getpass.getuser() if c.isascii() and c.isprintable())
    except (OSError, KeyError):  # a container without an entry for its user
        name = ""
    return name or "reviewer"
