"""The files that fdrd reads back: any bytes give a value, or an `FdrdError` of one short line.

Parsers are run on valid files, on mutations of them, and on inputs that once broke one.
"""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from fuzz.driver import run_mutations
from msgspec import to_builtins

import benchmark
from benchmark.checkpoint import read_header
from benchmark.experiments.plan import read_experiment
from benchmark.models.conversion import read_config
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.tensor_files import read_tensors
from benchmark.rank_metrics import DIRECTIONS, QueryGroups, by_part, rank_metrics
from benchmark.reporting.published import read_published
from benchmark.result import read_result
from benchmark.training.row_selection import read_categories
from fdrd.captioning.captioners.from_table import read_table
from fdrd.captioning.interface import Answer, AnswerCache
from fdrd.captioning.wording import read_questions, read_verdict
from fdrd.card.front_matter import DATA_KEYS, merge_cards
from fdrd.card.render import load_section
from fdrd.checks.statistics import stats
from fdrd.checks.validation import validate
from fdrd.columns import arrow_schema
from fdrd.curation.decisions import apply_to_record, in_effect, read_decisions
from fdrd.dataset import load_view
from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of
from fdrd.pipeline.collect import read_ledger
from fdrd.record import Attribute, ImageRef, Record, Source
from fdrd.storage.manifest import read_manifest
from fdrd.storage.publish import work_folder
from fdrd.storage.resume import is_built_from, reusable_shards
from fdrd.viewer.rejections import read_rejected
from tests.running import made_settings
from tests.scenes import image_bytes

RED = Attribute("color", "red", 2, 5)
RECORD = Record(
    "d/1", ImageRef("a.png"), "A red cat.", "cat", Source("a.png"), "d", attributes=(RED,)
)


def _result(file):
    result = read_result(file)
    for form in ("markdown", "html", "latex", "csv"):
        benchmark.report([result], format=form)


def _header(file):
    data = file.read_bytes().decode("utf-8", "surrogateescape")
    tensors = safetensors.torch.save({"a": torch.zeros(1)}, {"fdrd": "X"})
    text = json.dumps(data.encode("utf-8", "replace").decode()).encode()
    start = tensors.replace(b'"X"', text)
    length = int.from_bytes(tensors[:8], "little") + len(text) - 3
    file.write_bytes(length.to_bytes(8, "little") + start[8:])
    read_header(file)


def _manifest(file):
    manifest = read_manifest(file.parent)
    load_section(manifest)


def _decisions(file):
    for decision in in_effect(read_decisions(file)[0]):
        apply_to_record(RECORD, decision)


def _work(file):
    out = file.parent
    (out / "manifest.json").write_text("{}")
    work = work_folder(out)
    work.mkdir()
    for name in ("last.json", "shards.jsonl"):
        (work / name).write_bytes(file.read_bytes())
    is_built_from(out, "x")
    reusable_shards(out)


def _shard(file):
    """Read a dataset whose digests fit to the shard."""
    shard = file.parent / _MANIFEST["shards"][0]["path"]
    shard.parent.mkdir(parents=True)
    shard.write_bytes(file.read_bytes())
    listed = {**_MANIFEST["shards"][0], "bytes": shard.stat().st_size, "sha256": sha256_of(shard)}
    (file.parent / "manifest.json").write_text(json.dumps({**_MANIFEST, "shards": [listed]}))
    list(validate(file.parent, images=True))
    stats(file.parent)
    view = load_view(file.parent, "train")
    view.records(range(len(view)))
    view.images(range(len(view.image_digests)))


def _shard_seed():
    data = image_bytes(0)
    source = {"file": "a.png", "sha256": hashlib.sha256(data).hexdigest(), "license": "mit"}
    swap = {"caption": "A black cat.", "category": "cat", "kind": "attribute"}
    row = {**to_builtins(RECORD), "image": {"bytes": data, "path": "a.png"}, "category": 0}
    row |= {"source": source | {"origin": "a.csv: 1"}, "width": 24, "height": 16, "group": "g"}
    row |= {"meta_category": "", "negatives": [swap | {"attribute_type": "color"}]}
    row |= {"natural_pairs": [{"kind": "category", "id": "d/2"}]}
    file, schema = io.BytesIO(), arrow_schema(["cat"])
    with pa.ipc.new_stream(file, schema) as stream:
        stream.write_table(pa.Table.from_pylist([row, row | {"id": "d/2"}], schema))
    return file.getvalue()


def _rejected(file):
    read_rejected(file.parent)


def _features(file):
    place = file.parent / "f" / "images"
    place.mkdir(parents=True)
    (place / "a.json").write_bytes(file.read_bytes())
    (place / "a.npy").write_bytes(b"x")
    FrozenFeatures(file.parent)._tower("f", "images")


def _answers(file):
    with AnswerCache(file) as answers:
        answer = answers.get("a")
        assert answer is None or isinstance(answer.text, str)
        answers.put("b", Answer("A cat.", 1, 1), "m")


def _answers_seed():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "a.sqlite")
        with AnswerCache(file) as answers:
            answers.put("a", Answer("A cat.", 1, 1), "m")
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        connection.close()
        return file.read_bytes()


def _weights_seed(zipped):
    file = io.BytesIO()
    content = {"state_dict": {"module.a": torch.zeros(2), "b": torch.zeros(1, dtype=torch.half)}}
    torch.save({**content, "epoch": 1}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


_CARD = (
    "---\nlicense: [mit]\ntags:\n- a\n---\n# x\n\n<!-- fdrd:load -->\nload\n<!-- /fdrd:load -->\n"
)
_DIGEST = "0" * 64
_MANIFEST = {
    "schema_version": 2,
    "name": "x",
    "config": {"name": "x", "seed": 0, "negatives": 4, "attribute_negatives": 2, "max_pixels": 1}
    | {"min_side": 8, "max_aspect": 20.0, "max_caption": 500, "shard_bytes": 1, "format": "arrow"}
    | {"backbone": None, "policy": {}},
    "libraries": {"fdrd": "1"},
    "domains": [{"name": "d", "reader": "table"}],
    "records": {"read": 2, "kept": 2, "rejected": 0},
    "files": {"a.csv": {"read": 1, "kept": 1, "rejected": {}}},
    **{key: {} for key in ("rejected", "rules", "reported")},
    **{"licenses": {"mit": 1}, "backbone": None, "tokens": None, "categories": ["cat"]},
    "splits": {"d": {"train": {"pairs": 2, "images": 2, "captions": 2, "categories": 1}}},
    "shards": [
        {"path": "data/d/train-00000-of-00001.arrow", "domain": "d", "split": "train", "rows": 2}
        | {"bytes": 1, "sha256": _DIGEST, "key": _DIGEST, "rules": {}}
    ],
    "digest": _DIGEST,
}
_DECISION = {"record": "d/1", "digest": "x", "reviewer": "r", "time": "t"}
_EXPERIMENT = b"""data = "x"
methods = ["zero_shot", {method = "coop", label = "a", options = {n_ctx = 2}}]
backbones = ["embedded"]
seeds = 2
[train]
epochs = 1
[[protocols]]
shots = [1, "all"]
[tuning]
steps = 20
"""


def _json(value):
    return json.dumps(value).encode()


def _result_seed():
    first = {way: {"strict": np.ones(2, int), "caption": np.ones(2, int)} for way in DIRECTIONS}
    groups = QueryGroups(np.arange(2), np.arange(2), joint=False)
    by_direction, by_domain = rank_metrics(first, groups)
    (by_category,) = by_part(first, [np.ones((2, 2), bool)])
    named = {"name": "x", "fingerprint": _DIGEST}
    nothing = "train seed domain train_domain categories half shots checkpoint".split()
    settings = dict.fromkeys(nothing) | {"method": "zero_shot", "code": _DIGEST, "split": "test"}
    settings |= {key: {} for key in ("options", "options_given", "train_given", "learned_from")}
    settings |= {"gallery": "domain", "data": named, "backbone": named, "remarks": {"a": "b."}}
    share = {"accuracy": 0.5, "rows": 2, "chance": 0.2, "text_only": None}
    metrics = {
        "by_direction": by_direction,
        "hard_negatives": {"all": share, "category": share},
        "by_domain": dict(zip("de", by_domain, strict=True)),
        "by_category": {"cat": by_category},
    }
    ranks = {"strict": "1 1", "caption": "1 1"}
    epoch = {"loss": 1.0, "validation_mrr": 0.5, "seconds": 1.0, "step": 3}
    return {
        "schema_version": 4,
        "settings": settings,
        "learned_parameters": 0,
        "fit": {"epochs": [epoch], "best_epoch": 1, "untrained_mrr": 0.1},
        "metrics": to_builtins(metrics),
        "queries": {"image_of_row": "0 1", "domain_of_image": "0 1"},
        "ranks": {"image_to_text": ranks, "text_to_image": ranks},
        "seconds": {"fit": 0.0, "encode": 1.0, "measure": 1.0},
        "versions": {"torch": "2"},
    }


_SETTINGS = {"options": {"n_ctx": 2}, "train": {"epochs": 1}}
_HEADER = {"settings": asdict(made_settings("coop", **_SETTINGS)), "tensors": _DIGEST}
_PUBLISHED = {"source": "x", "domains": {"d": {"CLIP": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}}}
_PUBLISHED["ours"] = {"DCAR": "dcar"}
_CHECK = {"path": "a.png", "member": "", "size": 1, "mtime_ns": 1, "sha256": _DIGEST}
_CHECK |= {"width": 2, "height": 2, "reason": ""}
_FEATURES = {"backbone": "f", "sha256": _DIGEST, "shape": [1, 2], "keys": ["a"]}
_OPEN_CLIP = {"embed_dim": 1, "vision_cfg": {}, "text_cfg": {"context_length": 7}}
_SPAN = {"type": "color", "start": 2, "end": 5}
_VALUES = {"caption": "A cat.", "category": "dog", "drop": "", "undo": "", "negative": "A dog."}
_LINES = b"".join(
    _json({**_DECISION, "action": action, "value": value}) + b"\n"
    for action, value in {**_VALUES, "attributes": [_SPAN], "accept": ""}.items()
)

TARGETS = {
    "result.json": (_result, [_json(_result_seed())]),
    "header.safetensors": (_header, [_json(_HEADER)]),
    "raw.safetensors": (
        read_header,
        [safetensors.torch.save({"a": torch.zeros(1)}, {"fdrd": json.dumps(_HEADER)})],
    ),
    "manifest.json": (_manifest, [_json(_MANIFEST)]),
    "shard.arrow": (_shard, [_shard_seed()]),
    "README.md": (
        lambda file: merge_cards(_CARD, file.read_text("utf-8", "replace"), DATA_KEYS, "card"),
        [_CARD.encode(), b"# no metadata\n"],
    ),
    "decisions.jsonl": (_decisions, [_LINES]),
    "work": (_work, [_json({"inputs": "x"}), _json(_MANIFEST["shards"][0]) + b"\n"]),
    "examined.jsonl": (read_ledger, [_json(_CHECK) + b"\n"]),
    "rejected.jsonl": (
        _rejected,
        [_json({"file": "a.csv", "key": "line 1", "reason": "leak", "detail": "a: b"}) + b"\n"],
    ),
    "experiment.toml": (read_experiment, [_EXPERIMENT]),
    "published.json": (read_published, [_json(_PUBLISHED)]),
    "categories.txt": (read_categories, [b"# birds\nwren\n"]),
    "features": (_features, [_json(_FEATURES)]),
    "open_clip_config.json": (
        lambda file: read_config(file).context,
        [_json({"model_cfg": _OPEN_CLIP})],
    ),
    "tensors.safetensors": (read_tensors, [safetensors.torch.save({"a": torch.zeros(2)})]),
    "weights.pt": (read_tensors, [_weights_seed(True), _weights_seed(False)]),
    "answers.sqlite": (_answers, [_answers_seed()]),
    "captions.jsonl": (read_table, [_json({"file_name": "a.png", "caption": "A."}) + b"\n"]),
    "captions.csv": (read_table, [b"category,caption\ncat,A.\n"]),
    "questions.txt": (read_questions, [b"What is it?\n"]),
    "verdict": (
        lambda file: read_verdict(file.read_text("utf-8", "replace")),
        [b'{"verdict": "good", "feedback": []}'],
    ),
}
"""Parser and valid contents by file name."""


SEEDS = [(name, seed) for name, (_, seeds) in TARGETS.items() for seed in seeds]


def check(name, data):
    """Parse the content of a file, and return whether it is valid.

    Raises:
        AssertionError: the message of an `FdrdError` has several lines or is very long.
        Exception: the parser failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "out", name)
        file.parent.mkdir()
        file.write_bytes(data)
        try:
            TARGETS[name][0](file)
        except FdrdError as error:
            message = str(error).replace(folder, "")
            assert len(message) < 1500, "a long message"
            assert len(message.splitlines()) == 1, "several lines"
            return False
    return True


def _seed(name, number=0):
    return TARGETS[name][1][number]


FOUND = {
    "examined.jsonl": [b"true\n", b'{"path": {}, "member": "", "size": [], "mtime_ns": 1}\n'],
    "manifest.json": [b"[" * 100_000, b"\xff", b'{"name": "' + b"x" * 5000 + b'"}', b'["\\ud800"]'],
    "open_clip_config.json": [
        b'{"model_cfg": 0}',
        b'{"model_cfg": {"embed_dim": 1, "vision_cfg": {}, "text_cfg": 1}}',
        b'{"model_cfg": {"embed_dim": 1, "vision_cfg": {}, "text_cfg": {"context_length": ""}}}',
        b"[" * 100_000,
    ],
    "rejected.jsonl": [b'{"file": "\xf1"}\n'],
    "result.json": [
        _seed("result.json").replace(b'"best_epoch": 1', b'"best_epoch": 2'),
        _seed("result.json").replace(b'"split": "test"', b'"split": "' + b"x" * 5000 + b'"'),
        b"[" * 100_000,
    ],
    "work": [
        *(b"", b"\x9f", b"{}", b"7", b'{"path": 1e308, "bytes": 1}', b'{"path": "' + b"x" * 5000)
    ],
    "header.safetensors": [b"[" * 100_000],
    "decisions.jsonl": [b'{"record\\r": ""}\n', b"[" * 100_000 + b"\n"],
    "published.json": [b"[" * 100_000],
    "weights.pt": [  # a zip archive with a broken directory, and pickles that pop from an empty stack
        _seed("weights.pt").replace(b"PK\x01\x02", b"PK\x01\x01"),
        _seed("weights.pt", 1).replace(b"}q\x00", b"sss"),
        _seed("weights.pt", 1).replace(b"K\x02", b"K\x03"),
    ],
    "captions.csv": [b"\x0b1,\x0b1,caption\n", b'"a\nb","a\nb",caption\n'],
    "answers.sqlite": [
        _seed("answers.sqlite").replace(b"NOT NULL,\n    cut", b"NOT NUL\xf9,\n    cut"),
        _seed("answers.sqlite").replace(b"CREATE TABLE answers", b'CREATE "\nBLE answers'),
    ],
}


@pytest.mark.parametrize("name", FOUND)
def test_an_input_that_broke_a_parser_is_rejected(name):
    for content in FOUND[name]:
        check(name, content)


def test_mutated_seeds_break_no_parser():
    run_mutations(check, SEEDS)


def test_most_seeds_are_valid():
    assert sum(check(*seed) for seed in SEEDS) >= len(SEEDS) - 4
    assert check("shard.arrow", _seed("shard.arrow"))
