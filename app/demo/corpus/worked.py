"""Sums, differences and products worked out digit by digit, always in the same few words."""

from itertools import zip_longest

TABLE = 10
"""Sums and products of smaller numbers are known by heart; everything else is made of them."""


def _digits(number: int) -> list[int]:
    """From the last to the first."""
    return [int(digit) for digit in reversed(str(number))]


def is_table(left: int, sign: str, right: int) -> bool:
    """Whether this is one of the small facts that all others are made of."""
    if sign == "+":
        return left < TABLE and right < TABLE
    if sign == "-":
        return right < TABLE and left - right < TABLE
    return left <= TABLE and right <= TABLE


def result(left: int, sign: str, right: int) -> int:
    """The right answer."""
    return {"+": left + right, "-": left - right, "*": left * right}[sign]


def worked(left: int, sign: str, right: int) -> str:
    """The whole answer, such as `7 + 8 = 15, 4 + 3 + 1 = 8, so 47 + 38 = 85`; what counts comes last."""
    last = f"{left} {sign} {right} = {result(left, sign, right)}"
    if is_table(left, sign, right):
        return last
    if sign == "-" and right > left:
        steps = [] if is_table(right, "-", left) else _difference(right, left)
        return ", ".join([*steps, f"{right} - {left} = {right - left}"]) + f", so {last}"
    steps = {"+": _sum, "-": _difference, "*": _product}[sign](left, right)
    return ", ".join(steps) + f", so {last}"


def _sum(left: int, right: int) -> list[str]:
    steps, carry = [], 0
    for upper, lower in zip_longest(_digits(left), _digits(right), fillvalue=0):
        total = upper + lower + carry
        steps.append(f"{upper} + {lower}{' + 1' if carry else ''} = {total}")
        carry = total // 10
    return steps


def _difference(left: int, right: int) -> list[str]:
    steps, borrowed = [], 0
    for upper, lower in zip_longest(_digits(left), _digits(right), fillvalue=0):
        short = upper - borrowed < lower
        top = upper + 10 * short
        steps.append(f"{top} - {lower}{' - 1' if borrowed else ''} = {top - lower - borrowed}")
        borrowed = int(short)
    return steps


def _product(left: int, right: int) -> list[str]:
    """One factor has a single digit, by which each digit of the other is taken."""
    factor, number = sorted((left, right))
    steps, carry = [], 0
    for digit in _digits(number):
        total = digit * factor + carry
        steps.append(f"{digit} * {factor}{f' + {carry}' if carry else ''} = {total}")
        carry = total // 10
    return steps
