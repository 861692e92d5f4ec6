"""Values survive the store: every annotation's round trip, one text per value, and errors that name the place."""

from __future__ import annotations

import collections
import dataclasses
import enum
import os
import subprocess
import sys
import threading
import typing
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwit_durable.codec import ResultCodec, SignatureCodec, check_size, decode, encode
from qwit_durable.errors import DefinitionError, EncodingError

T = TypeVar("T")
OrderId = NewType("OrderId", str)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Shape(enum.Enum):
    POINT = (0, 0)
    LINE = (1, 0)


class Word(enum.StrEnum):
    YES = "yes"


@attrs.frozen
class Item:
    sku: str
    price: Decimal


@attrs.frozen
class Order:
    id: str
    items: list[Item]
    note: str | None = None


@attrs.define
class Account:
    _balance: int
    _log: list[str] = attrs.field(factory=list)
    revision: int = attrs.field(default=0, init=False)

    def add(self, cents: int) -> None:
        self._balance += cents
        self.revision += 1


@dataclasses.dataclass
class Node:
    value: int
    children: list[Node] = dataclasses.field(default_factory=list)
    parent: Optional[Node] = None  # noqa: UP045 - both spellings are in use


@dataclasses.dataclass(frozen=True)
class Box(typing.Generic[T]):
    content: T
    spare: list[T]


class Point(NamedTuple):
    x: int
    y: int = 0


class Person(TypedDict):
    name: str
    born: date
    email: NotRequired[str]


@attrs.frozen
class Named:
    """A class whose fields have the names that generated code uses for itself."""

    cl: str
    converter: int
    self_: str
    value: list[int]


@attrs.frozen
class Animal:
    name: str


@attrs.frozen
class Dog(Animal):
    age: int


def back(value: Any, annotation: Any) -> Any:
    """The value after its way through the store."""
    data = encode(value, annotation, "the value")
    read = decode(data, annotation)
    assert encode(read, annotation, "the value") == data
    return read


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
HERE = timezone(timedelta(hours=5, minutes=30))
ID = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (10**400, int),
        (True, bool),
        (1.5, float),
        ("ü\n\x00😀", str),
        (None, None),
        (NOON, datetime),
        (datetime(2026, 1, 1, 12, 0, 0, 1, HERE), datetime),
        (datetime(2026, 1, 1), datetime),
        (date(2026, 1, 1), date),
        (time(1, 2, 3, 4), time),
        (timedelta(days=-1, microseconds=1), timedelta),
        (timedelta.max, timedelta),
        (timedelta.min, timedelta),
        (ID, UUID),
        (Decimal("1.10"), Decimal),
        (b"\x00\xff", bytes),
        (Path("a/b"), Path),
        (PurePosixPath("/a"), PurePosixPath),
        (Color.RED, Color),
        (Level.HIGH, Level),
        (Mode.READ | Mode.WRITE, Mode),
        (Shape.LINE, Shape),
        (Word.YES, Word),
        ("a", Literal["a", 1]),
        (Color.BLUE, Literal[Color.BLUE]),
        (OrderId("o-1"), OrderId),
        (3, Annotated[int, "unhashable", []]),
        ((1, "a"), tuple[int, str]),
        ((1, 2, 3), tuple[int, ...]),
        ((), tuple[()]),
        ((1, "a"), tuple),
        ([1, [None, {"a": "b"}]], list),
        ({"a": [1, {"b": None}]}, dict),
        pytest.param({"a", "b"}, set, id="set of two"),
        (frozenset({ID}), frozenset[UUID]),
        (collections.deque([1, 2]), collections.deque[int]),
        ([1], typing.List[int]),  # noqa: UP006 - the old spelling
        ((1,), typing.Tuple),  # noqa: UP006 - the old spelling
        ({1: "a"}, typing.Dict[int, str]),  # noqa: UP006 - the old spelling
        ([1, 2], collections.abc.Sequence[int]),
        ({"a": 1}, collections.abc.Mapping[str, int]),
        ({1: "a", 10: "b"}, dict[int, str]),
        ({ID: 1}, dict[UUID, int]),
        ({Color.RED: 1}, dict[Color, int]),
        ({Level.LOW: 1}, dict[Level, int]),
        ({date(2026, 1, 1): 1}, dict[date, int]),
        ({None: 1, 5: 2}, dict[int | None, int]),
        ({(1, "a"): 1.5}, dict[tuple[int, str], float]),
        ({Item("a", Decimal(1)): 1}, dict[Item, int]),
        (Order("o", [Item("a", Decimal("0.1"))]), Order),
        (Order("o", [], "note"), Order | None),
        (Node(1, [Node(2), Node(3, [Node(4)])], Node(0)), Node),
        (Box(1, [2]), Box[int]),
        (Box(Box(ID, []), [Box(ID, [ID])]), Box[Box[UUID]]),
        (Point(1), Point),
        ({"name": "Ada", "born": date(1815, 12, 10)}, Person),
        ({"name": "Ada", "born": date(1815, 12, 10), "email": "a@b"}, Person),
        (Named("a", 1, "b", [1]), Named),
        ([Animal("a"), Dog("b", 1), None], list[Animal | Dog | None]),
        ([1, "1", True, 1.0, None], list[int | str | bool | float | None]),
        ([NOON, NOON.date(), "2026-01-01", 5], list[datetime | date | str | int]),
        ([[1], ["a"], {"a": 1}], list[list[int] | list[str] | dict[str, int]]),
        ([Color.RED, "red", Level.LOW, 1], list[Color | str | Level | int]),
        ({"x": Item("a", Decimal(1)), "y": 5}, dict[str, Item | Point | int]),
    ],
    ids=repr,
)
def test_a_value_comes_back_equal_and_of_its_type(value, annotation):
    """What was written by an annotation is read by it as the same value of the same class."""
    read = back(value, annotation)

    assert read == value
    assert type(read) is type(value)
    if isinstance(value, list):
        assert [type(item) for item in read] == [type(item) for item in value]


def _annotated() -> st.SearchStrategy[tuple[Any, Any]]:
    """Pairs of an annotation and a strategy for its values."""
    leaves = st.sampled_from(
        [
            (int, st.integers()),
            (bool, st.booleans()),
            (float, st.floats(allow_nan=False, allow_infinity=False)),
            (str, st.text(st.characters(exclude_categories=["Cs"]))),
            (datetime, st.datetimes(timezones=st.just(UTC) | st.just(HERE))),
            (date, st.dates()),
            (timedelta, st.timedeltas()),
            (UUID, st.uuids()),
            (Decimal, st.decimals(allow_nan=False)),
            (bytes, st.binary()),
            (Color, st.sampled_from(Color)),
            (
                Item,
                st.builds(
                    Item, st.text(st.characters(exclude_categories=["Cs"])), st.decimals(allow_nan=False)
                ),
            ),
            (Point, st.builds(Point, st.integers(), st.integers())),
        ]
    )

    def wider(inner: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
        return st.one_of(
            inner.map(lambda p: (list[p[0]], st.lists(p[1], max_size=3))),
            inner.map(lambda p: (tuple[p[0], ...], st.lists(p[1], max_size=3).map(tuple))),
            inner.map(lambda p: (dict[str, p[0]], st.dictionaries(st.sampled_from("abc"), p[1]))),
            leaves.map(lambda p: (frozenset[p[0]], st.frozensets(p[1], max_size=3))),
            st.tuples(leaves, inner).map(
                lambda p: (dict[p[0][0], p[1][0]], st.dictionaries(p[0][1], p[1][1], max_size=3))
            ),
            inner.map(lambda p: (p[0] | None, st.none() | p[1])),
            st.lists(inner, min_size=2, max_size=3).map(
                lambda ps: (Union[tuple(p[0] for p in ps)], st.one_of(*(p[1] for p in ps)))  # noqa: UP007 - built of many
            ),
            inner.map(lambda p: (Box[p[0]], st.builds(Box, p[1], st.lists(p[1], max_size=2)))),
        )

    return st.recursive(leaves, wider, max_leaves=4)


def _same(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(left) is not type(right):
        return False
    match left:
        case list() | tuple():
            return len(left) == len(right) and all(map(_same, left, right))
        case dict():
            return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
        case Box():
            return _same(left.content, right.content) and _same(left.spare, right.spare)
        case _:
            return bool(left == right)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_composition_of_annotations_survives(data):
    """Containers, unions and classes nested in any way bring back the same value of the same types."""
    annotation, values = data.draw(_annotated())
    value = data.draw(values)

    read = back(value, annotation)

    assert _same(read, value), (annotation, value, read)


def test_what_is_not_annotated_is_json():
    """Without an annotation a tuple is a list from the first run on, and a dict is sorted by its keys."""
    read = decode(encode({"b": (1, (2,)), "a": None}, None, "the value"), Any)

    assert read == {"a": None, "b": [1, [2]]}
    assert list(read) == ["a", "b"]


def test_an_int_declared_as_float_is_one_from_the_first_run_on():
    """A number has one text, however it was spelled."""
    assert encode(5, float, "the value") == b"5.0"


_SETS = """
from qwit_durable.codec import encode
print(encode({"order", "of", "sets", "is", "random"}, set[str], "the value").decode())
"""


def test_equal_values_have_equal_bytes_in_every_process():
    """The order in which a process happens to keep a set is not in the text."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", _SETS],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert texts == {'["is","of","order","random","sets"]\n'}


def test_text_is_canonical():
    """Keys are sorted, nothing is padded, and text is UTF-8 as it is."""
    assert encode(Order("ü", [Item("a", Decimal("1.0"))]), Order, "the value") == (
        '{"id":"ü","items":[{"price":"1.0","sku":"a"}],"note":null}'.encode()
    )


def test_the_state_of_a_mutable_object_survives():
    """Private fields, and fields that `__init__` does not take, come back with what they held."""
    account = Account(balance=5)
    account.add(7)

    read = back(account, Account)

    assert read == account
    assert read.revision == 1


def test_a_class_may_grow_and_shrink():
    """A field that is gone is ignored, and a new one takes its default."""
    stored = b'{"id":"o","items":[],"colour":"red"}'

    assert decode(stored, Order) == Order("o", [], None)


def test_an_annotation_may_become_a_union():
    """What was stored before `A` became `A | B` carries no mark and is read all the same."""
    stored = encode(Animal("Rex"), Animal, "the value")

    assert decode(stored, Animal | Point) == Animal("Rex")
    assert decode(b'"2026-01-01"', date | None | list[int]) == date(2026, 1, 1)


def test_a_duration_may_be_written_as_seconds():
    """A person who types JSON writes a number; we write an ISO 8601 duration."""
    assert encode(timedelta(seconds=90.5), timedelta, "the value") == b'"PT90.5S"'
    assert decode(b"90.5", timedelta) == timedelta(seconds=90.5)


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (
            Order("o", [Item("a", Decimal(1)), Item("b", 9)]),  # type: ignore[arg-type]
            Order,
            "argument 'order' can't be stored as JSON: order.items[1].price is 9 of type int, "
            "and its annotation asks for Decimal",
        ),
        (
            {"a": [1, {2}]},
            None,
            "argument 'order' can't be stored as JSON: order['a'][1] is {2} of type set, and no annotation says how to "
            "write it: annotate it with its type, or pass JSON's own types (None, bool, int, float, str, list, dict)",
        ),
        (
            {"a": {5: 1}},
            Any,
            "argument 'order' can't be stored as JSON: order['a'] has the key 5 of type int, and JSON's keys are str: "
            "annotate it, for example as dict[int, ...]",
        ),
        (
            {5: 1},
            dict,
            "argument 'order' can't be stored as JSON: order[5] (the key) is 5 of type int, and JSON's keys are str: "
            "annotate the mapping, for example as dict[int, ...]",
        ),
        (
            [1.0, float("nan")],
            list[float],
            "argument 'order' can't be stored as JSON: order[1] is nan, which JSON has no form for: use None or a str",
        ),
        (
            [float("inf")],
            None,
            "argument 'order' can't be stored as JSON: order[0] is inf, which JSON has no form for: use None or a str",
        ),
        (
            "abc",
            list[str],
            "argument 'order' can't be stored as JSON: order is 'abc' of type str, "
            "and its annotation asks for list[str]",
        ),
        (
            "5",
            int,
            "argument 'order' can't be stored as JSON: order is '5' of type str, and its annotation asks for int",
        ),
        (
            NOON,
            date,
            f"argument 'order' can't be stored as JSON: order is {NOON!r} of type datetime, "
            "and its annotation asks for date",
        ),
        (
            Dog("Rex", 3),
            Animal,
            "argument 'order' can't be stored as JSON: order is a Dog, a subclass of the declared Animal, "
            "whose own fields would be lost: declare Animal | Dog",
        ),
        (
            [Animal("a"), Point(1)],
            list[Animal | Dog],
            "argument 'order' can't be stored as JSON: order[1] is Point(x=1, y=0) of type Point, "
            "and its annotation asks for Animal | Dog",
        ),
        (
            {"a": Dog("Rex", "old")},  # type: ignore[arg-type]
            dict[str, Animal | Dog],
            "argument 'order' can't be stored as JSON: order['a'].age is 'old' of type str, "
            "and its annotation asks for int",
        ),
        (
            Box(1, ["2"]),
            Box[int],
            "argument 'order' can't be stored as JSON: order.spare[0] is '2' of type str, "
            "and its annotation asks for int",
        ),
        (
            {"name": "Ada"},
            Person,
            "argument 'order' can't be stored as JSON: order.born is missing",
        ),
        (
            CIRCLE,
            None,
            "argument 'order' can't be stored as JSON",
        ),
        (
            "\ud800",
            str,
            "argument 'order' can't be stored as JSON: order holds text that is no valid Unicode (a lone surrogate)",
        ),
    ],
)
def test_what_cannot_be_written_is_named_with_its_place(value, annotation, message):
    """The error says which argument it is, where in it, what was found, and what to do."""
    with pytest.raises(EncodingError) as caught:
        encode(value, annotation, "argument 'order'")

    assert str(caught.value).startswith(message)
    if "nested" not in str(caught.value):
        assert str(caught.value) == message


def test_a_live_object_is_refused_with_the_remedy():
    """What has no form as data says so, also where the annotation names its class."""
    with pytest.raises(EncodingError) as caught:
        encode([threading.Lock()], list[Any], "argument 'locks'")
    assert "locks[0] is <unlocked _thread.lock" in str(caught.value)

    with pytest.raises(EncodingError) as caught:
        encode(sys, type(sys), "argument 'module'")
    assert "declared as module, which can't be stored as JSON: store what identifies it" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "annotation", "message"),
    [
        (b'"no"', bool, "value is 'no' of type str, and its annotation asks for bool"),
        (b'"5"', int, "value is '5' of type str, and its annotation asks for int"),
        (b'{"id":"o","items":[{"sku":"a"}]}', Order, "value.items[0].price is missing and has no default"),
        (b'{"id":"o","items":[{"sku":1,"price":"2"}]}', Order, "value.items[0].sku is 1 of type int"),
        (
            b'{"id":"o","items":{}}',
            Order,
            "value.items is {} of type dict, and its annotation asks for list[Item]",
        ),
        (b'"tomorrow"', datetime, "value is 'tomorrow' of type str, which can't be read as datetime"),
        (b'"green"', Color, "value is 'green' of type str, which is no Color"),
        (b'{"$type":"Cat"}', Animal | Dog, "value is marked as 'Cat', which is none of Animal | Dog"),
        (b"[1]", tuple[int, int], "value is [1] of type list, and its annotation asks for tuple[int, int]"),
        (b"[1]", Person, "value is [1] of type list, and its annotation asks for Person"),
    ],
)
def test_what_does_not_fit_today_is_named_with_its_place(data, annotation, message):
    """A stored value that today's types refuse is never bent into shape."""
    with pytest.raises(EncodingError) as caught:
        decode(data, annotation)

    assert str(caught.value).startswith(f"the value does not fit its type: {message}")


@attrs.frozen
class Unresolvable:
    other: Missing  # type: ignore[name-defined]  # noqa: F821 - that is the point


def test_an_annotation_that_cannot_be_resolved_says_which_and_why():
    """A name that exists for type checkers alone is found at first use, in functions and in classes."""

    def charge(order: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - that is the point

    for use in (
        lambda: SignatureCodec(charge).encode((1,), {}),
        lambda: encode(Unresolvable(1), Unresolvable, "the value"),
    ):
        with pytest.raises(DefinitionError) as caught:
            use()
        assert "can't be resolved: name 'Missing' is not defined" in str(caught.value)
        assert "likely cause: the name is imported under TYPE_CHECKING alone" in str(caught.value)


def test_a_size_limit_names_value_and_limit():
    """What is too large is refused with both sizes and the way out."""
    check_size(b"x" * 1024, "argument 'order'", 1024)

    with pytest.raises(EncodingError) as caught:
        check_size(b"x" * 3 * 1024, "argument 'order'", 2048)

    assert str(caught.value) == (
        "argument 'order': 3.0 KiB of JSON, and the limit is 2.0 KiB\n"
        "  way out: keep the data elsewhere and pass its key, or raise Durable(limit_bytes=...)"
    )


# -- signatures --------------------------------------------------------------------------------------------------


def plain(order_id: str, cents: int = 5, *, note: str = None) -> None:  # type: ignore[assignment]  # noqa: RUF013 - users write this
    """A function as users write them."""


def odd(first: int, /, second: UUID = ID, *rest: Decimal, last: bool = False, **more: list[int]) -> None:
    """A function with every kind of parameter."""


def test_how_a_call_is_spelled_makes_no_difference():
    """Positions, names and defaults give one text."""
    codec = SignatureCodec(plain)

    texts = {
        codec.encode(("a",), {}),
        codec.encode(("a", 5), {}),
        codec.encode((), {"cents": 5, "order_id": "a", "note": None}),
    }

    assert texts == {b'{"cents":5,"note":null,"order_id":"a"}'}


def test_every_kind_of_parameter_survives():
    """What is read can be passed to the function as it was called."""
    codec = SignatureCodec(odd)

    data = codec.encode((1, ID, Decimal("1.5"), Decimal(2)), {"last": True, "more_of": [1]})

    assert codec.decode(data) == ((1, ID, Decimal("1.5"), Decimal(2)), {"last": True, "more_of": [1]})
    assert codec.decode(codec.encode((1,), {})) == ((1, ID), {"last": False})


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "plain() missing 1 required positional argument: 'order_id'"),
        (("a", 1, 2), {}, "plain() takes from 1 to 2 positional arguments but 3 were given"),
        (("a",), {"cent": 1}, "plain() got an unexpected keyword argument 'cent'"),
        (("a",), {"order_id": "b"}, "plain() got multiple values for argument 'order_id'"),
    ],
)
def test_wrong_arguments_are_refused_in_pythons_words(args, kwargs, message):
    """A call that the function would refuse is refused when it is built."""
    with pytest.raises(TypeError) as caught:
        SignatureCodec(plain).encode(args, kwargs)

    assert str(caught.value).startswith(message)  # from Python 3.13 on, a suggestion may follow
    assert not isinstance(caught.value, EncodingError)


def test_an_argument_that_cannot_be_written_is_named_with_its_function():
    """The error names function, argument and path."""
    with pytest.raises(EncodingError) as caught:
        SignatureCodec(odd).encode((1,), {"more_of": ["a"]})
    assert str(caught.value) == (
        "argument 'more' of odd() can't be stored as JSON: more['more_of'][0] is 'a' of type str, "
        "and its annotation asks for int"
    )

    with pytest.raises(EncodingError) as caught:
        SignatureCodec(plain).encode(("\ud800",), {})
    assert str(caught.value).startswith(
        "argument 'order_id' of plain() can't be stored as JSON: order_id holds text"
    )


def test_a_new_parameter_with_a_default_breaks_no_open_run():
    """What an older signature wrote is the same once it is read with today's."""
    old, new = SignatureCodec(lambda order_id: None), SignatureCodec(plain)

    assert new.normalise(old.encode(("a",), {})) == new.encode(("a",), {})
    assert old.normalise(new.encode(("a",), {})) == old.encode(("a",), {})


def test_a_new_parameter_without_a_default_says_so():
    """A call that is older than a parameter can't be read; the message says how it can."""
    stored = SignatureCodec(lambda: None).encode((), {})

    with pytest.raises(EncodingError) as caught:
        SignatureCodec(plain).decode(stored)

    assert str(caught.value) == (
        "argument 'order_id' of plain() is not among the stored arguments (none)\n"
        "  likely cause: the parameter is newer than the call\n"
        "  way out: give it a default"
    )


def test_skipped_parameters_are_no_part_of_a_call():
    """What somebody else supplies is neither taken nor stored."""
    codec = SignatureCodec(plain, skip=("order_id",))

    assert codec.encode((7,), {}) == b'{"cents":7,"note":null}'


# -- results -----------------------------------------------------------------------------------------------------


def gives_payment() -> Item: ...  # type: ignore[empty-body]


def gives_nothing() -> None: ...


def gives_anything():
    """Without an annotation."""


def body() -> typing.Generator[Any, Any, Order]:
    yield
    return Order("o", [])


async def gives_later() -> Item: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (gives_payment, Item("a", Decimal(1))),
        (gives_later, Item("a", Decimal(1))),
        (gives_nothing, None),
        (gives_nothing, {"said": "None"}),
        (gives_anything, [1]),
        (body, Order("o", [])),
    ],
)
def test_a_result_is_written_by_the_return_annotation(fn, value):
    """The value of a step, and what a body returns at its end, come back as what they were."""
    codec = ResultCodec(fn)

    assert codec.decode(codec.encode(value)) == value


def test_a_result_that_cannot_be_written_is_named():
    """The error says whose result it is, and where in it."""
    with pytest.raises(EncodingError) as caught:
        ResultCodec(gives_payment).encode(Item("a", 1.5))  # type: ignore[arg-type]

    assert str(caught.value) == (
        "the result of gives_payment() can't be stored as JSON: result.price is 1.5 of type float, "
        "and its annotation asks for Decimal"
    )


# -- pydantic ----------------------------------------------------------------------------------------------------


def test_pydantic_models_survive():
    """A model comes back equal, alone, in a union and with sets whose order is fixed."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        tags: set[str]
        when: datetime
        shown_as: int = pydantic.Field(default=1, alias="shownAs")

    model = Model(tags={"b", "a"}, when=NOON, shownAs=5)

    assert back(model, Model) == model
    assert back([model, Item("a", Decimal(1))], list[Model | Item]) == [model, Item("a", Decimal(1))]
    assert b'"tags":["a","b"]' in encode(model, Model, "the value")


def test_a_pydantic_model_that_would_lose_something_is_refused():
    """A secret is masked in JSON: to store that would be to lose it."""
    pydantic = pytest.importorskip("pydantic")

    class Login(pydantic.BaseModel):
        password: pydantic.SecretStr

    with pytest.raises(
        EncodingError, match="login is a Login that does not come back equal from its own JSON"
    ):
        encode(Login(password=pydantic.SecretStr("x")), Login, "argument 'login'")


_NO_IMPORT = """
import sys
from qwit_durable.codec import encode
encode([1], list[int], "the value")
assert "pydantic" not in sys.modules
"""


def test_pydantic_is_not_imported_for_those_who_do_not_use_it():
    """The codec looks for the module and never loads it."""
    subprocess.run([sys.executable, "-c", _NO_IMPORT], check=True)


def test_an_encoding_error_has_the_place_as_facts():
    with pytest.raises(EncodingError) as caught:
        encode({"items": [1, object()]}, Any, "argument 'order' of f()")

    assert caught.value.where == "argument 'order' of f()"
    assert caught.value.path == "order['items'][1]"
