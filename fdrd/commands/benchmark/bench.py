"""`fdrd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.console import (
    Device,
    Json,
    Plugins,
    app,
    err,
    out,
    print_json,
    quiet_transformers,
    show_progress,
)
from fdrd.errors import FdrdError


@app.command(epilog="Example:  fdrd bench --method zero_shot --method coop --split test --seeds 3")
def bench(
    method: Annotated[
        list[str], typer.Option("--method", help="Name from `fdrd methods`; may be repeated.")
    ] = [],  # noqa: B006  # Typer's form of a repeatable option
    everything: Annotated[bool, typer.Option("--all", help="Run every method.")] = False,
    ablate: Annotated[
        str | None,
        typer.Option(help="Run every variant of this method, with and without each part."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split to measure: test, validation or train.")
    ] = "test",
    data: Annotated[
        str | None,
        typer.Option(help="Folder, registered name or Hub id; the last build by default."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Hub id, folder, or package.module:function or file.py:function that returns "
            "(CLIPModel, tokenizer, image_processor). Default: the one that the dataset names, else "
            "CLIP ViT-B/32 from the Hub."
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(help="Use only this domain, in training too.")
    ] = None,
    train_domain: Annotated[
        str | None,
        typer.Option(help="Train on this domain instead, or on all (joint training)."),
    ] = None,
    categories: Annotated[
        Path | None,
        typer.Option(
            help="Base-to-new: a text file with one category per line. Train on these only; measure "
            "them (base) and all others (new), each with its own gallery."
        ),
    ] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Images per category to train on.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of training and of the few-shot draw.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Number of seeds to run, starting at --seed.")
    ] = 1,
    gallery: Annotated[
        str, typer.Option(help="domain, joint, or a number of images per gallery.")
    ] = "domain",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Use this checkpoint instead of training: a .safetensors file that a bench wrote, or a "
            "Hub model as ORG/NAME or ORG/NAME@REVISION. It names its method and backbone."
        ),
    ] = None,
    method_option: Annotated[
        list[str], typer.Option("-M", help="option=value for the methods that have the option.")
    ] = [],  # noqa: B006
    training_option: Annotated[
        list[str],
        typer.Option("-T", help="option=value of the training, e.g. learning_rate=0.002."),
    ] = [],  # noqa: B006
    plugin: Plugins = [],  # noqa: B006
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("runs"),
    log: Annotated[
        Path | None, typer.Option(help="Write TensorBoard curves of each training here.")
    ] = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Train and measure methods; print recalls of image-to-text and text-to-image retrieval.

    Runs with a result file are not repeated, and a training is shared by all splits, domains and halves
    that it is measured on. Ties count against a method. A method that fails does not stop the others.

    Several domains are measured one by one and trained on together. --domain D uses D alone,
    --train-domain D trains on D and measures all, and both together measure transfer.
    """
    quiet_transformers()
    from benchmark.evaluation.base_to_new import read_categories
    from benchmark.models.processes import is_main
    from benchmark.registry import load_plugin
    from benchmark.reporting.significance import ablation
    from benchmark.reporting.terminal import significance_table, table
    from benchmark.result import to_json
    from benchmark.runner import run_selected
    from fdrd.files.cache import last_build
    from fdrd.options import split_assignments

    for module in plugin:
        load_plugin(module)
    out.quiet = err.quiet = not is_main()  # of several processes, only one prints
    with show_progress(
        f"Finished runs and unfinished training are saved in {results}; the same command continues."
    ) as progress:
        outcome = run_selected(
            method,
            data or str(last_build()),
            everything=everything,
            ablate=ablate,
            options=split_assignments(method_option, "-M"),
            seeds=range(seed, seed + seeds),
            split=split,
            backbone=backbone,
            domain=domain,
            train_domain=train_domain,
            categories=read_categories(categories) if categories else None,
            shots=shots,
            gallery=_gallery(gallery),
            train=split_assignments(training_option, "-T"),
            checkpoint=checkpoint,
            results=results,
            log=log,
            device=device,
            allow_code=True,
            progress=progress,
        )
    if json:
        print_json([to_json(result) for result in outcome.results])
    else:
        out.print(table(outcome.results))
        if outcome.truncated:
            out.print(outcome.truncated)
        if ablate:
            tests, names = ablation(outcome.results, outcome.variants, outcome.full)
            out.print(significance_table(tests))
            out.print("\n".join(f"{row}: {name}" for row, name in names.items()))
        out.print(f"Next:  fdrd report {results}        fdrd compare {results}", style="dim")
    if outcome.failed:
        errors = (f"{name} failed: {error}" for name, error in outcome.failed.items())
        raise FdrdError("; ".join(errors))


def _gallery(given: str) -> Any:
    if given in ("domain", "joint"):
        return given
    if not given.isdigit():
        raise FdrdError(f"--gallery {given}: give domain, joint or a number of images")
    return int(given)
