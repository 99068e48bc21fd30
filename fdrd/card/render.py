"""The dataset card: README.md of a built dataset, rendered from DATASET_CARD.md, manifest, audit and counts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from fdrd.build_config import BuildConfig
from fdrd.card.front_matter import dump, front_matter
from fdrd.card.plots import Plot
from fdrd.card.sections import put_section
from fdrd.card.summary import Summary, quantile
from fdrd.checks.audit_tables import markdown
from fdrd.checks.audits import Audit
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.reasons import REASONS, REVIEW_REASONS, RULES
from fdrd.storage.manifest import read_manifest
from fdrd.text.markup import code, escape, markdown_table

_PACKAGE = Path(__file__).parents[1]
# The wheel carries the template inside the package; a checkout has it at the top.
_TEMPLATE = next(
    path
    for path in (_PACKAGE / "DATASET_CARD.md", _PACKAGE.parent / "DATASET_CARD.md")
    if path.is_file()
)


def render_card(
    manifest: dict[str, Any],
    audits: Sequence[Audit],
    summaries: Sequence[Summary],
    plots: Sequence[Plot],
) -> str:
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
        (f"{count:,}", f"rejected: {(REASONS | REVIEW_REASONS)[reason]}")
        for reason, count in manifest["rejected"].items()
    ]
    images = sum(split["images"] for of in manifest["splits"].values() for split in of.values())
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        front_matter=dump(front_matter(manifest, summaries)),
        name=manifest["name"],
        version=manifest["libraries"]["fdrd"],
        pairs=f"{manifest['records']['kept']:,}",
        images=f"{images:,}",
        categories=f"{len(manifest['categories']):,}",
        load=load_section(manifest),
        splits=markdown_table(
            ("domain", "split", "pairs", "images", "distinct captions", "categories"), counts
        ),
        statistics=f"{_statistics(summaries)}\n\n{_tokens(manifest['tokens'])}{_verified(manifest)}",
        plots="\n\n".join(f"![{plot.text}]({plot.path})" for plot in plots),
        command=_command(manifest["config"]),
        versions=markdown_table(("library", "version"), sorted(manifest["libraries"].items())),
        digest=manifest["digest"],
        files=markdown_table(("annotations", "read", "kept", "rejected"), files),
        rules=markdown_table(("rule", "times", "what it does"), mended)
        if mended
        else "Nothing had to be.",
        reported=markdown_table(("rows", "flaw"), flaws)
        if flaws
        else "None that the builder looks for.",
        audit=markdown(audits),
        licences=_provenance(manifest, summaries),
        **{key: f"{value:,}" for key, value in manifest["records"].items()},
    )


def load_section(manifest: Mapping[str, Any], repo_id: str | None = None) -> str:
    """How to load the dataset: from the Hub's repository, or on the machine that built it."""
    name = repo_id or manifest["name"]
    where = "" if repo_id else "  # on the machine that built it, from any folder"
    one = code(f'load_dataset("{name}", "{next(iter(manifest["splits"]))}")')
    return f"""## Load it

```python
from datasets import load_dataset

dataset = load_dataset("{name}"){where}
stream = load_dataset("{name}", streaming=True)  # row by row, nothing is stored
```

One domain: {one}. From a copy of this repository:
`load_dataset("path/to/the/copy")`."""


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
    return put_section(card, "audit", markdown(audits))


def _statistics(summaries: Sequence[Summary]) -> str:
    """Lengths of captions, attributes and negatives of each domain."""
    rows = [
        (
            escape(each.domain),
            *(f"{quantile(each.words, share)}" for share in (0.05, 0.5, 0.95)),
            f"{each.attributes.total() / each.rows:.1f}",
            f"{each.described / each.rows:.0%}",
            f"{each.negatives.total() / each.rows:.1f}",
        )
        for each in summaries
    ]
    head = ("domain", "words, 5 %", "median", "95 %", "attributes per pair", "pairs with any")
    return markdown_table((*head, "negatives per pair"), rows)


def _tokens(tokens: Mapping[str, Any] | None) -> str:
    """Lengths of captions in tokens, and how many a text tower cuts off."""
    if tokens is None:
        return "Tokens of captions were not counted: no tokenizer was at hand."
    rows = [
        (escape(domain), split, f"{found['median']:g}", f"{found['max']}", f"{found['over']:,}")
        for domain, splits in tokens["splits"].items()
        for split, found in splits.items()
    ]
    said = (
        f"Tokens by the tokenizer {code(tokens['tokenizer'])}, begin and end included; its text tower "
        f"reads {tokens['limit']}."
    )
    return f"{said}\n\n" + markdown_table(
        ("domain", "split", "median", "longest", "rows cut off"), rows
    )


def _verified(manifest: Mapping[str, Any]) -> str:
    """Return the records that reviewers verified, by domain and split; nothing without a review."""
    if "decisions" not in manifest:
        return ""
    rows = [
        (escape(domain), split, f"{count:,}", f"{manifest['splits'][domain][split]['pairs']:,}")
        for domain, splits in manifest["decisions"]["verified"].items()
        for split, count in splits.items()
        if count
    ]
    if not rows:
        return "\n\nNo record was verified by a reviewer."
    return "\n\nVerified by reviewers:\n\n" + markdown_table(
        ("domain", "split", "verified", "pairs"), rows
    )


def _command(config: Mapping[str, Any]) -> str:
    """The command that built it: options that are not the default, and a place for the source."""
    plain = asdict(BuildConfig())
    words = ["fdrd", "build", "--source", "SOURCE"]
    for option, value in config.items():
        if value == plain.get(option):
            continue
        if isinstance(value, Mapping):
            chosen = [(key, each) for key, each in value.items() if each != plain[option].get(key)]
            words += [f"--{option} {shlex.quote(f'{key}={each}')}" for key, each in chosen]
        elif option == "shard_bytes":
            words.append(f"--shard-mb {value // 2**20}")
        else:
            words.append(f"--{option.replace('_', '-')} {shlex.quote(str(value))}")
    return " ".join(words)


def _provenance(manifest: Mapping[str, Any], summaries: Sequence[Summary]) -> str:
    """Licences of the rows of each domain, and where the domain comes from."""
    about = {domain["name"]: domain for domain in manifest["domains"]}
    rows = []
    for each in summaries:
        said = about.get(each.domain, {})
        origin = f"<{said['homepage']}>" if said.get("homepage") else "not stated"
        for licence, count in sorted(each.licences.items()):
            reader = code(str(said.get("reader", "")))
            rows.append((escape(each.domain), escape(licence), f"{count:,}", reader, origin))
    cited = [
        f"{escape(name)}: {escape(said['citation'])}"
        for name, said in about.items()
        if said.get("citation")
    ]
    found = markdown_table(("domain", "licence", "rows", "layout", "origin"), rows)
    return found + (
        "\n\nCite the sources:\n\n" + "\n".join(f"- {c}" for c in cited) if cited else ""
    )
