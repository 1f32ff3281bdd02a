"""Families of Python functions that differ in a number or a word: many to learn from, and as many to be asked for."""

from app.demo.corpus.code_samples import NUMBER, NUMBERS, TEXT, WORDS, CodeSample
from app.demo.corpus.dice import Dice

_LETTERS = "abcdefghijklmnoprstuvw"

FAMILIES: tuple[CodeSample, ...] = (
    CodeSample(("add_$k", "plus_$k", "increase_by_$k"), "a number plus $k", (NUMBER,), "int", "return $1 + $k", (5,),
               "$1 + $k"),
    CodeSample(("subtract_$k", "minus_$k", "decrease_by_$k"), "a number minus $k", (NUMBER,), "int", "return $1 - $k",
               (5,), "$1 - $k"),
    CodeSample(("times_$k", "multiply_by_$k"), "a number times $k", (NUMBER,), "int", "return $1 * $k", (5,),
               "$1 * $k"),
    CodeSample(("divide_by_$k", "over_$k"), "a number divided by $k", (NUMBER,), "float", "return $1 / $k", (5,),
               "$1 / $k"),
    CodeSample(("remainder_by_$k", "modulo_$k"), "the remainder of a number divided by $k", (NUMBER,), "int",
               "return $1 % $k", (17,), "$1 % $k"),
    CodeSample(("is_multiple_of_$k", "divisible_by_$k"), "whether a number is a multiple of $k", (NUMBER,), "bool",
               "return $1 % $k == 0", (12,), "$1 % $k == 0"),
    CodeSample(("is_above_$k", "greater_than_$k"), "whether a number is greater than $k", (NUMBER,), "bool",
               "return $1 > $k", (12,), "$1 > $k"),
    CodeSample(("is_below_$k", "less_than_$k"), "whether a number is less than $k", (NUMBER,), "bool",
               "return $1 < $k", (12,), "$1 < $k"),
    CodeSample(("equals_$k", "is_$k"), "whether a number is $k", (NUMBER,), "bool", "return $1 == $k", (12,),
               "$1 == $k"),
    CodeSample(("at_most_$k", "cap_at_$k"), "a number, but at most $k", (NUMBER,), "int", "return min($1, $k)", (12,),
               "min($1, $k)"),
    CodeSample(("at_least_$k", "floor_at_$k"), "a number, but at least $k", (NUMBER,), "int", "return max($1, $k)",
               (12,), "max($1, $k)"),
    CodeSample(("first_$k", "take_$k"), "the first $k numbers of a list", (NUMBERS,), "list[int]", "return $1[:$k]",
               ([1, 2, 3, 4, 5, 6],), "$1[:$k]"),
    CodeSample(("last_$k", "tail_$k"), "the last $k numbers of a list", (NUMBERS,), "list[int]", "return $1[-$k:]",
               ([1, 2, 3, 4, 5, 6],), "$1[-$k:]"),
    CodeSample(("without_first_$k", "drop_$k"), "a list without its first $k numbers", (NUMBERS,), "list[int]",
               "return $1[$k:]", ([1, 2, 3, 4, 5, 6],), "$1[$k:]"),
    CodeSample(("above_$k", "keep_above_$k"), "the numbers of a list that are greater than $k", (NUMBERS,),
               "list[int]",
               "return [each for each in $1 if each > $k]", ([1, 50, 99],), "[each for each in $1 if each > $k]"),
    CodeSample(("below_$k", "keep_below_$k"), "the numbers of a list that are less than $k", (NUMBERS,), "list[int]",
               "return [each for each in $1 if each < $k]", ([1, 50, 99],), "[each for each in $1 if each < $k]"),
    CodeSample(("count_$k", "how_many_$k"), "how many times $k is in a list", (NUMBERS,), "int",
               "count = 0\nfor each in $1:\n    if each == $k:\n        count += 1\nreturn count", ([7, 8, 7],),
               "$1.count($k)"),
    CodeSample(("contains_$k", "has_$k"), "whether $k is in a list", (NUMBERS,), "bool", "return $k in $1",
               ([7, 8, 7],), "$k in $1"),
    CodeSample(("add_$k_to_all", "all_plus_$k"), "the numbers of a list, each plus $k", (NUMBERS,), "list[int]",
               "return [each + $k for each in $1]", ([1, 2, 3],), "[each + $k for each in $1]"),
    CodeSample(("scale_by_$k", "all_times_$k"), "the numbers of a list, each times $k", (NUMBERS,), "list[int]",
               "return [each * $k for each in $1]", ([1, 2, 3],), "[each * $k for each in $1]"),
    CodeSample(("power_$k", "to_the_$k"), "a number to the power of $k", (NUMBER,), "int", "return $1 ** $k", (3,),
               "$1 ** $k"),
    CodeSample(("repeat_$k", "repeat_$k_times"), "a string repeated $k times", (TEXT,), "str", "return $1 * $k",
               ("ab",),
               "$1 * $k"),
    CodeSample(("first_$k_letters", "prefix_$k"), "the first $k letters of a string", (TEXT,), "str", "return $1[:$k]",
               ("millrace",), "$1[:$k]"),
    CodeSample(("longer_than_$k", "is_longer_than_$k"), "whether a string is longer than $k letters", (TEXT,), "bool",
               "return len($1) > $k", ("millrace",), "len($1) > $k"),
    CodeSample(("count_letter_$c", "count_$c"), "how many times the letter $c is in a string", (TEXT,), "int",
               "return $1.count(\"$c\")", ("banana",), "$1.count(\"$c\")"),
    CodeSample(("starts_with_$c", "begins_with_$c"), "whether a string starts with $c", (TEXT,), "bool",
               "return $1.startswith(\"$c\")", ("banana",), "$1.startswith(\"$c\")"),
    CodeSample(("ends_with_$c", "ends_in_$c"), "whether a string ends with $c", (TEXT,), "bool",
               "return $1.endswith(\"$c\")", ("banana",), "$1.endswith(\"$c\")"),
    CodeSample(("remove_$c", "without_$c"), "a string without the letter $c", (TEXT,), "str",
               "return $1.replace(\"$c\", \"\")", ("banana",), "$1.replace(\"$c\", \"\")"),
    CodeSample(("words_with_$c", "keep_with_$c"), "the words of a list that contain the letter $c", (WORDS,),
               "list[str]",
               "return [each for each in $1 if \"$c\" in each]", (["oak", "fir"],),
               "[each for each in $1 if \"$c\" in each]"),
    CodeSample(("words_longer_than_$k", "keep_longer_than_$k"), "the words of a list that are longer than $k letters",
               (WORDS,), "list[str]", "return [each for each in $1 if len(each) > $k]", (["oak", "millrace"],),
               "[each for each in $1 if len(each) > $k]"),
)  # fmt: skip


def with_constant(dice: Dice, family: CodeSample) -> CodeSample:
    """A member of the family: its number or its letter is chosen."""
    number, letter = str(dice.choice((dice.randint(2, 9), dice.randint(2, 99)))), dice.choice(_LETTERS)

    def fill(text: str) -> str:
        return text.replace("$k", number).replace("$c", letter)

    return CodeSample(
        tuple(map(fill, family.names)), fill(family.returns), family.parameters, family.annotation, fill(family.body),
        family.arguments, fill(str(family.result)),
    )  # fmt: skip
