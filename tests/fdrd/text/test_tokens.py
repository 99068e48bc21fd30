"""Captions that a text tower truncates are counted, reported, and dropped if the policy says so."""

import json

import pytest

from benchmark.models.loading import token_counter
from fdrd.build_config import BuildConfig
from fdrd.checks.statistics import stats
from fdrd.checks.validation import validate
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.text.tokens import TokenCounter, counter_for

WORDS = TokenCounter("words", 12, lambda captions: [len(text.split()) + 2 for text in captions])


def test_without_a_backbone_tokens_are_estimated_and_the_page_says_so(built_birds):
    assert built_birds.manifest.tokens.tokenizer == "CLIP (estimate)"
    assert "Tokens of `CLIP (estimate)`" in (built_birds.out / "README.md").read_text()
    assert counter_for("x/y", lambda name: WORDS) is WORDS
    assert counter_for("x/y", lambda name: None) is counter_for(None, None)


def test_the_limit_of_the_estimate_is_that_of_clip(birds, tmp_path):
    metadata = birds / "metadata.jsonl"
    lines = metadata.read_text().splitlines()
    for line, words in enumerate((75, 76)):  # with begin and end: 77 and 78 tokens
        row = json.loads(lines[line]) | {"caption": " ".join(["wren"] * words)}
        lines[line] = json.dumps(row)
    metadata.write_text("\n".join(lines))
    config = BuildConfig(policy={"caption_over_tokens": "drop"})
    build(birds, tmp_path / "out", config=config, workers=1)
    (line,) = (tmp_path / "out/rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["detail"] == "78 tokens of CLIP (estimate), the tower reads 77"


def test_the_embedded_backbone_counts_as_its_text_tower_does():
    from transformers import AutoTokenizer

    counter = token_counter("embedded")
    tokenizer = AutoTokenizer.from_pretrained("benchmark/models/embedded")
    captions = ["This is a wren.", "A pair of brown aircraft, each with black wing tips. " * 20]
    assert counter.count(captions) == [len(tokenizer(text).input_ids) for text in captions]
    assert counter.count(captions)[1] > counter.limit > counter.count(captions)[0]


def test_an_unavailable_tokenizer_is_an_error_with_its_name():
    with pytest.raises(FdrdError, match="the tokenizer of nobody/nothing is not available"):
        token_counter("nobody/nothing")


def test_overflow_is_reported_in_manifest_stats_and_card(birds, tmp_path):
    metadata = birds / "metadata.jsonl"
    long = "A wren with a very long and rather tedious description of its brown back."
    metadata.write_text(metadata.read_text().replace("A wren, once more.", long))
    built = build(birds, tmp_path / "out", tokens=lambda name: WORDS, config=NAMED, workers=1)
    tokens = built.manifest.tokens
    assert (tokens.tokenizer, tokens.limit) == ("words", 12)
    splits = tokens.splits["raw"]
    assert sum(split.over for split in splits.values()) == 49
    assert max(split.max for split in splits.values()) == 16
    assert built.manifest.reported["caption_over_tokens"] == 49
    assert list(validate(tmp_path / "out")) == []
    over = {split.over for split in splits.values()}
    assert {each.over_limit for each in stats(tmp_path / "out")} == over
    card = (tmp_path / "out/README.md").read_text()
    assert "`words`" in card
    assert "| raw | test | 13 | 13 | 8 |" in card


NAMED = BuildConfig(backbone="some/clip")
