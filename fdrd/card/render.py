"""Dataset card: README.md of a built dataset, rendered from DATASET_CARD.md, manifest, audit, and counts."""

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from msgspec import structs

from fdrd.build_config import BuildConfig
from fdrd.card.front_matter import dump, front_matter, put_section
from fdrd.checks.audits import Audit, markdown
from fdrd.checks.tally import Tally
from fdrd.errors import FdrdError
from fdrd.files.atomic import write_text
from fdrd.files.paths import packaged
from fdrd.reasons import REASONS, REVIEW_REASONS, RULES
from fdrd.record import KINDS, SPLITS
from fdrd.storage.manifest import Config, DomainEntry, Manifest, Tokens, read_manifest
from fdrd.text.markup import code, escape, fenced, markdown_table, visible

_FEW = 0.1  # pairs with attributes, or negatives per pair
_Row = tuple[str | int, ...]


def render_card(manifest: Manifest, audits: Sequence[Audit], tallies: Sequence[Tally]) -> str:
    """Return the card of a dataset."""
    counts = ("pairs", "images", "captions", "categories")
    splits = _by_split(manifest.splits, lambda split: [getattr(split, key) for key in counts])
    files = []
    for file, entry in manifest.files.items():
        rejected = [f"{count:,} {escape(reason)}" for reason, count in entry.rejected.items()]
        files.append((code(file), entry.read, entry.kept, ", ".join(rejected) or "none"))
    fixes = [(code(rule), RULES.get(rule, escape(rule)), n) for rule, n in manifest.rules.items()]
    issues = [
        (f"{outcome}: {(REASONS | REVIEW_REASONS).get(reason, escape(reason))}", count)
        for outcome, reasons in (("kept", manifest.reported), ("rejected", manifest.rejected))
        for reason, count in reasons.items()
    ]
    versions = [(escape(name), escape(each)) for name, each in sorted(manifest.libraries.items())]
    images = sum(split.images for splits in manifest.splits.values() for split in splits.values())
    return Template(packaged("DATASET_CARD.md").read_text(encoding="utf-8")).substitute(
        front_matter=dump(front_matter(manifest, tallies)),
        name=manifest.name,
        version=manifest.libraries["fdrd"],
        pairs=f"{manifest.records.kept:,}",
        images=f"{images:,}",
        categories=f"{len(manifest.categories):,}" if manifest.categories else "no",
        load=load_section(manifest),
        splits=_table(("domain", "split", *counts), splits, 2),
        statistics=_joined(
            _statistics(tallies),
            *map(escape, gaps(tallies)),
            _tokens(manifest.tokens),
            _verified(manifest),
        ),
        distributions=_joined(*_distributions(tallies), _pairs(tallies)),
        command=fenced(_command(manifest.config), "sh"),
        versions=_table(("library", "version"), versions, 2),
        digest=manifest.digest,
        files=_table(("annotations", "read", "kept", "rejected"), files, 1),
        rules=_table(("rule", "what it does", "times"), fixes, 2) or "None.",
        issues=_table(("issue", "rows"), issues, 1) or "None found by the builder.",
        audit=markdown(audits),
        licenses=_provenance(manifest, tallies),
        **{key: f"{value:,}" for key, value in structs.asdict(manifest.records).items()},
    )


def _table(head: Sequence[str], rows: Sequence[_Row], text_columns: int) -> str:
    """Return a Markdown table with digits of counts in groups; empty without rows."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    return markdown_table(head, cells, text_columns) if cells else ""


def _joined(*parts: str) -> str:
    """Return the parts of a section that are not empty."""
    return "\n\n".join(filter(None, parts))


def gaps(tallies: Iterable[Tally]) -> list[str]:
    """Return a sentence for each domain whose captions have hardly any attributes or hard negatives.

    >>> gaps([Tally("vögel", rows=80, english=2)])
    ['vögel: 0 of 80 pairs have attributes, and 0 hard negatives were drawn. Attributes need English words.']
    """
    found = []
    for each in tallies:
        negatives = each.negatives.total()
        if min(each.described, negatives) < _FEW * each.rows:
            foreign = each.english <= 0.5 * each.rows
            why = " Attributes need English words." if foreign else ""
            found.append(
                f"{each.domain}: {each.described:,} of {each.rows:,} pairs have attributes, and {negatives:,} hard "
                f"negatives were drawn.{why}"
            )
    return found


def load_section(manifest: Manifest, repo_id: str | None = None) -> str:
    """Return how to load the dataset, from the Hub or from its folder."""
    name = repo_id or "path/to/this/folder"
    one = code(f'load_dataset("{name}", "{next(iter(manifest.splits))}")')
    copy = (
        ' From a copy of this repository:\n`load_dataset("path/to/the/copy")`.' if repo_id else ""
    )
    return f"""## Load it

```python
from datasets import load_dataset

dataset = load_dataset("{name}")
stream = load_dataset("{name}", streaming=True)  # row by row, nothing is stored
```

One domain: {one}.{copy}"""


def put_audit(folder: Path, audits: Sequence[Audit], digest: str) -> Path:
    """Replace or append the audit on the card of a dataset, and return the card's path.

    Raise `FdrdError` if the dataset has another digest by now, or the card cannot be read or written.
    """
    path = folder / "README.md"
    if read_manifest(folder).digest != digest:
        raise FdrdError(f"{folder} was rebuilt during its audit; run `fdrd audit {folder}` again")
    try:
        card = path.read_text(encoding="utf-8")
        write_text(path, put_section(card, "audit", markdown(audits)))
    except (OSError, UnicodeDecodeError) as error:
        raise FdrdError(
            f"{path}: cannot write the audit to the card ({error}); `fdrd audit --no-card` skips it"
        ) from error
    return path


def _by_split(
    counts: Mapping[str, Mapping[Any, Any]], cells: Callable[[Any], Iterable[str | int]]
) -> list[_Row]:
    return [
        (escape(domain), split, *cells(count))
        for domain, splits in counts.items()
        for split, count in splits.items()
    ]


def _statistics(tallies: Sequence[Tally]) -> str:
    rows = [
        (
            escape(each.domain),
            *(f"{_quantile(each.words, share)}" for share in (0.05, 0.5, 0.95)),
            f"{each.attributes.total() / each.rows:.1f}",
            f"{each.described / each.rows:.0%}",
            f"{each.negatives.total() / each.rows:.1f}",
        )
        for each in tallies
    ]
    head = ("domain", "words, 5%", "median", "95%", "attributes per pair", "pairs with attributes")
    return _table((*head, "negatives per pair"), rows, 1)


def _quantile(counts: Counter[int], share: float) -> int:
    """Return the smallest value that at least `share` of the counted values do not exceed.

    >>> _quantile(Counter({3: 1, 5: 2, 9: 1}), 0.5), _quantile(Counter({3: 1}), 0.9)
    (5, 3)
    """
    wanted, seen = share * counts.total(), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    raise ValueError("nothing was counted")


def _distributions(tallies: Sequence[Tally]) -> list[str]:
    """Return tables of category sizes, attribute types, and kinds of negatives."""
    sizes = Counter(
        rows.bit_length() for each in tallies for category, rows in each.size.items() if category
    )
    attributes: Counter[str] = sum((each.attributes for each in tallies), Counter())
    negatives: Counter[str] = sum((each.negatives for each in tallies), Counter())
    classes = [(f"{2**bits // 2:,} to {2**bits - 1:,}", sizes[bits]) for bits in sorted(sizes)]
    tables = (
        (("pairs per category", "categories"), classes),
        (("attribute type", "spans"), attributes.most_common()),
        (("hard negatives by swap", "negatives"), negatives.most_common()),
    )
    return [_table(head, [(escape(name), n) for name, n in rows], 1) for head, rows in tables]


def _pairs(tallies: Sequence[Tally]) -> str:
    """Return the numbers of natural pairs by kind, domain and split; empty if there are none."""
    rows: list[_Row] = [
        (escape(each.domain), split, *(each.partners[split, kind] // 2 for kind in KINDS))
        for each in tallies
        for split in SPLITS
        if any(each.partners[split, kind] for kind in KINDS)
    ]
    return _table(("domain", "split", *(f"natural pairs by {kind}" for kind in KINDS)), rows, 2)


def _tokens(tokens: Tokens | None) -> str:
    """Return caption lengths in tokens and the number of truncated captions."""
    if tokens is None:
        return "Caption lengths in tokens were not counted: no tokenizer was available."
    rows = _by_split(tokens.splits, lambda each: [f"{each.median:g}", f"{each.max}", each.over])
    intro = (
        f"Tokens of {code(tokens.tokenizer)}, including begin and end. Its text encoder reads "
        f"{tokens.limit} tokens."
    )
    return _joined(
        intro, _table(("domain", "split", "median", "longest", "truncated rows"), rows, 2)
    )


def _verified(manifest: Manifest) -> str:
    """Return how many records reviewers verified; empty without a review."""
    if manifest.decisions is None:
        return ""
    rows = [
        (escape(domain), split, count, manifest.splits[domain][split].pairs)
        for domain, splits in manifest.decisions.verified.items()
        for split, count in splits.items()
        if count
    ]
    if not rows:
        return "No record was verified by a reviewer."
    return _joined(
        "Verified by reviewers:", _table(("domain", "split", "verified", "pairs"), rows, 2)
    )


def _command(config: Config) -> str:
    """Return the build command with all options that differ from the default."""
    defaults = asdict(BuildConfig())
    words = ["fdrd", "build", "--source", "SOURCE"]
    for option, value in structs.asdict(config).items():
        if value == defaults.get(option):
            continue
        if isinstance(value, Mapping):
            chosen = [
                f"{key}={each}" for key, each in value.items() if each != defaults[option].get(key)
            ]
            words += [f"--{option} {shlex.quote(each)}" for each in chosen]
        elif option == "shard_bytes":
            words.append(f"--shard-mb {value // 2**20}")
        else:
            words.append(f"--{option.replace('_', '-')} {shlex.quote(str(value))}")
    return " ".join(" ".join(words).split())  # a line could look like the mark of a section


def _provenance(manifest: Manifest, tallies: Sequence[Tally]) -> str:
    """Return the licenses and origin of each domain, and the works to cite."""
    about = {domain.name: domain for domain in manifest.domains}
    rows = []
    for each in tallies:
        domain = about.get(each.domain, DomainEntry(each.domain, ""))
        address = visible(domain.homepage).replace("|", "%7C")
        origin = f"<{address}>" if address else "not stated"
        reader = code(domain.reader)
        rows += [
            (escape(each.domain), escape(license), reader, origin, count)
            for license, count in sorted(each.licenses.items())
        ]
    citations = [
        f"- {escape(name)}: {escape(domain.citation)}"
        for name, domain in about.items()
        if domain.citation
    ]
    table = _table(("domain", "license", "layout", "origin", "rows"), rows, 4)
    return "\n".join([table, "", "Cite the sources:", "", *citations]) if citations else table
