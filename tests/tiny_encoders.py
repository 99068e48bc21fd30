"""Random models of every architecture that fdrd loads, small enough for a test, saved as their library saves them."""

from __future__ import annotations

import torch
import transformers as t
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,"
WORDS = (
    "a photo of on the big small white with and cat dog red green blue black circle square triangle "
    "left right"
).split()


def tokenizer(before, after, pad, context, **options):
    """A token per word, letters for other words; `before` and `after` surround a caption."""
    letters = [letter for letter in LETTERS if letter not in WORDS]
    ends = [each for each in dict.fromkeys((pad, after, before)) if each]  # pad gets id 0
    pieces = [*ends, "[UNK]", *letters, *(f"##{each}" for each in [*letters, "a"]), *WORDS]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    coding = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=40))
    coding.normalizer = normalizers.Sequence([normalizers.NFC()])
    coding.pre_tokenizer = pre_tokenizers.Whitespace()
    coding.post_processor = processors.TemplateProcessing(
        single=" ".join(each for each in (before, "$A", after) if each),
        special_tokens=[(each, vocabulary[each]) for each in ends],
    )
    return t.PreTrainedTokenizerFast(
        tokenizer_object=coding,
        bos_token=before or None,
        cls_token=before or None,
        eos_token=after,
        sep_token=after,
        pad_token=pad,
        unk_token="[UNK]",
        model_max_length=context,
        **options,
    )


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
VISION = {**SMALL, "hidden_size": 48, "image_size": 32, "patch_size": 16}
SQUARE = {"height": 32, "width": 32}


def clip_processor():
    return t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)


def _text(words, **more):
    return {**SMALL, "vocab_size": len(words), "max_position_embeddings": 24, **more}


def metaclip_2():
    words = tokenizer("<s>", "</s>", "<pad>", 24)
    ends = {each: getattr(words, each) for each in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = _text(words, projection_dim=16, **ends)
    config = t.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=16)
    return t.MetaClip2Model(config), words, clip_processor()


def _siglip_text(words):
    ends = {each: getattr(words, each) for each in ("eos_token_id", "pad_token_id")}
    return _text(words, projection_size=48, bos_token_id=None, **ends)


def siglip():
    words = tokenizer("", "</s>", "<pad>", 24, model_input_names=["input_ids"])
    config = t.SiglipConfig(text_config=_siglip_text(words), vision_config=VISION)
    return t.SiglipModel(config), words, t.SiglipImageProcessorPil(size=SQUARE)


def siglip2():
    """NaFlex, with SigLIP 2's own tokenizer: words begin with a mark, other words are spelled."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *LETTERS]
    merges = []
    for word in WORDS:
        spelled = "▁"
        for letter in word:
            if spelled + letter not in pieces:
                merges.append((spelled, letter))
                pieces.append(spelled + letter)
            spelled += letter
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    options = {"model_max_length": 24, "padding_side": "right", "add_eos_token": True}
    words = t.Siglip2Tokenizer(vocab=vocabulary, merges=merges, **options)
    vision = {**SMALL, "hidden_size": 48, "patch_size": 16, "num_patches": 16}
    config = t.Siglip2Config(text_config=_siglip_text(words), vision_config=vision)
    images = t.Siglip2ImageProcessorPil(patch_size=16, max_num_patches=6)
    return t.Siglip2Model(config), words, images


def chinese_clip():
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", 24)
    towers = {"text_config": _text(words), "vision_config": VISION, "projection_dim": 16}
    images = t.ChineseCLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    return t.ChineseCLIPModel(t.ChineseCLIPConfig(**towers)), words, images


def altclip():
    words = tokenizer("<s>", "</s>", "<pad>", 24)
    more = {"max_position_embeddings": 26, "project_dim": 24, "pad_token_id": words.pad_token_id}
    towers = {"text_config": {**_text(words), **more}, "vision_config": VISION}
    return t.AltCLIPModel(t.AltCLIPConfig(**towers, projection_dim=16)), words, clip_processor()


def align():
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", 24)
    vision = {
        **{"image_size": 32, "width_coefficient": 1.0, "depth_coefficient": 0.1, "hidden_dim": 16},
        **{"kernel_sizes": [3, 3], "in_channels": [32, 16], "out_channels": [16, 16]},
        **{"depthwise_padding": [], "strides": [1, 2], "num_block_repeats": [1, 1]},
        "expand_ratios": [1, 2],
    }
    towers = {"text_config": _text(words), "vision_config": vision, "projection_dim": 16}
    images = t.EfficientNetImageProcessorPil(size=SQUARE, crop_size=SQUARE)
    return t.AlignModel(t.AlignConfig(**towers)), words, images


ARCHITECTURES = {
    each.__name__: each for each in (metaclip_2, siglip, siglip2, chinese_clip, altclip, align)
}


def save(architecture, folder, seed=0):
    """Save a random model of an architecture, with all tensors away from their initial values."""
    torch.manual_seed(seed)
    parts = ARCHITECTURES[architecture]()
    with torch.no_grad():
        for weight in parts[0].parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    for part in parts:
        part.save_pretrained(folder)
    return folder
