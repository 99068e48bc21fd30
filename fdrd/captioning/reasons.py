"""Why a picture got no caption: every code, in one place.

`rejected_captions.jsonl` and the summary of a run use these codes, and those of `fdrd.reasons` for pictures that do
not decode. What a filter rejects has the filter's name (`fdrd.captioning.noise.FILTERS`).
"""

FAILURES: dict[str, str] = {
    "no_answer": "the captioner has nothing for this picture",
    "timeout": "no answer within the time allowed, after all attempts",
    "unreachable": "the connection failed or broke off, after all attempts",
    "rate_limited": "the server said 429 at every attempt",
    "server_error": "the server failed (5xx) at every attempt",
    "malformed_answer": "the server's answer was not what its protocol says, at every attempt",
    "empty_answer": "the model said nothing, at every attempt",
    "question_refused": "the server would not take this question (400, 413, 422)",
    "picture_unreadable": "the picture could not be decoded for the model",
    "budget_spent": "the next question could have gone beyond the budget",
}

VERDICTS: dict[str, str] = {
    "category_not_named": "the evaluator found that the caption does not name the category",
    "picture_contradicted": "the evaluator found something in the caption that contradicts the picture",
    "detail_invented": "the evaluator found something in the caption that the picture does not show",
    "evaluation_unreadable": "the evaluator gave no verdict that could be read",
    "evaluation_failed": "the evaluator gave no answer",
}
