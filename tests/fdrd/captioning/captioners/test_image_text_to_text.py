"""A real vision-language model of `transformers`, of random weights and two layers, from end to end."""

import json
from pathlib import Path

import pytest

from fdrd.captioning import Answer, AnswerCache, Question, Spending
from fdrd.captioning.asking import Tally, ask
from fdrd.captioning.captioners.image_text_to_text import transformers as make
from fdrd.captioning.pictures import find_pictures
from fdrd.captioning.rounds import Desk, Plan
from fdrd.captioning.run import run
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build

WORDS = "a small robin house wren sits on the branch in shade . , is red it and green".split()
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} assistant :{% endif %}"
)


def save_model(folder: Path, template: str | None = TEMPLATE) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    vocabulary = {
        word: number
        for number, word in enumerate(["[PAD]", "[UNK]", "[BOS]", "[EOS]", "<image>", *WORDS])
    }
    coding = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    coding.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=coding, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]",
        eos_token="[EOS]", additional_special_tokens=["<image>"],
    )  # fmt: skip
    processor = LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokenizer, patch_size=16, vision_feature_select_strategy="default",
        chat_template=template, num_additional_image_tokens=1,
    )  # fmt: skip
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(hidden_size=16, image_size=32, patch_size=16, **layers),
        text_config=LlamaConfig(
            hidden_size=24, vocab_size=len(vocabulary), max_position_embeddings=512,
            pad_token_id=0, bos_token_id=2, eos_token_id=3, **layers,
        ),
        image_token_index=vocabulary["<image>"],
        image_seq_length=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "tiny-llava")


def answers(captioner, pictures, texts):
    found = {}
    questions = [Question(picture, text) for picture, text in zip(pictures, texts, strict=True)]
    why = captioner.answer(
        iter(questions), lambda question, answer: found.update({id(question): answer})
    )
    assert why == ""
    return [found[id(question)] for question in questions]


def test_a_batch_says_what_its_pictures_say_alone(model, raw):
    pictures = find_pictures(raw, 10**6).pictures[:5]
    texts = [("is it red . " * (1 + number)).strip() for number in range(5)]
    together = answers(
        make(Spending(), model=str(model), batch_size=5, max_tokens=8), pictures, texts
    )
    alone = answers(make(Spending(), model=str(model), batch_size=1, max_tokens=8), pictures, texts)
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.input_tokens for answer in together] == [answer.input_tokens for answer in alone]
    assert len({answer.text for answer in together}) > 1


def test_answers_are_those_of_the_model_itself(model, raw):
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    (picture, *_) = find_pictures(raw, 10**6).pictures
    (found,) = answers(make(Spending(), model=str(model), max_tokens=8), [picture], ["is it red"])
    processor = AutoProcessor.from_pretrained(model)
    turn = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": picture.upright()},
                {"type": "text", "text": "is it red"},
            ],
        }
    ]
    inputs = processor.apply_chat_template(
        turn, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    with torch.inference_mode():
        written = (
            AutoModelForImageTextToText.from_pretrained(model)
            .eval()
            .generate(**inputs, max_new_tokens=8, do_sample=False)
        )
    expected = processor.decode(
        written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True
    )
    assert found.text == expected


def test_a_model_without_a_chat_template_gets_picture_and_words(tmp_path, raw):
    folder = save_model(tmp_path / "plain", template=None)
    pictures = find_pictures(raw, 10**6).pictures[:2]
    found = answers(make(Spending(), model=str(folder), max_tokens=4), pictures, ["is it red"] * 2)
    assert all(isinstance(answer, Answer) for answer in found)


def test_accelerate_may_place_the_model(model, raw):
    pytest.importorskip("accelerate")
    pictures = find_pictures(raw, 10**6).pictures[:2]
    placed = make(Spending(), model=str(model), max_tokens=6, device_map="auto")
    alone = make(Spending(), model=str(model), max_tokens=6)
    texts = ["is it red", "is it green"]
    assert answers(placed, pictures, texts) == answers(alone, pictures, texts)


def test_reduced_precision_answers_too_and_is_another_question(model, raw):
    (picture, *_) = find_pictures(raw, 10**6).pictures
    half = make(Spending(), model=str(model), max_tokens=6, precision="bfloat16")
    (found,) = answers(half, [picture], ["is it red"])
    assert isinstance(found, Answer)
    assert half.identity != make(Spending(), model=str(model), max_tokens=6).identity


def test_from_pictures_to_a_dataset_and_a_rerun_loads_no_model(model, raw, tmp_path, monkeypatch):
    found = find_pictures(raw, 10**6)
    plan = Plan(
        rounds=2,
        opening="This is a photo of {a category}.",
        without=frozenset({"repetition", "cut_short"}),
    )
    spending = Spending()

    def once():
        with AnswerCache(tmp_path / "answers.sqlite") as cache:
            desk = Desk(make(spending, model=str(model), max_tokens=12), None, None, cache)
            return run(
                raw, tmp_path / "captioned", found, found.pictures, plan, desk, spending
            ), desk

    done, desk = once()
    assert desk.drafts.answered >= 12
    assert done.summary["captioner"]["revision"].startswith("sha256:")
    first = {file.name: file.read_bytes() for file in (tmp_path / "captioned").rglob("*.json")}
    entries = json.loads(first["captions.json"])
    assert len(entries) == done.summary["kept"] > 0
    built = build(tmp_path / "captioned", tmp_path / "data", workers=1)
    assert built.manifest["records"]["kept"] == done.summary["kept"]
    monkeypatch.setattr(
        "fdrd.captioning.captioners.image_text_to_text.ImageTextToText._generate", lambda *_: 1 / 0
    )
    again, desk = once()
    assert (desk.drafts.answered, again.summary) == (0, done.summary)
    assert first == {
        file.name: file.read_bytes() for file in (tmp_path / "captioned").rglob("*.json")
    }


def test_other_weights_are_another_question(model, raw, tmp_path):
    import shutil

    other = Path(shutil.copytree(model, tmp_path / "tiny-llava"))
    one = make(Spending(), model=str(model)).identity
    assert make(Spending(), model=str(other)).identity == one
    weights = other / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert make(Spending(), model=str(other)).identity != one


@pytest.mark.parametrize("name", ["./nowhere", "no-one/no-such-model-at-all"])
def test_a_model_that_is_not_there_is_one_line(name, raw, tmp_path):
    pictures = find_pictures(raw, 10**6).pictures
    captioner = make(Spending(), model=name)
    with (
        AnswerCache(tmp_path / "answers.sqlite") as cache,
        pytest.raises(FdrdError, match="transformers: "),
    ):
        ask(captioner, [Question(pictures[0], "is it red")], cache, Tally())
