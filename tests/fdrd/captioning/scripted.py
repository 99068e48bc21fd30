"""A captioner or evaluator whose answers are known."""

from fdrd.captioning import Answer, Expected, Failure


class Scripted:
    """Give one answer, or what a function of the question returns: text, a failure, or an error to raise."""

    converses = True
    free = False

    def __init__(self, name, said, stop_after=None):
        self.identity = {"name": name, "model": name}
        self.said = said
        self.asked = []
        self.stop_after = stop_after

    def expected(self, text):
        return Expected()

    def answer(self, questions, keep):
        while self.stop_after is None or len(self.asked) < self.stop_after:
            question = next(questions, None)
            if question is None:
                return ""
            self.asked.append(question.text)
            said = self.said(question.text) if callable(self.said) else self.said
            if isinstance(said, type):
                raise said
            keep(question, said if isinstance(said, Failure) else Answer(said))
        return "budget_spent"
