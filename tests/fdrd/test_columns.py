"""The columns, the card and the registration have the forms that `datasets` writes."""

import json

import pytest
import yaml
from datasets import ClassLabel, DatasetInfo, Features, Image, List, SplitDict, SplitInfo, Value
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCardData

from fdrd.build_config import BuildConfig
from fdrd.columns import arrow_schema, features, in_card
from fdrd.pipeline.builder import build

TEXT, INTEGER = Value("string"), Value("int32")


def of_datasets(categories, named):
    return Features(
        {
            "id": TEXT,
            "image": Image(),
            "caption": TEXT,
            "category": ClassLabel(names=categories),
            **({"category_name": TEXT} if named else {}),
            "meta_category": TEXT,
            "domain": TEXT,
            "attributes": List({"type": TEXT, "value": TEXT, "start": INTEGER, "end": INTEGER}),
            "negatives": List(
                {"caption": TEXT, "category": TEXT, "kind": TEXT, "attribute_type": TEXT}
            ),
            "natural_pairs": List({"kind": TEXT, "id": TEXT}),
            "group": TEXT,
            "source": {"file": TEXT, "sha256": TEXT, "license": TEXT, "origin": TEXT},
            "width": INTEGER,
            "height": INTEGER,
        }
    )


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("categories", [[], ["wren", "é"]])
def test_each_form_is_that_of_datasets(categories, named):
    expected = of_datasets(categories, named)
    assert json.dumps(features(categories, named=named)) == json.dumps(expected.to_dict())
    schema = arrow_schema(categories, named=named)
    assert schema.equals(expected.arrow_schema, check_metadata=True)
    assert schema.serialize() == expected.arrow_schema.serialize()
    assert json.dumps(in_card(features(categories, named=named))) == json.dumps(
        expected._to_yaml_list()
    )


@pytest.mark.parametrize("format", ["arrow", "parquet"])
def test_card_and_registration_are_those_of_datasets(birds, tmp_path, own_cache, format):
    config = BuildConfig(shard_bytes=2000, format=format)
    manifest = build(birds, tmp_path / "out", config=config, workers=1).manifest
    columns = of_datasets(manifest.categories, format == "parquet")
    (domain,) = manifest.splits
    infos = DatasetInfosDict()
    for name in ("default", domain):
        splits = SplitDict(dataset_name="fdrd")
        for split in dict.fromkeys(shard.split for shard in manifest.shards):
            of_split = [shard for shard in manifest.shards if shard.split == split]
            size, rows = sum(each.bytes for each in of_split), [each.rows for each in of_split]
            about = {"shard_lengths": rows, "dataset_name": "fdrd"}
            splits.add(SplitInfo(split, size, sum(rows), **about))
        size = sum(shard.bytes for shard in manifest.shards)
        names = {"builder_name": "fdrd", "dataset_name": "fdrd", "config_name": name}
        about = {"splits": splits, "version": "0.0.0", "dataset_size": size, **names}
        registered = DatasetInfo(features=of_datasets(manifest.categories, False), **about)
        registered.write_to_directory(str(tmp_path))
        (written,) = own_cache.rglob(f"fdrd/{name}/0.0.0/*/dataset_info.json")
        assert written.read_bytes() == (tmp_path / "dataset_info.json").read_bytes()
        sizes = {"download_size": size, "dataset_size": size}
        infos[name] = DatasetInfo(features=columns, splits=splits, **sizes)
    data = DatasetCardData()
    infos.to_dataset_card_data(data)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---\n")[1])
    assert json.dumps(front["dataset_info"]) == json.dumps(data["dataset_info"])
