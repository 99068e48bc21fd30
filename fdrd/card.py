"""The dataset card: README.md of a built dataset, rendered from DATASET_CARD.md, manifest and audit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from fdrd.atomic import write_text
from fdrd.audit import Audit, markdown
from fdrd.error import FdrdError
from fdrd.manifest import read_manifest
from fdrd.markup import code, escape
from fdrd.reasons import REASONS, RULES

_PACKAGE = Path(__file__).parent
# The wheel carries the template inside the package; a checkout has it at the top.
_TEMPLATE = next(
    path
    for path in (_PACKAGE / "DATASET_CARD.md", _PACKAGE.parent / "DATASET_CARD.md")
    if path.is_file()
)
_SECTION = re.compile(r"^## Audit$.*?(?=\n## |\Z)", re.MULTILINE | re.DOTALL)


def render_card(manifest: dict[str, Any], audits: Sequence[Audit]) -> str:
    """The card of a dataset."""
    counts = [
        (
            escape(domain),
            split,
            *(f"{count[column]:,}" for column in ("pairs", "images", "captions", "categories")),
        )
        for domain, splits in manifest["splits"].items()
        for split, count in splits.items()
    ]
    files = [
        (
            code(file),
            f"{entry['read']:,}",
            f"{entry['kept']:,}",
            ", ".join(f"{count:,} {reason}" for reason, count in entry["rejected"].items())
            or "none",
        )
        for file, entry in manifest["files"].items()
    ]
    mended = [(f"`{rule}`", f"{count:,}", RULES[rule]) for rule, count in manifest["rules"].items()]
    flaws = [
        (f"{count:,}", f"kept: {REASONS[reason]}") for reason, count in manifest["reported"].items()
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
        rules=table(("rule", "times", "what it does"), mended) if mended else "Nothing had to be.",
        reported=table(("rows", "flaw"), flaws) if flaws else "None that the builder looks for.",
        audit=markdown(audits),
        licences=table(
            ("licence", "rows"),
            [(escape(name), f"{rows:,}") for name, rows in manifest["licences"].items()],
        ),
        **{key: f"{value:,}" for key, value in manifest["records"].items()},
    )


def put_audit(folder: Path, audits: Sequence[Audit], digest: str) -> Path:
    """Puts an audit in the place of the one on a dataset's card, or at its end; all else stays.

    Args:
        folder: of the dataset.
        audits: of all its domains.
        digest: of the dataset that was audited, as its manifest gives it.

    Returns:
        The card.

    Raises:
        FdrdError: there is no card, it cannot be written, or the dataset is another by now.
    """
    path = folder / "README.md"
    if read_manifest(folder)["digest"] != digest:
        raise FdrdError(
            f"{folder} was built again during its audit; run `fdrd audit {folder}` again"
        )
    try:
        card = path.read_text(encoding="utf-8")
        write_text(path, with_audit(card, audits))
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(
            f"{path}: the audit could not be put on the card ({error}); give --no-card to leave it alone"
        ) from error
    return path


def with_audit(card: str, audits: Sequence[Audit]) -> str:
    """A card with this audit in the place of its own, or at its end where it has none."""
    section = markdown(audits)
    if _SECTION.search(card):
        return _SECTION.sub(lambda _: section, card, count=1)
    return f"{card.rstrip()}\n\n{section}"


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
