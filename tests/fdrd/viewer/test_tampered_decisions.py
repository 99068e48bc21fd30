"""Files of decisions that are tampered with at random: a build and the review pages give a right result or one line.

FDRD_POINTS sets the number of files.
"""

import json
import os
import random
from dataclasses import asdict
from urllib.parse import quote, urlencode

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.audits import dataset_records
from fdrd.checks.validation import validate
from fdrd.curation.decisions import ACTIONS, Decision, in_effect, read_decisions
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.text.normalize import normalize_category, normalize_described
from fdrd.viewer.index import open_index
from fdrd.viewer.review import digest_of

POINTS = int(os.environ.get("FDRD_POINTS", "20"))
SMALL = BuildConfig(shard_bytes=800)
HOSTILE = [
    None, True, -1, 10**400, 1e400, float("nan"), 0.5, "", "x" * 1001, "x" * 20_001, "\ud800", "a\0b", "\u202e<script>",
    "None", "\n", "e" + "\u0301" * 2000, [], {}, [[]], [None], [{"type": "color", "start": 0, "end": 1e400}],
    [{"type": "color", "start": 0, "end": 3}], {"type": "color"}, [{"type": "color", "start": -3, "end": 10**30}],
]  # fmt: skip
LINES = [b"", b"[]", b"{", b"[" * 5000, b"\xff\xfe", b'{"record": 1e400}', b"\0" * 99, b"7" * 5000]


def decision_on(record, chance):
    """Return a decision that fits a record."""
    action = chance.choice(ACTIONS)
    value = {
        "caption": f"A {chance.choice(('red', 'blue'))} {record['category']} on a post.",
        "category": chance.choice(("crow", "great  tit")),
        "attributes": [],
        "negative": record["negatives"][0]["caption"] if record["negatives"] else "A crow.",
        "keep": "duplicate_pair",
        "comment": "Is it?",
    }.get(action, "")
    return asdict(Decision(record["id"], digest_of(record), chance.choice("ab"), "2026", action, value))  # fmt: skip


def tampered(records, chance):
    """Return the bytes of a file of decisions with some flaws."""
    made = [decision_on(chance.choice(records), chance) for _ in range(chance.randint(1, 30))]
    kind = chance.choice(("values", "values", "fields", "lines", "bytes", "cut"))
    if kind in ("values", "fields"):
        for decision in chance.sample(made, min(3, len(made))):
            field = "value" if kind == "values" else chance.choice(list(decision))
            decision[field] = chance.choice(HOSTILE)
    lines = [json.dumps(decision).replace("Infinity", "1e400").encode() for decision in made]
    if kind == "lines":
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(LINES))
    data = bytearray(b"\n".join(lines) + b"\n")
    if kind == "bytes":
        for _ in range(3):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.randrange(len(data))] if kind == "cut" else data)


@pytest.fixture
def before(birds, tmp_path):
    """The records of the dataset `out` without decisions."""
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    return open_index(tmp_path / "out").records(range(49))


@pytest.mark.slow
def test_a_build_applies_them_or_says_one_line(birds, before, tmp_path):
    refused = []
    for number in range(POINTS):
        file = tmp_path / "decisions.jsonl"
        file.write_bytes(tampered(before, random.Random(number)))
        try:
            built = build(birds, tmp_path / "out", config=SMALL, decisions=file, workers=1)
        except FdrdError as error:
            refused.append(str(error))
            continue
        decisions = read_decisions(file)[0]
        effective = [each for each in in_effect(decisions) if each.action != "comment"]
        entry = built.manifest.decisions
        assert entry.applied + entry.stale == len(effective), number
        texts = (each.value for each in effective if isinstance(each.value, str))
        values = [text for text in texts if len(text) <= 20_000]
        after = dataset_records(tmp_path / "out")[0]
        categories = {row["category"] for row in before} | {
            normalize_category(v)[0] for v in values
        }
        captions = {row["caption"] for row in before}
        for record in after:
            assert record.category in categories, number
            known = captions | {normalize_described(v, record.category)[0] for v in values}
            assert record.caption in known or any(
                record.caption == normalize_described(v, row["category"])[0] for v in values for row in before[:2]
            ), number  # fmt: skip
        assert list(validate(tmp_path / "out")) == [], number
    assert 0 < len(refused) < POINTS
    assert max(map(len, refused)) < 1000
    assert "\n" not in "".join(refused)


@pytest.mark.slow
def test_the_review_pages_show_them_or_name_the_line(before, tmp_path, open_site, capfd):
    site = open_site(tmp_path / "out", review="r")
    site.context.review.path.parent.mkdir(parents=True)
    for number in range(POINTS):
        chance = random.Random(number)
        site.context.review.path.write_bytes(tampered(before, chance))
        try:
            read_decisions(site.context.review.path)
            expected = 200
        except FdrdError:
            expected = 503
        paths = ["/", "/review", "/review?queue=stratified", "/?verified=verified", "/rejected"]
        paths += [
            f"/{page}?id={quote(row['id'])}" for row in before[:12] for page in ("record", "review")
        ]
        for path in paths:
            answer = site.ask(path)
            page = answer.read().decode()
            assert answer.status == expected, (number, path)
            assert "<script>" not in page
            if expected == 503:
                assert "is not a decision" in page, number
        row = chance.choice(before)
        form = {"record": row["id"], "digest": digest_of(row), "action": chance.choice(ACTIONS)}
        form["value"] = chance.choice(
            ["x" * 60_000, "[" * 9000, "\udc00", '[{"start": 1e400}]', "A wren."]
        )
        body = urlencode(form, errors="surrogatepass")
        assert site.ask("/review/decide", "POST", body, Origin=site.base).status in (303, 503)
    assert "Traceback" not in capfd.readouterr().err
