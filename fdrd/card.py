"""The dataset card: README.md of a built dataset, rendered from DATASET_CARD.md and the manifest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from fdrd.reasons import REASONS, RULES

_PACKAGE = Path(__file__).parent
# The wheel carries the template inside the package; a checkout has it at the top.
_TEMPLATE = next(
    path
    for path in (_PACKAGE / "DATASET_CARD.md", _PACKAGE.parent / "DATASET_CARD.md")
    if path.is_file()
)
_REPORTED = {
    "caption_in_other_split": "rows whose caption also stands, on another image, in another split",
}


def render_card(manifest: dict[str, Any]) -> str:
    """The card of a dataset."""
    counts = [
        (
            domain,
            split,
            *(f"{count[column]:,}" for column in ("pairs", "images", "captions", "categories")),
        )
        for domain, splits in manifest["splits"].items()
        for split, count in splits.items()
    ]
    files = [
        (
            f"`{escape(file)}`",
            f"{entry['read']:,}",
            f"{entry['kept']:,}",
            ", ".join(f"{count:,} {reason}" for reason, count in entry["rejected"].items())
            or "none",
        )
        for file, entry in manifest["files"].items()
    ]
    mended = [(f"`{rule}`", f"{count:,}", RULES[rule]) for rule, count in manifest["rules"].items()]
    flaws = [
        (f"{count:,}", _REPORTED[flaw]) for flaw, count in manifest["reported"].items() if count
    ]
    flaws += [
        (f"{count:,}", f"rejected: {REASONS[reason]}")
        for reason, count in manifest["rejected"].items()
    ]
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        front_matter=_front_matter(manifest),
        name=manifest["name"],
        version=manifest["libraries"]["fdrd"],
        pairs=f"{manifest['records']['kept']:,}",
        categories=f"{len(manifest['categories']):,}",
        first_domain=next(iter(manifest["splits"])),
        splits=table(
            ("domain", "split", "pairs", "images", "distinct captions", "categories"), counts
        ),
        files=table(("annotations", "read", "kept", "rejected"), files),
        rules=table(("rule", "records", "what it does"), mended)
        if mended
        else "Nothing had to be.",
        reported=table(("rows", "flaw"), flaws) if flaws else "None that the builder looks for.",
        licences=table(
            ("licence", "rows"),
            [(escape(name), f"{rows:,}") for name, rows in manifest["licences"].items()],
        ),
        **{key: f"{value:,}" for key, value in manifest["records"].items()},
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    >>> print(table(("a", "b"), [("1", "2")]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|"
        for line in lines
    )


def escape(text: str) -> str:
    r"""Text of a source as a cell of a Markdown table, unable to break out of it or to carry HTML.

    >>> escape("a|b<script>")
    'a\\|b&lt;script&gt;'
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("\\", "\\\\").replace("|", "\\|").replace("`", "\\`")


def _front_matter(manifest: dict[str, Any]) -> str:
    """The YAML that tells the loader of `datasets` which shards belong to which config and split."""
    configs = [("default", list(manifest["splits"]))] + [
        (name, [name]) for name in manifest["splits"]
    ]
    lines = ["configs:"]
    for config, domains in configs:
        lines.append(f"- config_name: {json.dumps(config)}")
        if config == "default":
            lines.append("  default: true")
        lines.append("  data_files:")
        splits = dict.fromkeys(
            shard["split"] for shard in manifest["shards"] if shard["domain"] in domains
        )
        for split in splits:
            lines.append(f"  - split: {split}")
            lines.append("    path:")
            lines += [
                f"    - {json.dumps(f'data/{domain}/{split}-*')}"
                for domain in domains
                if split in manifest["splits"][domain]
            ]
    return "\n".join(lines) + "\n"
