"""Multimodal models of sentence-transformers as plain encoders: `st:NAME` (`pip install 'fdrd[st]'`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmark.models.encoder_options import EncoderOptions
from benchmark.models.frozen_features import FrozenFeatures
from benchmark.models.image_batches import AnyImages, decoded
from benchmark.models.plain_encoder import PlainEncoder
from benchmark.models.promptable import add_weights, tokenizer_rules
from fdrd.errors import FdrdError


def load(
    target: str,
    *,
    name: str,
    device: torch.device,
    frozen: FrozenFeatures | None,
    options: EncoderOptions,
) -> PlainEncoder:
    """Return a model of sentence-transformers that encodes images and text.

    Args:
        target: a folder, or the name of a repository of the Hub.
        name: given by the user.
        device: `cpu`, `cuda`, ...
        frozen: cache of features.
        options: how it runs.

    Raises:
        FdrdError: the package is missing, or the model is, or it is damaged or encodes only text.
    """
    options.only(name, "precision")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise FdrdError(
            f"backbone {name!r} needs sentence-transformers; pip install 'fdrd[st]'"
        ) from error

    try:
        model = _loaded(SentenceTransformer, target, device, seed=0)
        if _weights(model) != _weights(_loaded(SentenceTransformer, target, device, seed=1)):
            raise FdrdError(
                f"backbone {name!r}: some of its tensors are random, because its files lack them; "
                f"download or save the model again"
            )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise FdrdError(
            f"backbone {name!r}: sentence-transformers cannot load it ({error})"
        ) from error

    def encode_images(images: AnyImages) -> Tensor:
        return _encoded(model, decoded(images))

    def encode_texts(captions: Sequence[str]) -> Tensor:
        return _encoded(model, list(captions))

    from PIL import Image

    try:
        dim = encode_texts(["a"]).shape[1]
        sides = encode_images([Image.new("RGB", (32, 32))]).shape[1]
    except Exception as error:  # what a text model makes of an image differs by model
        raise FdrdError(
            f"backbone {name!r} does not encode both images and text ({error})"
        ) from error
    if dim != sides:
        raise FdrdError(f"backbone {name!r}: images have {sides} dimensions and texts {dim}")
    processor = getattr(model[0], "processor", None)
    tokenizer = getattr(processor, "tokenizer", None) or getattr(model, "tokenizer", None)
    context = int(model.max_seq_length or getattr(tokenizer, "model_max_length", 0) or 0)
    return PlainEncoder(
        encode_images,
        encode_texts,
        name=name,
        fingerprint=_fingerprint(model, processor, tokenizer),
        dim=dim,
        context=context,
        count_tokens=None
        if tokenizer is None
        else lambda captions: [
            len(ids) for ids in tokenizer(list(captions), verbose=False)["input_ids"]
        ],
        frozen=frozen,
        device=device,
        options=options,
    )


def _loaded(of: Any, target: str, device: torch.device, *, seed: int) -> Any:
    """Return a frozen model; tensors that its files lack come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = of(
            target,
            device=str(device),
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
    return model.eval().requires_grad_(False)


def _fingerprint(model: Any, processor: Any, tokenizer: Any) -> str:
    """Return a digest of everything that determines the features."""
    digest = hashlib.sha256(f"sentence-transformers {model!r}".encode())
    digest.update(_weights(model).encode())
    images = getattr(processor, "image_processor", None)
    if images is not None:
        digest.update(json.dumps(images.to_dict(), sort_keys=True, default=str).encode())
    if hasattr(tokenizer, "get_vocab"):
        digest.update(json.dumps(tokenizer_rules(tokenizer), sort_keys=True).encode())
    return digest.hexdigest()


def _encoded(model: Any, items: list[Any]) -> Tensor:
    found: Tensor = model.encode(
        items, batch_size=max(len(items), 1), convert_to_tensor=True, show_progress_bar=False
    )
    return found.clone()  # its tensors are made in inference mode


def _weights(model: Any) -> str:
    digest = hashlib.sha256()
    add_weights(digest, model)
    return digest.hexdigest()
