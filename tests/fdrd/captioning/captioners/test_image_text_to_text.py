"""A real vision-language model of `transformers` with random weights and two layers, end to end."""

import json
import shutil
from pathlib import Path

import pytest

from fdrd.captioning import Answer, CaptionSettings, Question, Spending, caption
from fdrd.captioning.captioners.image_text_to_text import ImageTextToText
from fdrd.captioning.uncaptioned import find_uncaptioned
from fdrd.errors import FdrdError
from fdrd.pipeline.builder import build

WORDS = "a small robin house wren sits on the branch in shade . , is red it and green".split()
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }} : {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %} assistant :{% endif %}"
)


def save_model(folder, template=TEMPLATE):
    import torch
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from tests.tiny import image_processor, piece_tokenizer

    pieces = ["[PAD]", "[UNK]", "[BOS]", "[EOS]", "<image>", *WORDS]
    special = {"pad_token": "[PAD]", "bos_token": "[BOS]", "eos_token": "[EOS]"}
    special["additional_special_tokens"] = ["<image>"]
    tokenizer = piece_tokenizer(pieces, "", "", 512, **special)
    options = {"patch_size": 16, "num_additional_image_tokens": 1, "chat_template": template}
    strategy = {"vision_feature_select_strategy": "default"}
    processor = LlavaProcessor(image_processor(), tokenizer, **options, **strategy)
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    vision = CLIPVisionConfig(hidden_size=16, image_size=32, patch_size=16, **layers)
    tokens = {
        "vocab_size": len(pieces),
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
    }
    text = LlamaConfig(hidden_size=24, max_position_embeddings=512, **tokens, **layers)
    image = {"image_token_index": pieces.index("<image>"), "image_seq_length": 4}
    config = LlavaConfig(vision_config=vision, text_config=text, **image)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "tiny-llava")


def captioner(folder, **options):
    return ImageTextToText(Spending(), model=str(folder), **options)


def answers(captioner, images, texts):
    found = {}
    questions = [Question(image, text) for image, text in zip(images, texts, strict=True)]
    why = captioner.answer(
        iter(questions), lambda question, answer: found.update({id(question): answer})
    )
    assert why == ""
    return [found[id(question)] for question in questions]


def test_a_batch_gives_the_answers_of_single_images(model, raw):
    images = find_uncaptioned(raw).images[:5]
    texts = [("is it red . " * (1 + number)).strip() for number in range(5)]
    together = answers(captioner(model, batch_size=5, max_tokens=8), images, texts)
    alone = answers(captioner(model, batch_size=1, max_tokens=8), images, texts)
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert [answer.input_tokens for answer in together] == [answer.input_tokens for answer in alone]
    assert len({answer.text for answer in together}) > 1


def test_answers_equal_those_of_transformers(model, raw):
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    (image, *_) = find_uncaptioned(raw).images
    (found,) = answers(captioner(model, max_tokens=8), [image], ["is it red"])
    processor = AutoProcessor.from_pretrained(model)
    content = [{"type": "image", "image": image.load()}, {"type": "text", "text": "is it red"}]
    turns = [{"role": "user", "content": content}]
    options = {"tokenize": True, "return_dict": True, "return_tensors": "pt"}
    inputs = processor.apply_chat_template(turns, add_generation_prompt=True, **options)
    reference = AutoModelForImageTextToText.from_pretrained(model).eval()
    with torch.inference_mode():
        written = reference.generate(**inputs, max_new_tokens=8, do_sample=False)
    answer = written[0, inputs["input_ids"].shape[1] :]
    assert found.text == processor.decode(answer, skip_special_tokens=True)


def test_a_model_without_a_chat_template_gets_image_and_text(tmp_path, raw):
    folder = save_model(tmp_path / "plain", template=None)
    images = find_uncaptioned(raw).images[:2]
    found = answers(captioner(folder, max_tokens=4), images, ["is it red"] * 2)
    assert all(isinstance(answer, Answer) for answer in found)


def test_accelerate_can_place_the_model(model, raw):
    pytest.importorskip("accelerate")
    images = find_uncaptioned(raw).images[:2]
    placed = captioner(model, max_tokens=6, device_map="auto")
    alone = captioner(model, max_tokens=6)
    texts = ["is it red", "is it green"]
    assert answers(placed, images, texts) == answers(alone, images, texts)


def test_from_images_to_a_dataset_and_a_rerun_loads_no_model(model, raw, tmp_path, monkeypatch):
    out = tmp_path / "captioned"

    without = frozenset({"repetition", "cut_short"})
    opening = "This is a photo of {a category}."
    settings = CaptionSettings(rounds=2, opening=opening, without=without)
    options = {"model": str(model), "max_tokens": 12}

    def run():
        return caption(raw, out, captioner="transformers", options=options, settings=settings)

    first = run()
    assert first.usage["answered"] >= 12
    assert first.summary["captioner"]["revision"].startswith("sha256:")
    files = {file.name: file.read_bytes() for file in out.rglob("*.json")}
    assert len(json.loads(files["captions.json"])) == first.summary["kept"] > 0
    built = build(out, tmp_path / "data", workers=1)
    assert built.manifest.records.kept == first.summary["kept"]
    monkeypatch.setattr(ImageTextToText, "_generate", lambda *_: 1 / 0)
    again = run()
    assert (again.usage["answered"], again.summary) == (0, first.summary)
    assert files == {file.name: file.read_bytes() for file in out.rglob("*.json")}


def test_other_weights_or_another_precision_are_another_cache_key(model, tmp_path):
    other = Path(shutil.copytree(model, tmp_path / "tiny-llava"))
    one = captioner(model).identity
    assert captioner(other).identity == one != captioner(model, precision="bfloat16").identity
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert captioner(other).identity != one


@pytest.mark.parametrize("name", ["./nowhere", "no-one/no-such-model-at-all"])
def test_a_missing_model_is_an_error(name, raw, tmp_path):
    with pytest.raises(FdrdError, match="transformers: "):
        caption(raw, tmp_path / "out", captioner="transformers", options={"model": name})
