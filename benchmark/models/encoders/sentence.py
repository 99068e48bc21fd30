"""Multimodal models of sentence-transformers as plain encoders: `st:NAME` (`pip install 'fdrd[st]'`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

import torch
from PIL import Image
from torch import Tensor
from torch.nn import ModuleList

from benchmark.models.backbone import EncoderSetup, Features, concatenate
from benchmark.models.image_batches import AnyImages, decoded
from benchmark.models.layers import with_layers
from benchmark.models.plain_encoder import LayerFunctions, PlainEncoder
from benchmark.models.promptable import token_counts, tokenizer_rules
from benchmark.models.tensor_files import add_tensors
from fdrd.errors import FdrdError


def load(target: str, **setup: Unpack[EncoderSetup]) -> PlainEncoder:
    """Return a model of sentence-transformers that encodes images and text.

    Raises:
        FdrdError: the model is missing or damaged, or encodes only text.
    """
    name = setup["name"]
    setup["options"].only(name, "precision")
    from sentence_transformers import SentenceTransformer

    try:
        model = _loaded(SentenceTransformer, target, name, setup["device"])
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise FdrdError(
            f"backbone {name!r}: sentence-transformers cannot load it ({error})"
        ) from error

    def encode(items: list[Any]) -> Tensor:
        features: Tensor = model.encode(
            items, batch_size=max(len(items), 1), convert_to_tensor=True, show_progress_bar=False
        )
        return features.clone()  # its tensors are made in inference mode

    try:
        widths = [encode([item]).shape[1] for item in (Image.new("RGB", (32, 32)), "a")]
    except Exception as error:  # what a text model makes of an image differs by model
        raise FdrdError(
            f"backbone {name!r} does not encode both images and text ({error})"
        ) from error
    if len(set(widths)) > 1:
        raise FdrdError(f"backbone {name!r}: images and texts have {widths} dimensions")
    processor = getattr(model[0], "processor", None)
    tokenizer = getattr(processor, "tokenizer", None) or getattr(model, "tokenizer", None)
    return PlainEncoder(
        lambda images: encode(decoded(images)),
        lambda captions: encode(list(captions)),
        fingerprint=_fingerprint(model, processor, tokenizer),
        dim=widths[0],
        context=int(model.max_seq_length or getattr(tokenizer, "model_max_length", 0) or 0),
        count_tokens=partial(token_counts, tokenizer) if tokenizer is not None else None,
        layers=_layers(model, tokenizer, encode),
        **setup,
    )


def _layers(
    model: Any, tokenizer: Any, encode: Callable[[list[Any]], Tensor]
) -> LayerFunctions | None:
    """Return what reads layers if the model holds two transformers of a CLIP or SigLIP; None otherwise.

    Items are encoded one at a time, because `encode` sorts a batch by length.
    """

    def towers(module: Any) -> list[Any]:
        both = (getattr(module, name, None) for name in ("vision_model", "text_model"))
        return [
            t
            for t in both
            if isinstance(getattr(getattr(t, "encoder", 0), "layers", 0), ModuleList)
        ]

    found = next((both for both in map(towers, model.modules()) if len(both) == 2), None)
    if found is None or tokenizer is None:
        return None
    vision, text = found
    first = int(hasattr(vision.embeddings, "class_embedding"))
    special = torch.tensor(tokenizer.all_special_ids)
    ids: list[Tensor] = []

    def keep_ids(_module: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        ids[:] = [options["input_ids"] if "input_ids" in options else args[0]]

    def each(items: Sequence[Any], layers: Sequence[int], tower: Any, selected: Any) -> Features:
        def one(item: Any) -> Features:
            return with_layers(
                tower.encoder.layers, layers, lambda: Features(encode([item])), selected
            )

        return concatenate([one(item) for item in items])

    def images(some: AnyImages, layers: Sequence[int]) -> Features:
        return each(
            decoded(some), layers, vision, lambda length: torch.arange(length)[None] >= first
        )

    def texts(some: Sequence[str], layers: Sequence[int]) -> Features:
        with text.register_forward_pre_hook(keep_ids, with_kwargs=True):
            return each(some, layers, text, lambda _: ~torch.isin(ids[0].cpu(), special))

    sizes = vision.config, text.config
    return LayerFunctions(
        images,
        texts,
        *(each.num_hidden_layers for each in sizes),
        *(each.hidden_size for each in sizes),
    )


def _loaded(library: Any, target: str, name: str, device: torch.device | str) -> Any:
    """Return a frozen model of which no tensor is random.

    A library that draws nothing has found all tensors in the files. If it draws, e.g. for a layer that is
    overwritten afterwards, the model is loaded under another seed and compared.
    """

    def under(seed: int) -> tuple[Any, bool]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            model = library(
                target,
                device=str(device),
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "dtype": torch.float32},
            )
            drew = not torch.equal(before, torch.get_rng_state())
        return model.eval().requires_grad_(False), drew

    model, drew = under(seed=0)
    if drew and _weights(model) != _weights(under(seed=1)[0]):
        raise FdrdError(
            f"backbone {name!r}: some of its tensors are random, because its files lack them; "
            f"download or save the model again"
        )
    return model


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


def _weights(model: Any) -> str:
    digest = hashlib.sha256()
    add_tensors(digest, model.state_dict())
    return digest.hexdigest()
