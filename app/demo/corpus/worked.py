"""Sums, differences, products and quotients worked out digit by digit, always in the same few words."""

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
    if sign == "/":
        return False
    return left <= TABLE and right <= TABLE


def result(left: int, sign: str, right: int) -> int:
    """The right answer; nothing remains of a quotient."""
    return {"+": left + right, "-": left - right, "*": left * right, "/": left // max(1, right)}[sign]


def worked(left: int, sign: str, right: int) -> str:
    """The whole answer, such as `7 + 8 = 15, 4 + 3 + 1 = 8, so 47 + 38 = 85`; what counts comes last."""
    last = f"{left} {sign} {right} = {result(left, sign, right)}"
    if is_table(left, sign, right):
        return last
    if sign == "-" and right > left:
        steps = [] if is_table(right, "-", left) else _difference(right, left)
        return ", ".join([*steps, f"{right} - {left} = {right - left}"]) + f", so {last}"
    steps = {"+": _sum, "-": _difference, "*": _product, "/": _quotient}[sign](left, right)
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
    """By each digit of the smaller factor, from the last to the first, and then the sum of what that makes."""
    factor, number = sorted((left, right))
    if factor <= TABLE:
        return _multiple(number, factor)
    steps, total = [], 0
    for place, digit in enumerate(_digits(factor)):
        if not digit:
            continue
        part = number * digit * 10**place
        steps += [*_multiple(number, digit), f"makes {part}"]
        if total:
            steps += _sum(part, total)
        total += part
    return steps


def _multiple(number: int, factor: int) -> list[str]:
    """Each digit of the number by the factor."""
    steps, carry = [], 0
    for digit in _digits(number):
        total = digit * factor + carry
        steps.append(f"{digit} * {factor}{f' + {carry}' if carry else ''} = {total}")
        carry = total // 10
    return steps


def _quotient(left: int, right: int) -> list[str]:
    """From the first digit to the last: how often, and what remains for the next."""
    steps, rest = [], 0
    for digit in str(left):
        rest = 10 * rest + int(digit)
        steps.append(f"{rest} = {rest // right} * {right} + {rest % right}")
        rest %= right
    return steps
