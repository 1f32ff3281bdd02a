"""Streaming shows what decoding the whole output shows: no incomplete character or stop string, no token too early."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise, product
from types import FrameType
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.text.detokenizer import IncrementalDetokenizer
from app.text.tokenizer import Tokenizer
from tests.test_tokenizer import (
    SHARED_TOKENIZERS,
    byte_level,
    byte_level_backend,
    metaspace,
    plain_words,
    sentencepiece,
    sentencepiece_backend,
    shared_tokenizer,
    wordpiece,
)

TEXTS = [
    "The cat, the naïve café: über-cool.\n\n\tEnd",
    "你好、世界。これは日本語のテキストです。 안녕하세요",
    "👨‍👩‍👧‍👦 🇫🇷🇩🇪 👋🏽 🙃.",
    "e\u0301 o\u0308\u0323 नमस्ते",
    "  two  spaces, \ufffd and \u00a0\u200b\U0010ffff",
]
REPLACEMENT = "\ufffd"
MAKERS: list[Callable[[], Tokenizer]] = [
    byte_level,
    sentencepiece,
    *(partial(shared_tokenizer, name) for name in SHARED_TOKENIZERS),
]
every_tokenizer = pytest.mark.parametrize("make", MAKERS, ids=["byte_level", "sentencepiece", *SHARED_TOKENIZERS])
either_tokenizer = pytest.mark.parametrize("make", [byte_level, sentencepiece])
seeded = settings(max_examples=100, deadline=None, derandomize=True, database=None)


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def cut_at(token_ids: Sequence[int], cuts: Sequence[int]) -> list[list[int]]:
    """The ids in parts, cut at the given places (taken modulo the length)."""
    places = sorted({0, len(token_ids), *(cut % (len(token_ids) + 1) for cut in cuts)})
    return [list(token_ids[start:end]) for start, end in pairwise(places)]


class TextDelta(NamedTuple):
    text: str
    num_tokens: int


def push(detokenizer: IncrementalDetokenizer, token_ids: Sequence[int]) -> TextDelta:
    """What is shown now, and how many tokens are shown wholly with it."""
    return TextDelta(detokenizer.push(token_ids), detokenizer.release())


def flush(detokenizer: IncrementalDetokenizer) -> TextDelta:
    return TextDelta(detokenizer.flush(), detokenizer.release())


def stream(detokenizer: IncrementalDetokenizer, parts: Sequence[Sequence[int]]) -> TextDelta:
    """Push the parts and flush: all that was shown."""
    deltas = [*(push(detokenizer, part) for part in parts), flush(detokenizer)]
    return TextDelta("".join(delta.text for delta in deltas), sum(delta.num_tokens for delta in deltas))


def stream_singly(detokenizer: IncrementalDetokenizer, token_ids: Sequence[int]) -> TextDelta:
    return stream(detokenizer, [[token_id] for token_id in token_ids])


def places(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[tuple[int, int]]:
    """Where each token begins and ends in the text, from its bytes.

    Right for valid UTF-8 only, where each byte that is not 0b10xxxxxx begins a character.
    """
    stripped = tokenizer.decode(token_ids) != b"".join(map(tokenizer.token_bytes, token_ids)).decode()
    found, begun = [], -stripped
    for token_id in token_ids:
        data = tokenizer.token_bytes(token_id)
        start = begun - (bool(data) and data[0] & 0xC0 == 0x80)
        begun += sum(byte & 0xC0 != 0x80 for byte in data)
        found.append((max(start, 0), max(begun, 0)))
    return found


def first_stop(text: str, stops: Sequence[str]) -> tuple[int, str] | None:
    """The end of the earliest completed stop string and the string, the longest of those that complete there."""
    for end in range(1, len(text) + 1):
        if complete := [stop for stop in stops if text.endswith(stop, 0, end)]:
            return end, max(complete, key=len)
    return None


def held_back(text: str, stops: Sequence[str]) -> int:
    """Length of the longest end of the text that begins a stop string."""
    sizes = [size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])]
    return max(sizes, default=0)


# --- streamed = not streamed -------------------------------------------------------------------------------------


@every_tokenizer
def test_texts_cut_at_every_place_stream_as_they_decode(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        ids = encode(tokenizer, text)
        whole = tokenizer.decode(ids)
        for cut in range(len(ids) + 1):
            assert stream(IncrementalDetokenizer(tokenizer), [ids[:cut], ids[cut:]]) == (whole, len(ids))
        for size in range(1, len(ids)):
            parts = [ids[start : start + size] for start in range(0, len(ids), size)]
            assert stream(IncrementalDetokenizer(tokenizer), parts) == (whole, len(ids))


@every_tokenizer
def test_an_output_that_ends_anywhere_streams_as_it_decodes(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        ids = encode(tokenizer, text)
        for end in range(len(ids)):
            assert stream_singly(IncrementalDetokenizer(tokenizer), ids[:end]) == (tokenizer.decode(ids[:end]), end)


@every_tokenizer
def test_a_character_is_shown_whole_and_as_soon_as_its_last_token_is_there(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        detokenizer, shown = IncrementalDetokenizer(tokenizer), ""
        ids = encode(tokenizer, text.replace(REPLACEMENT, ""))
        for count, token_id in enumerate(ids, start=1):
            shown += push(detokenizer, [token_id]).text
            assert shown == tokenizer.decode(ids[:count]).rstrip(REPLACEMENT)


def random_ids(tokenizer: Tokenizer) -> st.SearchStrategy[list[int]]:
    """Ids of all kinds: whole characters, parts of characters, special and unknown tokens."""
    parts = st.sampled_from([*encode(tokenizer, "é你🙂👋🏽"), tokenizer.vocab_size, 0, 1, 2])
    return st.lists(st.one_of(st.integers(0, tokenizer.vocab_size), parts), max_size=16)


@either_tokenizer
def test_random_tokens_in_random_parts_stream_as_they_decode(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()

    @seeded
    @given(random_ids(tokenizer), st.lists(st.integers(0, 16)), st.booleans())
    def check(ids: list[int], cuts: list[int], skip: bool) -> None:
        detokenizer = IncrementalDetokenizer(tokenizer, skip_special_tokens=skip)
        assert stream(detokenizer, cut_at(ids, cuts)) == (tokenizer.decode(ids, skip), len(ids))
        assert detokenizer.num_output_tokens == len(detokenizer.token_offsets) == len(ids)

    check()


@pytest.mark.parametrize("name", SHARED_TOKENIZERS)
def test_random_tokens_of_published_tokenizers_stream_as_they_decode(name: str) -> None:
    tokenizer, rng = shared_tokenizer(name), random.Random(7)
    for _ in range(400):
        ids = rng.choices(range(tokenizer.vocab_size + 1), k=rng.randrange(20))
        detokenizer = IncrementalDetokenizer(tokenizer)
        assert stream(detokenizer, cut_at(ids, rng.choices(range(20), k=3))) == (tokenizer.decode(ids), len(ids))


@pytest.mark.parametrize("make", [metaspace, wordpiece, plain_words])
def test_vocabularies_of_words_stream_as_they_decode(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for ids in product(range(tokenizer.vocab_size + 1), repeat=3):
        assert stream_singly(IncrementalDetokenizer(tokenizer), ids).text == tokenizer.decode(ids)
        continued = IncrementalDetokenizer(tokenizer, prompt_token_ids=ids[:1])
        assert tokenizer.decode(ids[:1]) + stream_singly(continued, ids[1:]).text == tokenizer.decode(ids)


def test_broken_bytes_are_read_one_by_one_as_a_utf_8_decoder_reads_them_whole() -> None:
    tokenizer, backend = byte_level(), byte_level_backend()
    id_of, rng = byte_ids(tokenizer, bytes(range(256))), random.Random(11)
    edges = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5, 0xFF]
    samples = [bytes(pair) for pair in product(range(0x7F, 256), range(256))]
    samples += [bytes(rng.choices(edges, k=rng.randint(3, 6))) for _ in range(4000)]
    for data in samples:
        ids = [id_of[byte] for byte in data]
        shown = stream_singly(IncrementalDetokenizer(tokenizer), ids).text
        assert shown == data.decode(errors="replace") == backend.decode(ids)


# --- bytes in SentencePiece vocabularies -------------------------------------------------------------------------


def byte_ids(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """One token for each byte."""
    id_of = {tokenizer.token_bytes(token_id): token_id for token_id in range(tokenizer.vocab_size)}
    return [id_of[bytes([byte])] for byte in data]


def read_characters(data: bytes) -> str:
    """The characters of UTF-8, and one U+FFFD for each byte that is no part of one."""
    text = ""
    while data:
        character = next((data[:size] for size in range(1, 5) if data[:size].decode(errors="ignore")), b"")
        whole = character.decode(errors="ignore").encode() == character != b""
        text += character.decode() if whole else REPLACEMENT
        data = data[len(character) if whole else 1 :]
    return text


@seeded
@given(st.lists(st.one_of(st.integers(0, 2), st.integers(3, 258), st.integers(0x83, 0x102)), max_size=12))
def test_each_byte_token_that_is_no_part_of_a_character_is_one_replacement(ids: list[int]) -> None:
    tokenizer = sentencepiece()
    data = b"".join(tokenizer.token_bytes(token_id) for token_id in ids if token_id > 2)
    assert tokenizer.decode(ids) == read_characters(data).removeprefix(" ")


@seeded
@given(st.text(alphabet="ab 好é🙂\n", max_size=12), st.binary(min_size=1, max_size=1))
def test_byte_tokens_decode_as_in_transformers_unless_a_run_of_them_is_broken(text: str, byte: bytes) -> None:
    tokenizer, backend = sentencepiece(), sentencepiece_backend()
    ids = encode(tokenizer, text)
    assert tokenizer.decode(ids) == backend.decode(ids) == text
    broken = encode(tokenizer, "a") + byte_ids(tokenizer, byte) + encode(tokenizer, "b")
    assert tokenizer.decode(broken) == backend.decode(broken)


def test_complete_characters_stay_shown_when_the_run_of_bytes_they_stand_in_breaks_off() -> None:
    tokenizer = sentencepiece()
    detokenizer, ids = IncrementalDetokenizer(tokenizer), byte_ids(tokenizer, "日本".encode()[:-1])
    assert push(detokenizer, ids) == ("日", 3)
    assert flush(detokenizer) == (REPLACEMENT * 2, 2)


# --- going on from a prompt --------------------------------------------------------------------------------------


def continuation(tokenizer: Tokenizer, prompt: list[int], output: list[int]) -> str:
    """What the output adds to the prompt's text, where a character that it completes is added whole.

    Right for texts without a U+FFFD of their own.
    """
    before, whole = tokenizer.decode(prompt), tokenizer.decode(prompt + output)
    while not whole.startswith(before):
        assert before.endswith(REPLACEMENT)
        before = before[:-1]
    return whole[len(before) :]


@every_tokenizer
def test_an_output_continues_the_prompt_wherever_that_ends(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        ids = tokenizer.encode(text.replace(REPLACEMENT, ""))
        for cut in range(len(ids) + 1):
            prompt, output = ids[:cut], ids[cut:]
            detokenizer = IncrementalDetokenizer(tokenizer, prompt_token_ids=prompt)
            expected = continuation(tokenizer, prompt, output)
            assert stream_singly(detokenizer, output) == (expected, len(output))


@either_tokenizer
def test_random_outputs_continue_random_prompts(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()

    @seeded
    @given(random_ids(tokenizer), random_ids(tokenizer))
    def check(prompt: list[int], output: list[int]) -> None:
        detokenizer = IncrementalDetokenizer(tokenizer, prompt_token_ids=prompt)
        expected = continuation(tokenizer, prompt, output)
        assert stream_singly(detokenizer, output) == (expected, len(output))

    check()


@either_tokenizer
def test_a_replacement_character_of_the_models_own_is_completed_like_any_other(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    ids = byte_ids(tokenizer, REPLACEMENT.encode())
    detokenizer = IncrementalDetokenizer(tokenizer, prompt_token_ids=ids[:2])
    assert stream_singly(detokenizer, ids[2:]) == (REPLACEMENT, 1)


def test_a_leading_space_is_lost_only_where_the_text_begins() -> None:
    tokenizer = sentencepiece()
    ids = encode(tokenizer, "the cat")
    assert stream_singly(IncrementalDetokenizer(tokenizer), ids).text == "the cat"
    only_special = IncrementalDetokenizer(tokenizer, prompt_token_ids=[1])
    assert stream_singly(only_special, ids).text == "the cat"
    special_shown = IncrementalDetokenizer(tokenizer, skip_special_tokens=False, prompt_token_ids=[1])
    assert stream_singly(special_shown, ids).text == " the cat"
    after_text = IncrementalDetokenizer(tokenizer, prompt_token_ids=tokenizer.encode("a"))
    assert stream_singly(after_text, ids).text == " the cat"


# --- stop strings ------------------------------------------------------------------------------------------------


@either_tokenizer
@pytest.mark.parametrize("include", [False, True])
def test_a_stop_string_is_cut_wherever_it_stands_and_however_it_arrives(
    make: Callable[[], Tokenizer], include: bool
) -> None:
    tokenizer = make()
    for text, stop in [("the cat sat 🙂", "sat"), ("你好、世界 end", "、世"), ("a\n\n\nb", "\n\n"), ("é🇫🇷x", "🇷")]:
        ids, cut = encode(tokenizer, text), text.index(stop) + include * len(stop)
        for size in range(1, len(ids) + 1):
            detokenizer = IncrementalDetokenizer(tokenizer, ["<<", stop], include_stop=include)
            parts = [ids[start : start + size] for start in range(0, len(ids), size)]
            assert stream(detokenizer, parts).text == text[:cut]
            assert (detokenizer.stopped, detokenizer.stop_string) == (True, stop)


small_texts = st.text(alphabet="ab好🙂", max_size=24)
small_stops = st.lists(st.text(alphabet="ab好🙂", min_size=1, max_size=6), min_size=1, max_size=3)


@either_tokenizer
def test_nothing_is_shown_early_nor_held_back_longer_than_it_may_become_a_stop_string(
    make: Callable[[], Tokenizer],
) -> None:
    tokenizer = make()

    @seeded
    @given(small_texts, small_stops, st.booleans())
    def check(text: str, stops: list[str], include: bool) -> None:
        ids = encode(tokenizer, text)
        detokenizer = IncrementalDetokenizer(tokenizer, stops, include_stop=include)
        shown, released, tokens = "", 0, places(tokenizer, ids)
        for count, token_id in enumerate(ids, start=1):
            delta = push(detokenizer, [token_id])
            shown, released = shown + delta.text, released + delta.num_tokens
            settled = tokenizer.decode(ids[:count]).rstrip(REPLACEMENT)
            if end_and_stop := first_stop(settled, stops):
                end, stop = end_and_stop
                cut = end if include else end - len(stop)
                assert (shown, detokenizer.stop_string, detokenizer.num_output_tokens) == (settled[:cut], stop, count)
                assert released == sum(start < cut or (start, end) == (cut, cut) for start, end in tokens[:count])
                return
            assert shown == settled[: len(settled) - held_back(settled, stops)]
            assert released == sum(end <= len(shown) for _, end in tokens[:count])
        assert stream(detokenizer, []) == (text[len(shown) :], len(ids) - released)

    check()


@either_tokenizer
def test_parts_of_any_size_end_with_the_same_text_and_counts(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()

    @seeded
    @given(random_ids(tokenizer), small_stops, st.lists(st.integers(0, 16)), st.booleans())
    def check(ids: list[int], stops: list[str], cuts: list[int], include: bool) -> None:
        singly, in_parts = (IncrementalDetokenizer(tokenizer, stops, include_stop=include) for _ in range(2))
        assert stream_singly(singly, ids) == stream(in_parts, cut_at(ids, cuts))
        assert singly.stop_string == in_parts.stop_string
        assert singly.num_output_tokens == in_parts.num_output_tokens
        assert singly.token_offsets == in_parts.token_offsets

    check()


def test_the_stop_string_that_completes_first_wins_and_the_longest_of_several() -> None:
    tokenizer = byte_level()
    cases = [
        ("xabcdy", ["abcd", "bc"], "xa", "bc"),
        ("xabcdy", ["bcd", "abcd", "d"], "x", "abcd"),
        ("xababac", ["abac"], "xab", "abac"),
        ("xaabaaac", ["aaac", "aabaab"], "xaab", "aaac"),
    ]
    for text, stops, shown, stop in cases:
        detokenizer = IncrementalDetokenizer(tokenizer, stops)
        assert stream_singly(detokenizer, encode(tokenizer, text)).text == shown
        assert detokenizer.stop_string == stop


def test_stop_strings_that_repeat_themselves_are_found_as_a_plain_search_finds_them() -> None:
    tokenizer, rng = byte_level(), random.Random(13)
    a, b = encode(tokenizer, "ab")
    for _ in range(500):
        stops = ["".join(rng.choices("ab", k=rng.randint(3, 8))) for _ in range(2)]
        ids = rng.choices([a, b], k=40)
        text = tokenizer.decode(ids)
        end, stop = first_stop(text, stops) or (len(text), "")
        assert stream(IncrementalDetokenizer(tokenizer, stops), [ids]).text == text[: end - len(stop)]


@either_tokenizer
def test_a_stop_string_of_broken_bytes_is_completed_by_the_token_with_the_byte(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for following in (0xE4, 0x80, 0x61):
        detokenizer = IncrementalDetokenizer(tokenizer, [REPLACEMENT])
        assert push(detokenizer, byte_ids(tokenizer, bytes([0xE0, following]))) == ("", 0)
        assert (detokenizer.num_output_tokens, detokenizer.token_offsets) == (1, [0])


def test_tokens_are_counted_to_the_one_that_completes_the_stop_string_even_in_one_push() -> None:
    tokenizer = byte_level()
    ids = [token_id for char in "abcdefg" for token_id in encode(tokenizer, char)]
    detokenizer = IncrementalDetokenizer(tokenizer, ["cd"])
    assert push(detokenizer, ids) == ("ab", 2)
    assert detokenizer.num_output_tokens == 4
    assert detokenizer.token_offsets == [0, 1, 2, 3]


def test_a_token_that_begins_before_the_cut_is_released_and_one_that_begins_at_it_is_not() -> None:
    tokenizer = byte_level()
    the, cat = encode(tokenizer, " the"), encode(tokenizer, " cat")
    assert len(the) == len(cat) == 1
    inside = IncrementalDetokenizer(tokenizer, ["e c"])
    assert push(inside, [*the, *cat]) == (" th", 1)
    between = IncrementalDetokenizer(tokenizer, [" c"])
    assert push(between, [*the, *cat]) == (" the", 1)
    kept = IncrementalDetokenizer(tokenizer, [" c"], include_stop=True)
    assert push(kept, [*the, *cat]) == (" the c", 2)


def test_a_skipped_special_token_goes_with_the_text_before_it() -> None:
    tokenizer = byte_level()
    a, b = encode(tokenizer, "ab")
    detokenizer = IncrementalDetokenizer(tokenizer, ["b"])
    assert push(detokenizer, [a, 0, b]) == ("a", 2)
    held = IncrementalDetokenizer(tokenizer, ["ab"])
    assert push(held, [a, 0]) == ("", 0)
    assert flush(held) == ("a", 2)


def test_nothing_follows_a_stop() -> None:
    tokenizer = byte_level()
    detokenizer = IncrementalDetokenizer(tokenizer, ["."])
    assert push(detokenizer, encode(tokenizer, "a.b")).text == "a"
    assert push(detokenizer, encode(tokenizer, "more.")) == flush(detokenizer) == ("", 0)
    assert detokenizer.num_output_tokens == len(encode(tokenizer, "a."))


def test_the_end_of_generation_releases_half_a_stop_string_and_half_a_character() -> None:
    tokenizer = byte_level()
    ids = [*encode(tokenizer, "a<"), *encode(tokenizer, "\U0010ffff")[:-1]]
    detokenizer = IncrementalDetokenizer(tokenizer, ["<end>"])
    assert push(detokenizer, ids[:2]) == ("a", 1)
    assert push(detokenizer, ids[2:]) == ("", 0)
    assert flush(detokenizer) == ("<" + REPLACEMENT, len(ids) - 1)
    assert flush(detokenizer) == ("", 0)


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        IncrementalDetokenizer(byte_level(), ["a", ""])


# --- offsets and work --------------------------------------------------------------------------------------------


@every_tokenizer
def test_each_token_has_the_offset_of_the_character_it_begins_in(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for text in TEXTS:
        ids = encode(tokenizer, text)
        detokenizer = IncrementalDetokenizer(tokenizer)
        stream_singly(detokenizer, ids)
        assert detokenizer.token_offsets == [start for start, _ in places(tokenizer, ids)]


@either_tokenizer
def test_tokens_in_and_after_a_broken_character_have_their_own_offsets(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    for following in (0xE4, 0x80, 0x61):
        detokenizer = IncrementalDetokenizer(tokenizer)
        stream_singly(detokenizer, byte_ids(tokenizer, bytes([0xE0, following])))
        assert detokenizer.token_offsets == [0, 1]


@either_tokenizer
def test_a_skipped_token_inside_a_character_waits_for_it(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    first, second, third = byte_ids(tokenizer, "你".encode())
    detokenizer = IncrementalDetokenizer(tokenizer)
    assert push(detokenizer, [first, 1, second, 1]) == ("", 0)
    assert push(detokenizer, [third]) == ("你", 5)
    assert detokenizer.token_offsets == [0] * 5
    assert stream(detokenizer, [[first, 1]]) == (REPLACEMENT, 2)


def count_calls(run: Callable[[], object]) -> int:
    """Number of functions, of Python and of C, that are entered."""
    count = 0

    def seen(frame: FrameType, event: str, arg: object) -> None:  # noqa: ARG001
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def count_lines(run: Callable[[], object]) -> int:
    """Number of lines of Python that are run."""
    count = 0

    def seen(frame: FrameType, event: str, arg: object) -> Any:  # noqa: ARG001
        nonlocal count
        count += event == "line"
        return seen

    sys.settrace(seen)
    try:
        run()
    finally:
        sys.settrace(None)
    return count


@either_tokenizer
def test_the_millionth_character_costs_what_the_first_costs(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    line = encode(tokenizer, "The cat sat on the mat; 你好、世界 🙂. ")

    def push_a_line() -> None:
        for token_id in line:
            push(detokenizer, [token_id])

    detokenizer = IncrementalDetokenizer(tokenizer)
    push_a_line()
    first = count_calls(push_a_line)
    assert len(push(detokenizer, line * 40_000).text) > 1_000_000
    assert count_calls(push_a_line) == first <= 25 * len(line)


def test_looking_for_long_and_repetitive_stop_strings_costs_a_few_lines_a_character() -> None:
    tokenizer = byte_level()
    (a,), (c,) = encode(tokenizer, "a"), encode(tokenizer, "c")
    stops = ["a" * 900 + "b", "aab" * 300]
    ids = ([a] * 899 + [c]) * 20
    detokenizer = IncrementalDetokenizer(tokenizer, stops)
    assert count_lines(lambda: push(detokenizer, ids)) <= 40 * len(ids)
    assert not detokenizer.stopped
