"""Random models of every architecture that fdrd loads, small enough for a test, saved as their library saves them."""

from __future__ import annotations

import torch
import transformers as t
from tokenizers import normalizers

from tests.tiny import LETTERS, PIECES, WORDS, piece_tokenizer


def tokenizer(before, after, pad, context, **options):
    """A token per word, letters for other words; `before` and `after` surround a caption."""
    ends = [each for each in dict.fromkeys((pad, after, before)) if each]  # pad gets id 0
    options |= {"bos_token": before or None, "cls_token": before or None, "pad_token": pad}
    options |= {"eos_token": after, "sep_token": after}
    form = normalizers.Sequence([normalizers.NFC()])
    return piece_tokenizer([*ends, "[UNK]", *PIECES], before, after, context, form, **options)


SMALL = {"hidden_size": 32, "intermediate_size": 48}
SMALL |= {"num_hidden_layers": 3, "num_attention_heads": 4}
VISION = {**SMALL, "hidden_size": 48, "image_size": 32, "patch_size": 16}
SQUARE = {"height": 32, "width": 32}


def clip_processor():
    return t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)


def metaclip_2():
    words = tokenizer("<s>", "</s>", "<pad>", 24)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 24, "projection_dim": 16}
    text |= {key: getattr(words, key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    config = t.MetaClip2Config(text_config=text, vision_config=VISION, projection_dim=16)
    return t.MetaClip2Model(config), words, clip_processor()


def _siglip_text(words, context):
    size = {"vocab_size": len(words), "max_position_embeddings": context, "projection_size": 48}
    ends = {"pad_token_id": words.pad_token_id, "eos_token_id": words.eos_token_id}
    return {**SMALL, **size, **ends, "bos_token_id": None}


def siglip():
    words = tokenizer("", "</s>", "<pad>", 24, model_input_names=["input_ids"])
    config = t.SiglipConfig(text_config=_siglip_text(words, 24), vision_config=VISION)
    return t.SiglipModel(config), words, t.SiglipImageProcessorPil(size=SQUARE)


def siglip2():
    """NaFlex, with SigLIP 2's own tokenizer: words begin with a mark, other words are spelled."""
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "a", *LETTERS]
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
    config = t.Siglip2Config(text_config=_siglip_text(words, 24), vision_config=vision)
    images = t.Siglip2ImageProcessorPil(patch_size=16, max_num_patches=6)
    return t.Siglip2Model(config), words, images


def chinese_clip():
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", 24)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 24}
    config = t.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    images = t.ChineseCLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
    return t.ChineseCLIPModel(config), words, images


def altclip():
    words = tokenizer("<s>", "</s>", "<pad>", 24)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 26, "project_dim": 24}
    text["pad_token_id"] = words.pad_token_id
    config = t.AltCLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)
    return t.AltCLIPModel(config), words, clip_processor()


def align():
    words = tokenizer("[CLS]", "[SEP]", "[PAD]", 24)
    text = {**SMALL, "vocab_size": len(words), "max_position_embeddings": 24}
    vision = {
        "image_size": 32,
        "width_coefficient": 1.0,
        "depth_coefficient": 0.1,
        "hidden_dim": 16,
    }
    vision |= {"kernel_sizes": [3, 3], "in_channels": [32, 16], "out_channels": [16, 16]}
    vision |= {"depthwise_padding": [], "strides": [1, 2], "num_block_repeats": [1, 1]}
    vision["expand_ratios"] = [1, 2]
    config = t.AlignConfig(text_config=text, vision_config=vision, projection_dim=16)
    images = t.EfficientNetImageProcessorPil(size=SQUARE, crop_size=SQUARE)
    return t.AlignModel(config), words, images


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
