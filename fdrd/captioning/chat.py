"""The words of OpenAI's chat completions: a question with a picture as a request, and what a reply says."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from fdrd.captioning.captioner import Answer, Failure

if TYPE_CHECKING:
    import httpx2

LONGEST_ASKED = 900.0
"""Seconds that a server may ask to wait."""

_SAID = 200  # characters of a server's message that are shown
_JPEG_QUALITY = 92


class TryAgainError(Exception):
    """An attempt that failed in a way that another may not; `after` is what the server asked to wait."""

    def __init__(self, reason: str, detail: str, after: float = 0.0) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)
        self.after = after


class RefusedError(Exception):
    """This question has no answer there, and will have none another time."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.failure = Failure(reason, detail)


class ClosedError(Exception):
    """No question at all is answered there: for the key, the address, or the account."""

    def __init__(self, what: Literal["key", "address", "account"], detail: str) -> None:
        super().__init__(detail)
        self.what = what


def make_request(picture: Image.Image, text: str, **options: Any) -> bytes:
    """The body of a request. The picture is made anew, so that no metadata of its file goes along."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=_JPEG_QUALITY)
    url = f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
    content = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": text},
    ]
    return json.dumps({"messages": [{"role": "user", "content": content}], **options}).encode()


def read_reply(reply: httpx2.Response, hidden: Callable[[str], str] = str) -> Answer:
    """The answer in a reply.

    Args:
        reply: read to its end.
        hidden: takes out of the server's words what nobody may read.

    Raises:
        TryAgainError: there is none, and another attempt may have one.
        RefusedError: there is none for this question.
        ClosedError: there is none for any.
    """
    status = reply.status_code
    if status == 200:
        return _read_answer(reply)
    said = f"{status}: {hidden(' '.join(reply.text.split()))[:_SAID]}"
    after = seconds_asked(reply.headers.get("retry-after", ""))
    if status == 402 or "insufficient_quota" in said:
        raise ClosedError("account", said)
    if status == 429:
        raise TryAgainError("rate_limited", said, after)
    if status >= 500 or status in (408, 409, 425):
        raise TryAgainError("server_error", said, after)
    if status in (401, 403):
        raise ClosedError("key", said)
    if status in (404, 405) or status < 400:
        raise ClosedError("address", said)
    raise RefusedError("question_refused", said)


def _read_answer(reply: httpx2.Response) -> Answer:
    try:
        value = reply.json()
        choice, usage = value["choices"][0], value.get("usage") or {}
        text, finish = choice["message"].get("content"), choice.get("finish_reason")
        read, written = (
            int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")
        )
        if text is not None and not isinstance(text, str):
            raise TypeError(f"content is a {type(text).__name__}")
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise TryAgainError("malformed_answer", f"{type(error).__name__}: {error}") from None
    if text and text.strip():
        return Answer(text, read, written, cut=finish == "length")
    if finish == "content_filter":
        raise RefusedError("question_refused", "the server's filter of contents stopped the answer")
    if finish == "length":
        raise RefusedError("empty_answer", "all of max_tokens went into thoughts; allow more")
    raise TryAgainError("empty_answer", f"finish_reason is {finish!r}")


def seconds_asked(header: str) -> float:
    """What `Retry-After` asks for: seconds, or a date.

    >>> seconds_asked("2.5"), seconds_asked("soon"), seconds_asked("Thu, 01 Jan 1970 00:00:00 GMT")
    (2.5, 0.0, 0.0)
    """
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return max(0.0, min(seconds, LONGEST_ASKED)) if seconds == seconds else 0.0
