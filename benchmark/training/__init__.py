"""Training: the loop, losses, prompt learners, adapters, resumable state, training negatives.

May import `models`, `evaluation` (for validation) and the registry. Methods use `learn`, `PromptMethod`,
`FineTuned` and the learners; most are exported by `benchmark`.
"""
