"""`fdrd reasons`."""

from __future__ import annotations

from fdrd.commands.console import app, print_hint, print_json, print_table
from fdrd.commands.options import Json
from fdrd.policy import default_action
from fdrd.reasons import KEEPABLE, REASONS, RULES


@app.command(epilog="Example:  fdrd reasons")
def reasons(json: Json = False) -> None:
    """List why `fdrd build` rejects records, the default action, and how it fixes those that it keeps.

    `fdrd build --policy REASON=ACTION` sets another action. A reason whose action is "drop, or fail" leaves no
    usable record, so it cannot be kept.
    """
    actions = {
        reason: default_action(reason) if reason in KEEPABLE else "drop, or fail"
        for reason in REASONS
    }
    if json:
        listed = {name: {"action": actions[name], "meaning": REASONS[name]} for name in REASONS}
        print_json({"reasons": listed, "fixes": RULES})
        return
    print_table(
        ("reason", "action", "a record is rejected because"),
        [(name, actions[name], meaning) for name, meaning in REASONS.items()],
    )
    print_table(("fix", "what happened to a record that is kept"), RULES.items())
    print_hint("Next:  fdrd build SOURCE --policy caption_in_other_split=drop")
