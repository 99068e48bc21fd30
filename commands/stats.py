"""`fdrd stats`."""

from __future__ import annotations

from commands.console import Folder, Json, app, out, print_json


@app.command(epilog="Example:  fdrd stats data/fdrd")
def stats(folder: Folder, json: Json = False) -> None:
    """Show counts and caption lengths by domain and split."""
    from dataclasses import asdict

    from rich.table import Table

    from fdrd.stats import stats as count

    found = count(folder)
    if json:
        print_json([asdict(split) for split in found])
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
