"""Models of the package `open_clip` as plain encoders: `open_clip:NAME/PRETRAINED` (`pip install 'fdrd[open-clip]'`).

To train prompts, use a model that converts to a CLIPModel, see `benchmark.models.conversion`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from benchmark.models.backbone import EncoderSetup
from benchmark.models.image_batches import AnyImages, decoded
from benchmark.models.plain_encoder import PlainEncoder
from benchmark.models.tensor_files import add_tensors
from fdrd.errors import FdrdError


def load(target: str, **setup: Unpack[EncoderSetup]) -> PlainEncoder:
    """Return a model of open_clip with pretrained weights.

    The target is NAME/PRETRAINED as `open_clip.list_pretrained()` has them, NAME/path/to/weights, or one of
    open_clip's own forms `hf-hub:ORG/NAME` and `local-dir:FOLDER`.

    Raises:
        FdrdError: open_clip has no such model or weights.
    """
    name, device = setup["name"], setup["device"]
    setup["options"].only(name, "precision")
    import open_clip

    complete = target.startswith(("hf-hub:", "local-dir:"))
    architecture, _, weights = (target, "", "") if complete else target.partition("/")
    if not complete and not weights:
        raise FdrdError(
            f"backbone {name!r} names no weights; give open_clip:NAME/PRETRAINED, e.g. "
            f"open_clip:ViT-B-32/laion2b_s34b_b79k"
        )
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            architecture, pretrained=weights or None, device=device
        )
        tokenize = open_clip.get_tokenizer(architecture)
    except Exception as error:  # open_clip raises many kinds
        raise FdrdError(f"backbone {name!r}: open_clip cannot load it ({error})") from error
    model = model.float().eval().requires_grad_(False)
    context = int(getattr(tokenize, "context_length", 77))

    def encode_images(images: AnyImages) -> Tensor:
        pixels = torch.stack([preprocess(image) for image in decoded(images)])
        found: Tensor = model.encode_image(pixels.to(device))
        return found

    def encode_texts(captions: Sequence[str]) -> Tensor:
        found: Tensor = model.encode_text(tokenize(list(captions)).to(device))
        return found

    with torch.no_grad():
        dim = encode_texts(["a"]).shape[1]
    digest = hashlib.sha256(f"open_clip {preprocess!r} {tokenize.__class__.__name__}".encode())
    digest.update(tokenize(["A photo of 2 cats, naïve"]).numpy().tobytes())
    add_tensors(digest, model.state_dict())
    bias = getattr(model, "logit_bias", None)
    return PlainEncoder(
        encode_images,
        encode_texts,
        fingerprint=digest.hexdigest(),
        dim=dim,
        logit_scale=float(model.logit_scale.detach().exp()),
        logit_bias=0.0 if bias is None else float(bias.detach()),
        context=context,
        count_tokens=_counter(tokenize, context),
        **setup,
    )


def _counter(tokenize: Any, context: int) -> Any:
    """Return a function that counts the tokens of captions with open_clip's tokenizer."""
    encode = getattr(tokenize, "encode", None)
    if encode is not None:  # CLIP's own, which adds BOS and EOS
        return lambda captions: [len(encode(caption)) + 2 for caption in captions]
    inner = getattr(tokenize, "tokenizer", None)  # one of transformers
    if inner is not None:
        return lambda captions: [len(ids) for ids in inner(list(captions))["input_ids"]]
    return None
