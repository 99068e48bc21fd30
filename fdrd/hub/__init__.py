"""Built datasets on the Hugging Face Hub: what a push would do, and doing it."""

from fdrd.hub.plan import Plan
from fdrd.hub.push import Pushed, carry_out, prepare
from fdrd.hub.repository_state import Options

__all__ = ["Options", "Plan", "Pushed", "carry_out", "prepare"]
