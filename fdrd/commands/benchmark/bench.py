"""`fdrd bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fdrd.commands.benchmark.known_methods import quiet_transformers, register_methods
from fdrd.commands.console import Json, app, err, out, print_json, show_progress
from fdrd.errors import FdrdError


@app.command(epilog="Example:  fdrd bench --method zero_shot --method coop --split test --seeds 3")
def bench(
    method: Annotated[
        list[str], typer.Option("--method", help="`fdrd methods` lists them; several may be given.")
    ] = [],  # noqa: B006 - how Typer spells an option that repeats
    everything: Annotated[bool, typer.Option("--all", help="Every method that is known.")] = False,
    ablate: Annotated[
        str | None,
        typer.Option(help="Every variant of this method, with and without each of its parts."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="What is measured: test, validation or train.")
    ] = "test",
    data: Annotated[
        str | None,
        typer.Option(help="Folder, registered name or Hub id; by default the last build."),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Hub id, folder, or package.module:function or file.py:function that returns "
            "(CLIPModel, tokenizer, image_processor); by default what the dataset names, else "
            "CLIP ViT-B/32 from the Hub."
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain, in training too.")] = None,
    train_domain: Annotated[
        str | None,
        typer.Option(help="Learn from this domain instead, or from all (joint training)."),
    ] = None,
    categories: Annotated[
        Path | None,
        typer.Option(
            help="Base to new: a text file with a category per line. Learn from these only, and "
            "measure them (base) and all others (new), each half with its own gallery."
        ),
    ] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Learn from so many images per category.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of training and of the few-shot draw.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Run so many seeds, from --seed on.")] = 1,
    gallery: Annotated[
        str, typer.Option(help="domain, joint, or a number: seeded galleries of that many images.")
    ] = "domain",
    checkpoint: Annotated[
        str | None,
        typer.Option(
            help="Learned tensors to use instead of training: a .safetensors file that a bench wrote, "
            "or a model of the Hub, as ORG/NAME or ORG/NAME@REVISION. It names its method and backbone."
        ),
    ] = None,
    method_option: Annotated[
        list[str], typer.Option("-M", help="option=value of the methods that have it.")
    ] = [],  # noqa: B006
    training_option: Annotated[
        list[str], typer.Option("-T", help="option=value of the training, as learning_rate=0.002.")
    ] = [],  # noqa: B006
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its methods.")
    ] = [],  # noqa: B006
    results: Annotated[Path, typer.Option(help="Folder of the result files.")] = Path("runs"),
    log: Annotated[
        Path | None, typer.Option(help="Draw curves of each training here, for TensorBoard.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the best by default.")] = None,
    json: Json = False,
) -> None:
    """Train methods where they train, and print recalls of image-to-text and text-to-image retrieval.

    A run whose result file is there already is not repeated, nor is a training that another split,
    domain or half was measured with. Ties count against a method. A method that fails does not stop
    the others.

    Domains: several are measured one by one, and learned from together; --domain D is D alone;
    --train-domain D measures all on what D taught; with --domain E too, it is D to E.
    """
    register_methods(plugin)
    import benchmark
    from benchmark.checkpoint import read_header
    from benchmark.models.processes import is_main
    from benchmark.registry import distribute, get_method, takes, variants_of
    from benchmark.reporting.significance import ablation_table
    from benchmark.reporting.terminal_tables import table
    from benchmark.result import to_json
    from benchmark.runner import open_backbone
    from benchmark.trained import find_checkpoint
    from fdrd.files.cache import last_build
    from fdrd.options import split_assignments

    header = None
    if checkpoint is not None:
        checkpoint = str(find_checkpoint(checkpoint))
        header = read_header(Path(checkpoint))
        method = method or [header.method]
    if sum((bool(method), everything, ablate is not None)) != 1:
        raise FdrdError(
            "give either --method NAME, or --all, or --ablate NAME; `fdrd methods` lists the names"
        )
    names = [ablate] if ablate else benchmark.method_names() if everything else method
    for name in names:
        get_method(name)
    options = distribute(names, split_assignments(method_option, "-M"))
    variants = {"": options}
    if ablate:
        named = variants_of(ablate, options[ablate])
        variants = {variant: {ablate: chosen} for variant, chosen in named.items()}
    train = split_assignments(training_option, "-T")
    competing = _gallery(gallery)
    base = benchmark.read_categories(categories) if categories else None
    where = data or str(last_build())
    quiet_transformers()
    out.quiet = err.quiet = not is_main()  # several processes that share a bench speak once
    tower: Any = backbone
    if any(takes(name, "backbone") for name in names):
        wanted = backbone or (header.backbone if header else None)
        tower = open_backbone(wanted, where, device=device, allow_code=backbone is not None)
    with show_progress(
        f"Finished runs and the training in hand are kept in {results}; the same command goes on from there."
    ) as progress:
        found: list[benchmark.BenchResult] = []
        failed: dict[str, FdrdError] = {}
        for variant, chosen in variants.items():
            measured, without = benchmark.run_each(
                names, where, seeds=range(seed, seed + seeds), categories=base, options=chosen,
                progress=progress, split=split, backbone=tower, domain=domain,
                train_domain=train_domain, shots=shots, gallery=competing, train=train,
                checkpoint=checkpoint, results=results, log=log,
            )  # fmt: skip
            found += measured
            failed |= {f"{name} {variant}".rstrip(): error for name, error in without.items()}
    if not found:
        raise next(iter(failed.values()))
    if json:
        print_json([to_json(result) for result in found])
    else:
        out.print(table(found))
        if ablate:
            out.print(ablation_table(found, named, options[ablate]))
        out.print(f"Next:  fdrd report {results}        fdrd compare {results}", style="dim")
    if failed:
        raise FdrdError("; ".join(f"{name} failed: {error}" for name, error in failed.items()))


def _gallery(given: str) -> Any:
    if given in ("domain", "joint"):
        return given
    if not given.isdigit():
        raise FdrdError(f"--gallery {given}: give domain, joint or a number of images")
    return int(given)
