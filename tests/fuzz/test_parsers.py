"""The parsers on the seeds of the fuzz target, on mutations of them, and on inputs that once broke one."""

import pytest
from fuzz.driver import run_mutations
from fuzz.fuzz_parsers import SEEDS, TARGETS, check


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
        SEEDS[0][1:].replace(b'"best_epoch": 1', b'"best_epoch": 2'),
        SEEDS[0][1:].replace(b'"split": "test"', b'"split": "' + b"x" * 5000 + b'"'),
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
        check(bytes([list(TARGETS).index(name)]) + content)


def test_mutated_seeds_break_no_parser():
    run_mutations(check, SEEDS)


def test_most_seeds_are_valid():
    assert sum(map(check, SEEDS)) >= len(SEEDS) - 4
