"""A captioner or evaluator whose answers are known."""

from fdrd.captioning import Answer, Failure


class Scripted:
    """Give one answer, or what a function of the question returns: text, a failure, or an error to raise."""

    converses = True
    free = False

    def __init__(self, name, reply, stop_after=None):
        self.identity = {"name": name, "model": name}
        self.reply = reply
        self.asked = []
        self.stop_after = stop_after

    def answer(self, questions, keep):
        while self.stop_after is None or len(self.asked) < self.stop_after:
            question = next(questions, None)
            if question is None:
                return ""
            self.asked.append(question.text)
            reply = self.reply(question.text) if callable(self.reply) else self.reply
            if isinstance(reply, type):
                raise reply
            keep(question, reply if isinstance(reply, Failure) else Answer(reply))
        return "budget_spent"
