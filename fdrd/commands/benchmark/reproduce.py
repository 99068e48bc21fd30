"""`fdrd reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fdrd.commands.benchmark import bench_options as of
from fdrd.commands.benchmark.paper_run import raise_failed, run_paper
from fdrd.commands.console import app, out, print_hint, print_json
from fdrd.commands.options import Backbone, Device, Json, Plugins
from fdrd.errors import FdrdError

METHODS = ("zero_shot", "coop", "clip_adapter", "maple", "filip", "dcar")
"""Methods of the paper's table that the project has."""


@app.command(epilog="Example:  fdrd reproduce data/fdrd --seeds 3")
def reproduce(
    dataset: of.Dataset = None,
    method: Annotated[
        list[str] | None,
        typer.Option("--method", "-m", help=f"Default: {', '.join(METHODS)}; repeatable."),
    ] = None,
    method_option: of.MethodOptions = None,
    domain: of.Domain = None,
    seeds: of.Seeds = 1,
    train_option: of.TrainOptions = None,
    published: Annotated[
        Path | None, typer.Option("--beside", help="Published numbers; default: those of DCAR.")
    ] = None,
    results: of.Results = Path("runs/paper"),
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
    backbone: Backbone = None,
    device: Device = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Run the protocol of the DCAR paper on the domains of a dataset, and print recalls next to the published ones.

    One model per domain learns from the train and validation splits, and its last step is measured on the whole
    test split. The backbone is CLIP ViT-B/32 unless another is given. The paper does not give steps or learning rates:
    set them with -T. Finished cells are not repeated, and interrupted training runs resume.

    Note:
        One parameter per option of the command line.
    """
    from fdrd.files.cache import last_build
    from fdrd.options import split_assignments

    given = {
        "-M": split_assignments(method_option or (), "-M"),
        "-T": split_assignments(train_option or (), "-T"),
    }
    from benchmark.reporting.published import PAPER, beside, read_published
    from benchmark.training.row_selection import split_of

    data, numbers = dataset or str(last_build()), read_published(published or PAPER)
    domains = split_of(data, "test", domain).domains
    if not any(numbers.values(each, name) for each in domains for name in method or METHODS):
        raise FdrdError(
            f"{data} has the domains {', '.join(domains)}, and {numbers.source} has {', '.join(numbers.domains)}; "
            f"give other numbers with --beside, or run `fdrd bench --preset paper`"
        )
    outcome = run_paper(
        data, method or METHODS, given, domain=domain, seeds=range(seeds),
        backbone=backbone, results=results, jobs=jobs, plugins=plugin or (), device=device,
    )  # fmt: skip
    from benchmark.reporting.terminal import rendered

    tables = beside(outcome.results, numbers)
    if json:
        print_json([{"title": t.title, "head": t.head, "rows": t.rows} for t in tables])
    else:
        out.print(rendered(tables))
        print_hint(f"Next:  fdrd report {results} --beside FILE")
    raise_failed(outcome)
