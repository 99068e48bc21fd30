"""Files of decisions that are tampered with at random: a build and the review pages give a right result or one line."""

import json
import random
from dataclasses import asdict
from urllib.parse import quote

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.audits import dataset_records
from fdrd.checks.validation import validate
from fdrd.curation.decisions import ACTIONS, NOTES, Decision, in_effect, read_decisions
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.text.normalize import normalize_category, normalize_described
from fdrd.viewer.index import open_index
from fdrd.viewer.review import digest_of

SMALL = BuildConfig(shard_bytes=800)
HOSTILE = [
    *(None, True, -1, 10**400, 1e400, 0.5, "", "x" * 20_001, "\ud800", "a\0b", "\u202e<script>"),
    *([], {}, [None], [{"type": "color", "start": 0, "end": 1e400}]),
    [{"type": "color", "start": -3, "end": 10**30}],
]
LINES = [b"", b"[]", b"{", b"[" * 5000, b"\xff\xfe", b'{"record": 1e400}', b"\0" * 99, b"7" * 5000]


def decision_on(record, draw):
    """Return a decision that fits a record."""
    action = draw.choice(sorted(ACTIONS - {"judge"}))
    value = {
        "caption": f"A {draw.choice(('red', 'blue'))} {record['category']} on a post.",
        "category": draw.choice(("crow", "great  tit")),
        "attributes": [],
        "negative": record["negatives"][0]["caption"] if record["negatives"] else "A crow.",
        "keep": "duplicate_pair",
        "comment": "Is it?",
    }.get(action, "")
    seen = (record["id"], digest_of(record), draw.choice("ab"), "2026")
    return asdict(Decision(*seen, action, value))


def tampered(records, draw):
    """Return the bytes of a file of decisions with some flaws."""
    made = [decision_on(draw.choice(records), draw) for _ in range(draw.randint(1, 30))]
    kind = draw.choice(("none", "values", "fields", "lines", "bytes", "cut"))
    if kind in ("values", "fields"):
        for decision in draw.sample(made, min(3, len(made))):
            field = "value" if kind == "values" else draw.choice(list(decision))
            decision[field] = draw.choice(HOSTILE)
    lines = [json.dumps(decision).replace("Infinity", "1e400").encode() for decision in made]
    if kind == "lines":
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(LINES))
    data = bytearray(b"\n".join(lines) + b"\n")
    if kind == "bytes":
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data[: draw.randrange(len(data))] if kind == "cut" else data)


@pytest.fixture
def before(birds, tmp_path):
    """The records of the dataset `out` without decisions."""
    build(birds, tmp_path / "out", config=SMALL, workers=1)
    return open_index(tmp_path / "out").records(range(49))


def check_values(file, before, folder):
    """Check that all captions and categories are those of before, or those that a decision gives."""
    decisions = read_decisions(file)[0]
    values = [each.value for each in in_effect(decisions) if isinstance(each.value, str)]
    categories = {row["category"] for row in before}
    known = {row["caption"] for row in before}
    known |= {normalize_described(text, name)[0] for text in values for name in categories}
    categories |= {normalize_category(text)[0] for text in values}
    for record in dataset_records(folder)[0]:
        assert record.category in categories
        assert record.caption in known
    assert list(validate(folder)) == []


def test_a_build_and_the_review_pages_take_them_or_say_one_line(birds, before, tmp_path, open_site):
    site = open_site(tmp_path / "out", review="r")
    file, answers, refused = site.context.review.path, [], []
    file.parent.mkdir(parents=True)
    for seed in range(6):
        file.write_bytes(tampered(before, random.Random(seed)))
        try:
            decisions = in_effect(read_decisions(file)[0])
            status = 200
        except FdrdError:
            status = 503
        answers.append(status)
        pages = [f"/{page}?id={quote(before[seed]['id'])}" for page in ("record", "review")]
        for path in ("/", "/review", "/rejected", *pages):
            answer = site.ask(path)
            page = answer.read().decode()
            assert answer.status == status, (seed, path)
            assert "<script>" not in page
            assert status == 200 or "is not a decision" in page
        copy = tmp_path / "copy"
        try:
            built = build(birds, copy, config=SMALL, decisions=file, workers=1)
        except FdrdError as error:
            refused.append(str(error))
            continue
        entry = built.manifest.decisions
        expected = [each for each in decisions if each.action not in NOTES]
        assert entry.applied + entry.stale == len(expected), seed
        check_values(file, before, copy)
    assert set(answers) == {200, 503}
    assert len(refused) == answers.count(503)
    assert "\n" not in "".join(refused)
    assert max(map(len, refused)) < 1000
