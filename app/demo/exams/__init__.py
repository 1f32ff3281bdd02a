"""What the embedded model is examined in: questions that its training text cannot contain."""

from app.demo.exams import arithmetic
from app.demo.exams.exam import Exam, Question

__all__ = ["EXAMS", "Exam", "Question"]

EXAMS: tuple[Exam, ...] = arithmetic.EXAMS
