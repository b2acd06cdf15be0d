"""What is read ahead is what there is, for no more than a listing for each question."""

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.ahead import Ahead
from chalicelib.store.content import Content
from tests.memory import Clock, Inline, MemoryObjects

ROOT = "root/"
FOLDERS = st.text("01", min_size=3, max_size=3)
KEYS = st.sets(st.tuples(FOLDERS, st.text("ab", min_size=1, max_size=2)))


def _content(*keys: str) -> tuple[Content, MemoryObjects]:
    clock = Clock()
    objects = MemoryObjects(clock)
    for key in keys:
        objects.put(key, b"")
    objects.asked.clear()
    return Content(objects, Inline(), clock), objects


@given(KEYS, st.lists(FOLDERS))
def test_any_question_in_any_order_is_answered_as_a_listing_does(
    there: set[tuple[str, str]], asked: list[str]
) -> None:
    content, objects = _content("before", "root0", *(f"{ROOT}{folder}/{name}" for folder, name in there))
    ahead = Ahead(content, ROOT)

    for folder in asked:
        assert ahead.below(f"{ROOT}{folder}/").keys == objects.keys(f"{ROOT}{folder}/")
        assert not ahead.below(f"{ROOT}{folder}/").more
        assert ahead.below(f"{ROOT}{folder}").keys == objects.keys(f"{ROOT}{folder}")


def test_questions_in_order_take_a_listing_for_each_thousand_keys() -> None:
    names = [f"{ROOT}{number:04}" for number in range(2500)]
    content, objects = _content(*names)
    ahead = Ahead(content, ROOT)

    assert all(ahead.below(name).keys == (name,) for name in names)
    assert len(objects.asked) == 3


def test_questions_far_apart_take_one_each() -> None:
    names = [f"{ROOT}{number:04}" for number in range(4000)]
    content, objects = _content(*names)
    ahead = Ahead(content, ROOT)

    assert [ahead.below(name).keys for name in (names[0], names[2000], f"{ROOT}x")] == [
        (names[0],),
        (names[2000],),
        (),
    ]
    assert len(objects.asked) == 3


def test_where_there_is_more_that_is_said() -> None:
    content, _ = _content(*(f"{ROOT}aa/{number:04}" for number in range(1001)), f"{ROOT}bb/0")
    ahead = Ahead(content, ROOT)

    assert (len(ahead.below(f"{ROOT}aa/").keys), ahead.below(f"{ROOT}aa/").more) == (1000, True)
    assert ahead.below(f"{ROOT}bb/").keys == (f"{ROOT}bb/0",)
