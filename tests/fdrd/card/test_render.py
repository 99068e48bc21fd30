"""Dataset card: sections, metadata, and the audit; text of a source cannot leave its table cell."""

import re
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
from datasets import load_dataset
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard
from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.card.front_matter import front_matter, put_section, put_sections, section, sections
from fdrd.card.render import put_audit
from fdrd.checks.audits import audit_records, dataset_records, markdown
from fdrd.checks.tally import Tally
from fdrd.checks.validation import validate
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build


@pytest.fixture
def built(built_birds, tmp_path):
    """A copy of the dataset of birds, whose card may be changed."""
    out = shutil.copytree(built_birds.out, tmp_path / "out")
    return SimpleNamespace(out=out, manifest=built_birds.manifest)


@pytest.fixture(scope="module")
def audited(built_birds):
    """The dataset's audit, text-only baseline included, and its digest."""
    return audit_records(dataset_records(built_birds.out)[0]), built_birds.manifest.digest


def headings(card):
    return [line for line in card.splitlines() if line.startswith("## ")]


def test_the_card_of_a_build_has_the_audit_without_the_text_only_baseline(built):
    card = (built.out / "README.md").read_text()
    place = headings(card).index("## Audit")
    assert headings(card)[place - 1 : place + 2] == ["## Known issues", "## Audit", "## Licenses"]
    records, _ = dataset_records(built.out)
    negatives = sum(len(record.negatives) for record in records)
    assert f"| rows | {len(records)} |" in card
    assert f"| negatives | {negatives} |" in card
    assert "`fdrd audit` on this folder" in card
    assert "**Text-only baseline" not in card


def test_an_audit_adds_the_text_only_baseline_and_changes_nothing_else(built, audited):
    path = built.out / "README.md"
    before = path.read_text()
    assert put_audit(built.out, *audited) == path
    card = path.read_text()
    assert "**Text-only baseline" in card
    assert "`fdrd audit` on this folder" not in card
    assert put_section(card, "audit", "") == put_section(before, "audit", "")
    assert headings(card) == headings(before)
    put_audit(built.out, *audited)
    assert path.read_text() == card


def test_an_audited_card_is_valid_and_stays_until_the_next_build(birds, tmp_path, audited, draw):
    out = build(birds, tmp_path / "out", workers=1).out
    path = put_audit(out, *audited)
    card = path.read_text()
    assert list(validate(out)) == []
    assert build(birds, out, workers=1).nothing_to_do
    assert path.read_text() == card
    (birds / "train/wren/02.png").write_bytes(draw(99))
    build(birds, out, workers=1)
    assert "**Text-only baseline" not in path.read_text()


def test_the_audit_is_appended_to_a_card_written_by_hand(built, audited):
    path = built.out / "README.md"
    path.write_text("# My birds\n\nNo audit yet.\n")
    put_audit(built.out, *audited)
    mine = section("audit", markdown(audited[0]))
    assert path.read_text() == f"# My birds\n\nNo audit yet.\n\n{mine}\n"


def test_an_audit_of_an_earlier_build_or_without_a_card_is_not_added(built, audited):
    card = built.out / "README.md"
    before = card.read_text()
    with pytest.raises(FdrdError, match="was rebuilt during its audit; run `fdrd audit"):
        put_audit(built.out, audited[0], "0" * 64)
    assert card.read_text() == before
    card.unlink()
    with pytest.raises(FdrdError, match=r"README.md: .* `fdrd audit --no-card` skips it"):
        put_audit(built.out, *audited)
    assert not card.exists()


def test_text_of_a_source_cannot_leave_its_cell(built):
    records = [
        replace(record, domain="a|b\n## Licenses\n<img src=x>", caption=f"[x](y) <b>| {n}")
        for n, record in enumerate(dataset_records(built.out)[0])
    ]
    section = markdown(audit_records(records, text_only=False))
    assert headings(section) == ["## Audit"]
    assert r"a\|b \#\# Licenses \<img src=x\>" in section
    lines = section.splitlines()
    words = next(line for line in lines if line.startswith("| more frequent in true"))
    assert r"\[x\](y) " in words
    assert not {"<b>", "[x]"} & set(words.split())


def test_two_domains_share_labels_unless_categories_clash(two_domains, tmp_path):
    built = build(two_domains, tmp_path / "out", workers=1)
    assert built.manifest.categories == ["birds: wren", "cat", "pets: wren", "robin"]
    assert built.configs == ["birds", "pets", "default"]
    assert list(validate(built.out)) == []
    train = load_view(built.out, "train", "pets")
    swaps = [swap for row in train.negatives for swap in row if swap.kind == "category"]
    assert {swap.category for swap in swaps} == {"cat", "pets: wren"}
    found = audit_records(dataset_records(built.out)[0], text_only=False)
    assert [each.domain for each in found] == ["birds", "pets"]
    assert [each.flaws["category_not_named"] for each in found] == [0, 0]
    assert {record.category for record in dataset_records(built.out)[0]} == {"cat", "robin", "wren"}
    assert "| rows | 49 | 30 |" in (built.out / "README.md").read_text()


def test_the_metadata_parse_with_huggingface_hub_and_describe_the_data(built):
    card = DatasetCard.load(built.out / "README.md")
    again = DatasetCard(str(card))
    assert again.data.to_dict() == card.data.to_dict()
    assert again.text == card.text
    assert card.data.language == ["en"]
    assert card.data.size_categories == ["n<1K"]
    assert "arxiv:2508.04028" in card.data.tags
    infos = DatasetInfosDict.from_dataset_card_data(card.data)
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert set(infos) == set(configs) == {"default", "raw"}
    loaded = load_dataset(str(built.out), "raw")
    for split, rows in loaded.items():
        assert infos["raw"].splits[split].num_examples == rows.num_rows
        assert infos["raw"].features == rows.features


def test_licenses_unknown_to_the_hub_are_named(built):
    licenses = {"CC-BY-4.0": 3, "Flickr terms": 1, "unknown": 1}
    manifest = replace(built.manifest, licenses=licenses)
    data = front_matter(manifest, [Tally("birds", rows=2)])
    assert data["license"] == ["cc-by-4.0", "unknown", "other"]
    assert data["license_name"] == "Flickr terms"
    assert "language" not in data  # captions without English words


def test_the_card_counts_categories_attributes_and_negatives(built):
    statistics = sections((built.out / "README.md").read_text())["statistics"]
    records, _ = dataset_records(built.out)
    types = Counter(span.type for record in records for span in record.attributes)
    for type_, count in types.items():
        assert f"| {type_} | {count:,} |" in statistics
    swaps = Counter(swap.kind for record in records for swap in record.negatives)
    assert f"| category | {swaps['category']:,} |" in statistics
    sizes = Counter(record.category for record in records)
    assert sum(int(n) for n in re.findall(r"\| \d+ to \d+ \| (\d+) \|", statistics)) == len(sizes)


def test_the_card_names_the_options_of_its_build(birds, tmp_path):
    config = BuildConfig(seed=3, shard_bytes=2**20, policy={"duplicate_pair": "keep"})
    card = (build(birds, tmp_path / "out", config=config, workers=1).out / "README.md").read_text()
    section_text = sections(card)["build"]
    command = "fdrd build --source SOURCE --seed 3 --shard-mb 1 --policy duplicate_pair=keep\n"
    assert command in section_text


def test_a_section_ends_only_at_its_own_mark():
    card = "Mine\n" + section("a", "| <!-- /fdrd:a --> |\nold") + "\nYours\n" + section("b", "x")
    put = put_sections(card, {"a": "new", "c": "more"})
    assert put == f"Mine\n{section('a', 'new')}\nYours\n\n{section('c', 'more')}\n"
    assert sections(put) == {"a": "new", "c": "more"}
    assert put_sections(put.replace("\n", "\r\n"), {"a": "z"}).startswith("Mine\r\n<!-- fdrd:a -->")


def test_of_very_many_categories_only_the_default_config_is_described(birds, tmp_path, monkeypatch):
    monkeypatch.setattr("fdrd.card.front_matter._MAX_CLASS_NAMES", 3)
    built = build(birds, tmp_path / "out", workers=1)
    card = DatasetCard.load(built.out / "README.md")
    assert set(DatasetInfosDict.from_dataset_card_data(card.data)) == {"default"}
    rows = load_dataset(str(built.out), "raw", split="test")
    assert rows.features["category"].names == built.manifest.categories
