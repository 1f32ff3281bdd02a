"""The exams of the embedded model: questions that its training text cannot contain."""

from app.demo.exams import arithmetic, facts, ordering, programs, storytelling, structured
from app.demo.exams.exam import Exam, Question

__all__ = ["EXAMS", "Exam", "Question"]

EXAMS: tuple[Exam, ...] = (
    *arithmetic.EXAMS,
    *facts.EXAMS,
    *programs.EXAMS,
    *structured.EXAMS,
    *storytelling.EXAMS,
    *ordering.EXAMS,
)
