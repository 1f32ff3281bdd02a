"""What may follow an output: masks, drafts, forced and stop tokens agree with the grammar and each other."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import numpy as np
import pytest

from app.constraints.check import check
from app.constraints.errors import ConstraintError, MatcherError
from app.constraints.grammars import MAX_GRAMMARS, Grammar, Grammars
from app.constraints.masks import MaskFiller, MaskRequest, Masks
from app.constraints.matcher import Matcher
from app.messages import Constraint, ConstraintKind
from tests.constraint_world import (
    allowed,
    bytes_of,
    cut,
    embedded_table,
    encode,
    grammar,
    json_schema,
    table_of,
    tokens_by_bytes,
)
from tests.test_tokenizer import sentencepiece_backend

END = 2
"""The embedded model's end of a message."""

LONG = {
    "type": "object",
    "properties": {
        "temperature_in_degrees": {"type": "number", "minimum": -90, "maximum": 60},
        "name_of_the_place": {"type": "string", "maxLength": 12},
        "kind": {"enum": ["town", "city", "village", 5, None, {"a": [True]}]},
        "times": {"type": "array", "items": {"type": "string", "format": "time"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["temperature_in_degrees", "kind"],
    "additionalProperties": False,
}
NOTATION = r"""
root   ::= "[" ws (value ("," ws value)*)? "]" ws
value  ::= root | string ws
string ::= "\"" [^"\n]{0,9} "\""
ws     ::= [ \n]{0,2}
"""
CONSTRAINTS = {
    "schema": json_schema(LONG),
    "object": Constraint(ConstraintKind.JSON_OBJECT),
    "regex": Constraint(ConstraintKind.REGEX, r"(?:[a-z]+é?, )*(?:好|\d{1,3})!?"),
    "choice": Constraint(ConstraintKind.CHOICE, '["yes", "yes, of course", "no", "😀"]'),
    "gbnf": Constraint(ConstraintKind.GBNF, NOTATION),
}


def empty_masks(num_rows: int) -> Masks:
    return np.full((num_rows, embedded_table().num_words), 0x55555555, np.int32)


def mask_of(matcher: Matcher) -> set[int]:
    masks = empty_masks(1)
    assert MaskFiller(embedded_table()).fill([MaskRequest(matcher, 0)], masks) == {}
    return allowed(masks[0])


def random_walk(compiled: Grammar, rng: random.Random, max_tokens: int = 40) -> tuple[list[int], list[set[int]]]:
    """Tokens drawn at random under the masks, and the mask of each place."""
    matcher = compiled.matcher([END])
    token_ids: list[int] = []
    masks = [mask_of(matcher)]
    while len(token_ids) < max_tokens and not matcher.is_done:
        # Tokens of an end are drawn more often than one in a thousand.
        ends = sorted(masks[-1] & {END, *encode('"}],!1')})
        token_ids.append(rng.choice(ends if ends and rng.random() < 0.4 else sorted(masks[-1])))
        matcher.advance(token_ids[-1:])
        masks.append(mask_of(matcher))
    return token_ids, masks


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_what_is_drawn_under_masks_and_ends_by_itself_is_a_whole_answer(name: str) -> None:
    compiled, rng, num_ended = grammar(CONSTRAINTS[name]), random.Random(1), 0
    for _ in range(12):
        token_ids, _ = random_walk(compiled, rng)
        matcher = compiled.matcher([END])
        matcher.advance(token_ids)
        if not matcher.is_done:
            continue
        num_ended += 1
        matcher.rollback(token_ids[-1] == END)
        assert matcher.is_accepting
        text = b"".join(bytes_of(embedded_table(), token_id) for token_id in token_ids).decode()
        if name in ("schema", "object"):
            assert isinstance(json.loads(text), dict)
    assert num_ended


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_a_mask_has_the_tokens_that_may_follow_and_the_end_where_the_grammar_accepts(name: str) -> None:
    compiled, rng = grammar(CONSTRAINTS[name]), random.Random(2)
    token_ids, masks = random_walk(compiled, rng, 15)
    for length, mask in enumerate(masks[:-1]):
        matcher = compiled.matcher([END])
        matcher.advance(token_ids[:length])
        assert (END in mask) == matcher.is_accepting
        if forced := matcher.forced():
            assert mask == {forced[0]}
            continue
        for token_id in rng.sample(range(embedded_table().num_logits), 300):
            assert (token_id in mask) == (matcher.verify([token_id]) == 1) or token_id == END


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_masks_are_the_same_after_rebuilding_going_back_and_asking_much(name: str) -> None:
    compiled, rng = grammar(CONSTRAINTS[name]), random.Random(3)
    token_ids, masks = random_walk(compiled, rng)
    wanderer = compiled.matcher([END])
    at = 0
    for _ in range(40):
        to = rng.randrange(len(masks))
        if to < at:
            wanderer.rollback(at - to)
        else:
            wanderer.advance(token_ids[at:to])
        at = to
        assert wanderer.num_tokens == at
        if rng.random() < 0.5:
            wanderer.forced()
        if rng.random() < 0.5:
            wanderer.verify(rng.choices(range(embedded_table().num_logits), k=3))
        if not wanderer.is_done:
            assert mask_of(wanderer) == masks[at]
    rebuilt = Grammar(check(CONSTRAINTS[name]), embedded_table()).matcher([END])
    rebuilt.rebuild(token_ids[: len(token_ids) // 2])
    assert mask_of(rebuilt) == masks[len(token_ids) // 2]


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_masks_behind_drafts_are_those_that_the_drafts_would_lead_to(name: str) -> None:
    compiled, rng = grammar(CONSTRAINTS[name]), random.Random(4)
    walks = [random_walk(compiled, rng, 12) for _ in range(4)]
    requests, wanted, row = [], {}, 0
    for token_ids, masks in walks:
        text = token_ids[:-1] if token_ids[-1] == END else token_ids
        start = rng.randrange(len(text))
        drafts = text[start : start + rng.randrange(5)]
        matcher = compiled.matcher([END])
        matcher.advance(text[:start])
        assert matcher.verify(drafts) == len(drafts)
        requests.append(MaskRequest(matcher, row, drafts))
        wanted |= {row + i: masks[start + i] for i in range(len(drafts) + 1)}
        row += len(drafts) + 2  # a row is left out
    filled = empty_masks(row)
    with_future = empty_masks(row)
    filler = MaskFiller(embedded_table())
    assert filler.fill(requests, filled) == filler.start(requests, with_future).result() == {}
    filler.close()
    assert (filled == with_future).all()
    assert {at: allowed(filled[at]) for at in wanted} == wanted
    assert all((filled[at] == 0x55555555).all() for at in set(range(row)) - set(wanted))


def test_a_draft_is_allowed_up_to_the_first_token_that_does_not_fit() -> None:
    matcher = grammar(CONSTRAINTS["choice"]).matcher([END])
    yes, comma = encode("yes"), encode(", x")
    assert matcher.verify([*yes, *comma]) == len(yes) + 1
    assert matcher.verify([*yes, END, *comma]) == len(yes)
    assert matcher.verify(encode("maybe")) == 0
    assert matcher.verify([]) == 0


def test_forced_tokens_are_those_that_the_tokenizer_would_write() -> None:
    matcher = grammar(json_schema(LONG)).matcher([END])
    text = '{"temperature_in_degrees": 1, "kind": "to'
    matcher.advance(encode(text))
    assert matcher.forced()[:1] == encode("wn")[:1]
    begun = grammar(json_schema(LONG)).matcher([END])
    begun.advance(encode('{"'))
    forced = begun.forced()
    whole = encode('{"temperature_in_degrees":')
    assert forced == whole[1 : 1 + len(forced)]
    assert len(forced) > 3
    assert begun.verify(forced) == len(forced)


@pytest.mark.parametrize("stops", [[END], [END, 1], [], [10_000_000]])
def test_stop_tokens_are_allowed_where_the_grammar_accepts_and_only_there(stops: list[int]) -> None:
    matcher = grammar(CONSTRAINTS["choice"]).matcher(stops)
    known = {token_id for token_id in stops if token_id < embedded_table().num_logits}
    assert mask_of(matcher) & {0, 1, 2, 3, 4, 5} == set()
    matcher.advance(encode("yes"))
    assert matcher.is_accepting
    assert not matcher.is_done
    assert mask_of(matcher) & {0, 1, 2, 3, 4, 5} == known
    matcher.advance(encode(", of course"))
    assert matcher.is_done
    assert mask_of(matcher) == known


def test_a_stop_token_that_is_text_may_be_text_until_it_may_end_the_answer() -> None:
    [comma] = encode(",")
    constraint = Constraint(ConstraintKind.REGEX, "a(,b)?,?")
    matcher = grammar(constraint).matcher([comma])
    assert comma not in mask_of(matcher)
    matcher.advance(encode("a"))
    assert comma in mask_of(matcher)
    matcher.advance([comma])
    assert matcher.is_done
    with pytest.raises(MatcherError):
        matcher.advance(encode("b"))
    matcher.rollback(1)
    assert not matcher.is_done
    assert matcher.num_tokens == 1


def test_a_token_that_does_not_fit_is_an_error() -> None:
    matcher = grammar(CONSTRAINTS["choice"]).matcher([END])
    with pytest.raises(MatcherError):
        matcher.advance(encode("maybe"))


def test_a_grammar_that_becomes_too_complex_fails_by_itself_and_no_other_row() -> None:
    healthy = grammar(CONSTRAINTS["choice"]).matcher([END])
    broken = grammar(CONSTRAINTS["regex"]).matcher([END])
    with pytest.raises(MatcherError):
        broken.advance(encode("!"))
    masks = empty_masks(3)
    errors = MaskFiller(embedded_table()).fill([MaskRequest(broken, 0), MaskRequest(healthy, 2)], masks)
    assert set(errors) == {0}
    assert END in allowed(masks[0])
    assert allowed(masks[2]) == mask_of(healthy)
    with pytest.raises(MatcherError):
        broken.forced()
    with pytest.raises(MatcherError):
        broken.verify([5])
    assert not broken.is_accepting
    assert not broken.is_done


def test_a_character_that_is_cut_into_bytes_is_followed() -> None:
    table = table_of(sentencepiece_backend(), 300)
    rng = random.Random(5)
    compiled = grammar(CONSTRAINTS["regex"], table)
    for _ in range(20):
        matcher = compiled.matcher([])
        matcher.advance(cut(table, "theé, a, 好!", rng))
        assert matcher.is_done
    assert b"\xe5" in tokens_by_bytes(table)


# Kept grammars


def owned(grammars: Grammars, owner: str, texts: Sequence[str]) -> list[Grammar]:
    constraints = [Constraint(ConstraintKind.COMPILED, text) for text in texts]
    return [grammars.get(owner, constraint).result() for constraint in constraints]


def test_a_grammar_is_compiled_once_for_each_owner_and_forgotten_when_it_is_old() -> None:
    grammars = Grammars(embedded_table)
    texts = [json.dumps({"grammars": [{"lark_grammar": f'start: "{i}"'}]}) for i in range(MAX_GRAMMARS + 1)]
    [first] = owned(grammars, "a", texts[:1])
    assert owned(grammars, "a", texts[:1]) == [first]
    assert owned(grammars, "b", texts[:1]) != [first]
    [second] = owned(grammars, "a", texts[1:2])
    owned(grammars, "a", texts)
    assert owned(grammars, "a", texts[1:2]) == [second]
    assert owned(grammars, "a", texts[:1]) != [first]
    grammars.forget("a", Constraint(ConstraintKind.COMPILED, texts[1]))
    assert owned(grammars, "a", texts[1:2]) != [second]
    grammars.close()


def test_a_long_output_of_a_costly_grammar_is_taken_up_again() -> None:
    """Counting words within a number of characters costs the lexer much; taken without masks it would be too much."""
    schema = {"type": "string", "pattern": r"^(?:\S+\s+){0,49}\S+$", "maxLength": 500}
    constraint = check(json_schema(schema))
    token_ids = encode(json.dumps(" ".join(f"word{i}" for i in range(48))))
    with pytest.raises(MatcherError):
        Grammar(constraint, embedded_table()).matcher([END]).advance(token_ids)
    grammars = Grammars(embedded_table)
    matcher = grammars.matcher("", constraint, [END], token_ids[:-1]).result()
    assert not matcher.is_accepting
    matcher.advance(token_ids[-1:])
    assert matcher.is_accepting
    grammars.close()


def test_a_grammar_that_cannot_be_compiled_is_an_error_of_the_one_who_waits() -> None:
    grammars = Grammars(embedded_table)
    future = grammars.get("", Constraint(ConstraintKind.COMPILED, '{"grammars": [{"lark_grammar": "start: x"}]}'))
    with pytest.raises(ConstraintError, match="unknown name"):
        future.result()
    grammars.close()
