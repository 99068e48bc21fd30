"""The command line: each command parses, calls one library function and prints.

Results go to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from fdrd.error import FdrdError

app = typer.Typer(
    name="fdrd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start here:  fdrd sample raw/  &&  fdrd build --source raw/  &&  fdrd bench --method random",
)
# Names of files and categories may hold brackets, so nothing that is printed is read as markup.
out = Console(
    highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160
)
err = Console(stderr=True, highlight=False, markup=False)

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main() -> None:
    """Runs the command line; a user's mistake is one line on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text at all
    try:
        app()
    except FdrdError as error:
        err.print("fdrd:", style="bold red", end=" ")
        err.print(str(error), soft_wrap=True)
        sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        out.print(f"fdrd {version('fdrd')}")
        raise typer.Exit


@app.callback()
def fdrd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Build described fine-category datasets, and compare image-text retrieval methods on them."""


@contextmanager
def _progress(resumes: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on stderr for each step while it runs, and a line at its end, as in a log.

    What a stage says behind " | " may change as it goes on. Ctrl-C says how to go on and exits with 130.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f}/s" if task.speed else "")

    class Said(ProgressColumn):  # what a narrow terminal cuts first
        def render(self, task: Task) -> Text:
            return Text(task.fields["said"], no_wrap=True, overflow="ellipsis")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        Rate(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        Said(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            stage, _, said = what.partition(" | ")
            if done == total:
                if stage in tasks:
                    bars.remove_task(tasks.pop(stage))
                err.print(f"{stage}: {done:,}  {said}".rstrip(), soft_wrap=True)
            elif stage in tasks:
                bars.update(tasks[stage], completed=done, total=total or None, said=said)
            elif err.is_terminal:
                tasks[stage] = bars.add_task(stage, completed=done, total=total or None, said=said)

        try:
            yield show
        except KeyboardInterrupt:
            bars.stop()
            err.print(f"Stopped. {resumes}", soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None


def _print_json(value: object) -> None:
    import json

    if not out.quiet:
        print(json.dumps(value, ensure_ascii=False, indent=1))  # noqa: T201 - for machines, so without rich


Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Folder = Annotated[Path, typer.Argument(help="Folder that `fdrd build` wrote.")]


@app.command(epilog="Example:  fdrd sample raw/ --categories 120 --pairs 2400")
def sample(
    folder: Annotated[Path, typer.Argument(help="Folder to draw into; new or empty.")],
    categories: Annotated[int, typer.Option(min=1, help="Number of fine categories.")] = 120,
    pairs: Annotated[int, typer.Option(min=1, help="Number of image-caption pairs.")] = 2400,
    seed: Annotated[int, typer.Option(help="Another seed draws another field guide.")] = 0,
    size: Annotated[int, typer.Option(min=32, max=1024, help="Height and width in pixels.")] = 128,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
) -> None:
    """Draw a raw source: images of made-up species and things, with captions and attributes."""
    from fdrd.field_guide import sample as draw_sample

    with _progress("The same command goes on from here.") as progress:
        draw_sample(
            folder,
            categories=categories,
            pairs=pairs,
            seed=seed,
            size=size,
            workers=workers,
            progress=lambda done, total: progress("drawing", done, total),
        )
    out.print(f"Drew {pairs:,} pairs of {categories:,} categories into {folder}")
    out.print(f"Next:  fdrd build --source {folder}", style="dim")


@app.command(epilog="Example:  fdrd build --source raw/ --out data/fdrd")
def build(
    source: Annotated[Path, typer.Option(help="Folder of a domain, or of folders of domains.")],
    target: Annotated[Path, typer.Option("--out", help="Folder of the dataset.")] = Path(
        "data/fdrd"
    ),
    name: Annotated[
        str, typer.Option(help="What `load_dataset` will call it on this machine.")
    ] = "fdrd",
    seed: Annotated[int, typer.Option(help="Moves the hashed splits and the hard negatives.")] = 0,
    negatives: Annotated[int, typer.Option(min=0, help="Hard negatives for each pair.")] = 4,
    attribute_negatives: Annotated[
        int, typer.Option(min=0, help="How many of them swap an attribute, not the category.")
    ] = 2,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; one per core by default.")
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse images of more pixels.")
    ] = 50_000_000,
    shard_mb: Annotated[int, typer.Option(min=1, help="Image bytes per shard, in MiB.")] = 256,
    backbone: Annotated[
        str | None, typer.Option(help="Hub id that a benchmark on this dataset uses by default.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which layout was recognised, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    r"""Build Arrow shards, a manifest and a dataset card from a raw source.

    Layouts: [b]image_folder[/], \[split/]category/image.jpg with metadata.jsonl, metadata.csv or image.txt
    beside it; [b]released[/], the authors' JSON of captions beside the images. A folder of such folders
    is a dataset of several domains.

    A rerun does nothing where nothing changed, and goes on where a run was stopped.
    """
    if explain:
        from fdrd.sources import find_domains

        for domain in find_domains(source):
            out.print(f"{domain.name}: {domain.reader}, because {domain.why}")
        return
    from fdrd.build_config import BuildConfig
    from fdrd.builder import build as run_build

    config = BuildConfig(
        name=name, seed=seed, negatives=negatives, attribute_negatives=attribute_negatives,
        max_pixels=max_pixels, shard_bytes=shard_mb * 2**20, backbone=backbone,
    )  # fmt: skip
    with _progress(
        f"What is done is kept in {target}.work; the same command goes on from there."
    ) as progress:
        built = run_build(source, target, config=config, workers=workers, progress=progress)
    if json:
        _print_json({"nothing_to_do": built.nothing_to_do, **built.manifest})
        return
    _print_build(built)


def _print_build(built: Any) -> None:
    from rich.table import Table

    records = built.manifest["records"]
    table = Table("annotations", "read", "kept", "rejected", box=None, header_style="bold")
    for file, entry in built.manifest["files"].items():
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in entry["rejected"].items())
        table.add_row(file, f"{entry['read']:,}", f"{entry['kept']:,}", reasons or "none")
    out.print(table)
    out.print(
        f"{records['read']:,} read = {records['kept']:,} kept + {records['rejected']:,} rejected"
    )
    if built.nothing_to_do:
        out.print(f"Nothing to do: {built.out} is built from this very source.")
    else:
        shards = len(built.manifest["shards"])
        out.print(
            f"Built {built.out}: {shards} shards, {built.shards_written} of them written now."
        )
    name = built.manifest["name"]
    out.print(f'From any project here:  load_dataset("{name}")')
    out.print(f"Next:  fdrd bench --method zero_shot --data {built.out}", style="dim")


@app.command(epilog="Example:  fdrd validate data/fdrd")
def validate(folder: Folder, json: Json = False) -> None:
    """Check every digest, count, span, negative and split of a dataset; exit 1 if something is wrong."""
    from dataclasses import asdict

    from fdrd.validate import validate as check

    with _progress("Nothing was changed.") as progress:
        problems = list(check(folder, progress))
    if json:
        _print_json([asdict(problem) for problem in problems])
    else:
        for problem in problems:
            out.print(f"{problem.place}: {problem.what}")
        out.print(f"{folder}: {len(problems)} problems" if problems else f"{folder}: valid")
    if problems:
        raise typer.Exit(1)


@app.command(epilog="Example:  fdrd stats data/fdrd")
def stats(folder: Folder, json: Json = False) -> None:
    """Show counts and caption lengths by domain and split."""
    from dataclasses import asdict

    from rich.table import Table

    from fdrd.stats import stats as count

    found = count(folder)
    if json:
        _print_json([asdict(split) for split in found])
        return
    heads = (
        "domain",
        "split",
        "pairs",
        "images",
        "captions",
        "shared",
        "categories",
        "words",
        "negatives",
        "attributes",
    )
    table = Table(*heads, box=None, header_style="bold")
    for split in found:
        table.add_row(
            split.domain, split.split, f"{split.pairs:,}", f"{split.images:,}", f"{split.captions:,}",
            f"{split.shared_captions:,}", f"{split.categories:,}", f"{split.words_median:g} (max {split.words_max})",
            f"{split.negatives_per_pair:.2f}", f"{split.attributes_per_pair:.2f}",
        )  # fmt: skip
    out.print(table)


@app.command(epilog="Example:  fdrd audit data/fdrd        fdrd audit --source raw/")
def audit(
    folder: Annotated[
        Path | None, typer.Argument(help="Folder that `fdrd build` wrote; or give --source.")
    ] = None,
    source: Annotated[
        Path | None, typer.Option(help="Folder of annotations; the pictures need not be there.")
    ] = None,
    blind: Annotated[
        bool, typer.Option(help="Train the text-only readers: some seconds per thousand rows.")
    ] = True,
    card: Annotated[
        bool, typer.Option(help="Put the figures on the dataset's card, README.md.")
    ] = True,
    json: Json = False,
) -> None:
    """Count flaws of captions and negatives, and see what a reader without pictures makes of them.

    The figures are put on the card of a built dataset; without the text-only readers they are there
    since the build. A source is audited file by file, after the normalisation that a build would do; how often each of
    its rules applied is printed too.
    """
    from dataclasses import asdict

    from fdrd.audit import audit as run_audit
    from fdrd.audit import tables
    from fdrd.audited import of_dataset, of_source
    from fdrd.card import put_audit
    from fdrd.manifest import read_manifest

    if (folder is None) == (source is None):
        raise FdrdError("give a built dataset, or --source with annotations")
    digest = read_manifest(folder)["digest"] if folder else ""
    records, rules = of_dataset(folder) if folder else of_source(source or Path())
    found = run_audit(records, blind=blind)
    if json:
        _print_json({"audits": [asdict(each) for each in found], "rules": rules})
    else:
        out.print(tables(found))
        for rule, count in rules.items():
            out.print(f"{count:,} times: {rule}")
    if folder and blind and card:
        err.print(f"On the card now: {put_audit(folder, found, digest)}", soft_wrap=True)


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
        Path | None, typer.Option(help="Learned tensors to use instead of training.")
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
    _register(plugin)
    import benchmark
    from benchmark.method import distribute, get_method, takes, variants_of
    from benchmark.options import split_assignments
    from benchmark.processes import is_main
    from benchmark.report import table
    from benchmark.result import to_json
    from benchmark.run import open_backbone
    from benchmark.versus import ablation_table
    from fdrd.last_build import last_build

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
    _quiet_transformers()
    out.quiet = err.quiet = not is_main()  # several processes that share a bench speak once
    tower: Any = backbone
    if any(takes(name, "backbone") for name in names):
        tower = open_backbone(backbone, where, device=device, allow_code=backbone is not None)
    with _progress(
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
        _print_json([to_json(result) for result in found])
    else:
        out.print(table(found))
        if ablate:
            out.print(ablation_table(found, named, options[ablate]))
        out.print(f"Next:  fdrd report {results}        fdrd compare {results}", style="dim")
    if failed:
        raise FdrdError("; ".join(f"{name} failed: {error}" for name, error in failed.items()))


def _quiet_transformers() -> None:
    """Keeps its bars and advice off the terminal; errors still come through."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _gallery(given: str) -> Any:
    if given in ("domain", "joint"):
        return given
    if not given.isdigit():
        raise FdrdError(f"--gallery {given}: give domain, joint or a number of images")
    return int(given)


def _register(plugins: list[str]) -> None:
    """Makes the methods of this package and of the plugins known."""
    import baselines  # noqa: F401 - registers them
    import dcar  # noqa: F401
    from benchmark.method import load_plugin

    sys.path.insert(0, "")  # a plugin may lie in the folder where the command runs
    for plugin in plugins:
        load_plugin(plugin)


@app.command(epilog="Example:  fdrd report runs/ > results.md")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")] = Path("runs"),
) -> None:
    """Print the results in a folder as Markdown: tables, ceilings, settings."""
    from benchmark.report import markdown
    from benchmark.result import read_results

    print(markdown(read_results(folder)))  # noqa: T201 - Markdown goes out as it is


@app.command(epilog="Example:  fdrd compare runs/ --against zero_shot")
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    against: Annotated[
        str | None,
        typer.Option(
            help="The method to compare with: by default dcar if it is there, else zero_shot."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Test methods against one of them, query by query: differences in MRR, intervals, p, verdicts.

    Nothing is run again: result files hold the rank of every query. Seeds of a method are averaged.
    Files must have been measured on the same data, split, gallery and backbone; in a folder, each
    such group is compared by itself.
    """
    from benchmark.versus import compare_runs, versus_json, versus_table

    found, alone = compare_runs(runs, against)
    if json:
        _print_json(versus_json(found, alone))
    else:
        out.print(versus_table(found, alone))


@app.command(epilog="Example:  fdrd methods")
def methods(
    plugin: Annotated[
        list[str], typer.Option(help="Import this module first, to know its methods.")
    ] = [],  # noqa: B006
    json: Json = False,
) -> None:
    """List the methods and their options, and the options of the training."""
    _register(plugin)
    from benchmark.method import method_names, method_options, summary
    from benchmark.options import options_of
    from benchmark.training import TrainConfig

    listed = [(name, summary(name), method_options(name)) for name in method_names()]
    training = ("training (-T)", "what every method that trains takes", options_of(TrainConfig))
    if json:
        _print_json(
            {
                name: {
                    "summary": said,
                    "options": {
                        option.name: {
                            "default": option.default,
                            "values": option.values,
                            "doc": option.doc,
                        }
                        for option in options.values()
                    },
                }
                for name, said, options in listed
            }
        )
        return
    for name, said, options in [*listed, training]:
        out.print(name, style="bold", end="  ")
        out.print(said)
        for option in options.values():
            out.print(f"    {option.name}={option.default}  ({option.values})  {option.doc}")


if __name__ == "__main__":
    main()
