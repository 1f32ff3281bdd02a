"""Short Python functions with a call that shows that each is right."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CodeSample:
    """A function: `body` holds `$1`, `$2` where its parameters stand; `arguments` give `result`.

    `tasks` say what it does in ways that do not follow from what it `returns`.
    """

    names: tuple[str, ...]
    returns: str
    parameters: tuple[tuple[tuple[str, ...], str], ...]
    annotation: str
    body: str
    arguments: tuple[object, ...]
    result: object
    tasks: tuple[str, ...] = ()


NUMBER = (("x", "n", "number", "value"), "int")
LEFT = (("a", "x", "left", "first"), "int")
RIGHT = (("b", "y", "right", "second"), "int")
NUMBERS = (("numbers", "values", "items"), "list[int]")
TEXT = (("text", "word", "s", "string"), "str")
WORDS = (("words", "names", "items"), "list[str]")

SAMPLES: tuple[CodeSample, ...] = (
    CodeSample(("add", "plus"), "the sum of two numbers", (LEFT, RIGHT), "int", "return $1 + $2", (3, 4), 7,
               ("add two numbers",)),
    CodeSample(("subtract", "difference"), "the difference of two numbers", (LEFT, RIGHT), "int", "return $1 - $2",
               (9, 4), 5,
               ("subtract two numbers",)),
    CodeSample(("multiply", "product_of_two"), "the product of two numbers", (LEFT, RIGHT), "int", "return $1 * $2",
               (3, 4), 12,
               ("multiply two numbers",)),
    CodeSample(("larger", "max_of_two"), "the larger of two numbers", (LEFT, RIGHT), "int",
               "if $1 > $2:\n    return $1\nreturn $2", (3, 8), 8),
    CodeSample(("smaller", "min_of_two"), "the smaller of two numbers", (LEFT, RIGHT), "int",
               "if $1 < $2:\n    return $1\nreturn $2", (3, 8), 3),
    CodeSample(("square",), "the square of a number", (NUMBER,), "int", "return $1 * $1", (5,), 25,
               ("square a number",)),
    CodeSample(("cube",), "the cube of a number", (NUMBER,), "int", "return $1 ** 3", (2,), 8),
    CodeSample(("double", "twice"), "twice a number", (NUMBER,), "int", "return 2 * $1", (5,), 10,
               ("double a number",)),
    CodeSample(("absolute", "absolute_value"), "the absolute value of a number", (NUMBER,), "int",
               "if $1 < 0:\n    return -$1\nreturn $1", (-5,), 5),
    CodeSample(("is_even", "even"), "whether a number is even", (NUMBER,), "bool", "return $1 % 2 == 0", (6,), True),
    CodeSample(("is_odd", "odd"), "whether a number is odd", (NUMBER,), "bool", "return $1 % 2 == 1", (6,), False),
    CodeSample(("is_positive",), "whether a number is positive", (NUMBER,), "bool", "return $1 > 0", (6,), True),
    CodeSample(("is_prime", "prime"), "whether a number is prime", (NUMBER,), "bool",
               "if $1 < 2:\n    return False\nfor divisor in range(2, $1):\n    if $1 % divisor == 0:\n"
               "        return False\nreturn True", (13,), True),
    CodeSample(("factorial",), "the factorial of a number", (NUMBER,), "int",
               "result = 1\nfor factor in range(2, $1 + 1):\n    result *= factor\nreturn result", (5,), 120),
    CodeSample(("fibonacci", "fib"), "the n-th Fibonacci number", (NUMBER,), "int",
               "previous, current = 0, 1\nfor _ in range($1):\n    previous, current = current, previous + current\n"
               "return previous", (10,), 55,
               ("compute Fibonacci numbers",)),
    CodeSample(("sum_to", "sum_up_to"), "the sum of the numbers from 1 to n", (NUMBER,), "int",
               "return $1 * ($1 + 1) // 2", (10,), 55),
    CodeSample(("gcd", "greatest_common_divisor"), "the greatest common divisor of two numbers", (LEFT, RIGHT), "int",
               "while $2:\n    $1, $2 = $2, $1 % $2\nreturn $1", (12, 18), 6),
    CodeSample(("total", "sum_of_list"), "the sum of a list of numbers", (NUMBERS,), "int",
               "result = 0\nfor each in $1:\n    result += each\nreturn result",
               ([1, 2, 3],), 6,
               ("sum a list", "add up a list of numbers",)),
    CodeSample(("largest", "max_of_list"), "the largest number of a list", (NUMBERS,), "int",
               "best = $1[0]\nfor each in $1:\n    if each > best:\n        best = each\nreturn best", ([1, 7, 3],), 7,
               ("find the maximum of a list",)),
    CodeSample(("smallest", "min_of_list"), "the smallest number of a list", (NUMBERS,), "int",
               "best = $1[0]\nfor each in $1:\n    if each < best:\n        best = each\nreturn best", ([4, 2, 3],), 2,
               ("find the minimum of a list",)),
    CodeSample(("average", "mean"), "the average of a list of numbers", (NUMBERS,), "float",
               "return sum($1) / len($1)", ([1, 2, 3],), 2.0),
    CodeSample(("even_numbers", "keep_even"), "the even numbers of a list", (NUMBERS,), "list[int]",
               "return [each for each in $1 if each % 2 == 0]", ([1, 2, 4],), [2, 4],
               ("filter the even numbers of a list",)),
    CodeSample(("squares", "square_all"), "the squares of a list of numbers", (NUMBERS,), "list[int]",
               "return [each * each for each in $1]", ([1, 2, 3],), [1, 4, 9]),
    CodeSample(("reverse_list", "reversed_list"), "a list in reverse order", (NUMBERS,), "list[int]",
               "return $1[::-1]", ([1, 2, 3],), [3, 2, 1],
               ("reverse a list",)),
    CodeSample(("sorted_list", "sort_numbers"), "a list of numbers in order", (NUMBERS,), "list[int]",
               "return sorted($1)", ([3, 1, 2],), [1, 2, 3],
               ("sort a list", "sort a list of numbers",)),
    CodeSample(("unique", "without_duplicates"), "a list without duplicates", (NUMBERS,), "list[int]",
               "result = []\nfor each in $1:\n    if each not in result:\n        result.append(each)\nreturn result",
               ([1, 2, 1],), [1, 2],
               ("remove duplicates from a list",)),
    CodeSample(("reverse", "reverse_string"), "a string in reverse order", (TEXT,), "str", "return $1[::-1]",
               ("abc",), "cba",
               ("reverse a string",)),
    CodeSample(("is_palindrome", "palindrome"), "whether a string is a palindrome", (TEXT,), "bool",
               "return $1 == $1[::-1]", ("level",), True),
    CodeSample(("count_vowels", "vowels"), "the number of vowels in a string", (TEXT,), "int",
               "count = 0\nfor letter in $1.lower():\n    if letter in \"aeiou\":\n        count += 1\nreturn count",
               ("Hello",), 2,
               ("count the vowels in a string",)),
    CodeSample(("count_words", "word_count"), "the number of words in a string", (TEXT,), "int",
               "return len($1.split())", ("one two",), 2,
               ("count the words in a string",)),
    CodeSample(("shout", "to_upper"), "a string in capital letters", (TEXT,), "str", "return $1.upper()",
               ("hi",), "HI",
               ("convert a string to upper case",)),
    CodeSample(("greet", "greeting"), "a greeting for a name", ((("name", "person"), "str"),), "str",
               "return \"Hello, \" + $1 + \"!\"", ("Mia",), "Hello, Mia!",
               ("greet somebody", "say hello",)),
    CodeSample(("longest", "longest_word"), "the longest word of a list", (WORDS,), "str",
               "return max($1, key=len)", (["a", "abc"],), "abc"),
    CodeSample(("join_words", "join"), "the words of a list joined by spaces", (WORDS,), "str",
               "return \" \".join($1)", (["a", "b"],), "a b",
               ("join the words of a list",)),
)  # fmt: skip
