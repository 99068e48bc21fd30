"""Captions that a text tower truncates are counted, reported, and dropped if the policy says so."""

import gzip
import json
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.models.tokenizer import token_counter
from fdrd.build_config import BuildConfig
from fdrd.checks.statistics import stats
from fdrd.checks.validation import validate
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build
from fdrd.text.tokens import CLIP_BPE, TokenCounter, clip_bpe, clip_tokenizer, counter_for

WORDS = TokenCounter("words", 12, lambda captions: [len(text.split()) + 2 for text in captions])


@pytest.fixture
def no_vocabulary(monkeypatch):
    monkeypatch.setattr("fdrd.text.tokens.find_spec", lambda name: None)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package that ships a vocabulary of three merges in the format of CLIP's file."""
    folder = tmp_path / "packages" / "open_clip"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('it must not be imported')")
    merges = ["#version: 0.2", "c a", "ca t</w>", "d o"]
    with gzip.open(folder / "bpe_simple_vocab_16e6.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(merges))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "packages"), *sys.path])
    monkeypatch.delitem(
        sys.modules, "open_clip", raising=False
    )  # another test may have imported it
    return folder / "bpe_simple_vocab_16e6.txt.gz"


def test_byte_pairs_are_merged_as_in_clip(shipped):
    """Lower case, `</w>` at the end of words, single digits, and bytes of other characters."""
    found = clip_tokenizer(shipped).encode("A CAT's dog,  42 caté").tokens
    assert found == [
        "<|startoftext|>", "a</w>", "cat</w>", "'", "s</w>", "do", "g</w>", ",</w>", "4</w>", "2</w>",
        "ca", "t", "Ã", "©</w>", "<|endoftext|>",
    ]  # fmt: skip


def test_the_vocabulary_of_a_package_is_found_without_importing_it(shipped):
    counter = clip_bpe()
    assert (counter.name, counter.limit) == (CLIP_BPE, 77)
    assert counter.count(["A cat.", ""]) == [5, 2]
    assert "open_clip" not in sys.modules


@given(
    st.lists(
        st.text(st.sampled_from("Acat '\t\u00a0\u1100\u1161\u0301\u0344\u03a3\u0130\u00b24.\n\x1c"))
    )
)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_captions_have_as_many_tokens_as_their_words(shipped, captions):
    """Spaces between words, other white space, composed letters and contractions change nothing."""
    tokenizer = clip_tokenizer(shipped)
    whole = [len(tokenizer.encode(caption).ids) for caption in captions]
    counter = clip_bpe()
    assert counter.count(captions) == whole
    assert counter.count(captions) == whole  # from the known words


def test_the_vocabulary_is_read_when_captions_are_counted(shipped):
    counter = clip_bpe()
    shipped.unlink()
    with pytest.raises(FdrdError, match="not a list of byte pairs"):
        counter.count(["A cat."])


def test_a_damaged_vocabulary_is_one_error_of_the_build(shipped, birds, tmp_path, monkeypatch):
    """The vocabulary is read by a thread while images are checked, which must not print a traceback."""
    shipped.write_bytes(b"damaged")
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with pytest.raises(FdrdError, match="not a list of byte pairs"):
        build(birds, tmp_path / "out", workers=1)
    assert failed == []


def test_the_real_vocabulary_gives_the_tokens_that_clip_gives():
    """Expected counts are from the tests of CLIP in transformers and from the original tokenizer."""
    counter = clip_bpe()
    if counter is None:
        pytest.skip("no installed package ships CLIP's vocabulary")
    captions = ["a photo of a cat", "lower newer", "A\n'll 11p223RF☆ho!!to?'d'd''d of a cat"]
    assert counter.count(captions) == [7, 4, 23]


def test_the_counter_of_the_named_backbone_comes_first(shipped):
    assert counter_for("x/y", lambda name: WORDS) is WORDS
    assert counter_for("x/y", lambda name: None).name == CLIP_BPE
    assert counter_for(None, None).name == CLIP_BPE


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
    tokens = built.manifest["tokens"]
    assert (tokens["tokenizer"], tokens["limit"]) == ("words", 12)
    splits = tokens["splits"]["raw"]
    assert sum(split["over"] for split in splits.values()) == 49
    assert max(split["max"] for split in splits.values()) == 16
    assert built.manifest["reported"]["caption_over_tokens"] == 49
    assert list(validate(tmp_path / "out")) == []
    assert {each.over_limit for each in stats(tmp_path / "out")} == {
        split["over"] for split in splits.values()
    }
    card = (tmp_path / "out/README.md").read_text()
    assert "`words`" in card
    assert "| raw | test | 13 | 13 | 8 |" in card


NAMED = BuildConfig(backbone="some/clip")


def test_truncated_captions_are_dropped_if_the_policy_says_so(birds, tmp_path):
    config = BuildConfig(backbone="some/clip", policy={"caption_over_tokens": "drop"})
    built = build(birds, tmp_path / "out", tokens=lambda name: WORDS, config=config, workers=1)
    assert built.manifest["records"] == {"read": 49, "kept": 1, "rejected": 48}
    (line, *_) = (tmp_path / "out/rejected.jsonl").read_text().splitlines()
    assert json.loads(line)["detail"] == "13 tokens of words, the tower reads 12"


@pytest.mark.usefixtures("no_vocabulary")
def test_without_a_tokenizer_nothing_is_counted_and_the_policy_needs_one(birds, tmp_path):
    assert build(birds, tmp_path / "out", workers=1).manifest["tokens"] is None
    assert {each.tokens_max for each in stats(tmp_path / "out")} == {None}
    config = BuildConfig(policy={"caption_over_tokens": "drop"})
    with pytest.raises(FdrdError, match="pip install --no-deps open_clip_torch"):
        build(birds, tmp_path / "other", config=config, workers=1)


@pytest.mark.usefixtures("no_vocabulary")
def test_a_new_tokenizer_updates_the_manifest(birds, tmp_path):
    build(birds, tmp_path / "out", config=NAMED, workers=1)
    again = build(birds, tmp_path / "out", config=NAMED, tokens=lambda name: WORDS, workers=1)
    assert again.manifest["tokens"]["tokenizer"] == "words"
    assert again.shards_written == 0 or again.manifest["reported"]
