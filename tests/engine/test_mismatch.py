"""What is said about code that no longer matches: the recorded commands as a tree, and today's beside the one."""

from __future__ import annotations

from qwit_durable.core import Event, Kind, Mismatch, Resolved, Scheduled, Site, Value
from qwit_durable.core.commands import CallStep
from qwit_durable.engine.turning.mismatch import report_of


def step(position: str, name: str = "pack", args: bytes = b"null") -> Resolved:
    return Resolved(position=position, kind=Kind.STEP, name=name, args=args, outcome=Value())


def found(name: str) -> CallStep:
    return CallStep(name=name, args=b'{"to":"ann"}', site=Site("shop.py", 41))


def lines(place: Event, facts: list[Event]) -> list[str]:
    assert isinstance(place, Scheduled | Resolved)
    mismatch = Mismatch(position=place.position, recorded=place, found=found("send"))
    return report_of(mismatch, facts).lines()


def test_branches_are_indented_below_what_has_them() -> None:
    facts = [
        step("0", "charge"),
        step("1.0"),
        step("1.1.0", "label"),
        step("1.1.1", "mail"),
        step("2", "bill"),
    ]

    told = lines(facts[3], facts)

    assert (
        told
        == [
            "  recorded: step 'mail'",
            '  found:    step \'send\' {"to":"ann"}   at shop.py:41',
            "  in the history:",
            "      …",
            "        1  branches",
            "          1.0  step 'pack'",
            "          1.1  branches",
            "            1.1.0  step 'label'",
            "    -       1.1.1  step 'mail'",
            '    +       1.1.1  step \'send\' {"to":"ann"}',
            "      2  step 'bill'",
        ]
        or told
    )


def test_of_a_long_history_only_what_is_near_is_shown() -> None:
    facts: list[Event] = [step(str(number)) for number in range(100)]

    told = lines(facts[50], facts)

    shown = [line.split()[0] if line.strip() != "…" else "…" for line in told[3:]]
    assert shown == ["…", "47", "48", "49", "-", "+", "51", "52", "…"]


def test_positions_are_in_the_order_of_their_numbers() -> None:
    facts: list[Event] = [step("10"), step("9"), step("2")]

    told = lines(facts[0], facts)

    assert [line.split()[0] for line in told[3:]] == ["2", "9", "-", "+"]


def test_a_patch_stands_before_the_command_at_its_place() -> None:
    patch = Resolved(position="1.0!taxes v1.2", kind=Kind.PATCH, name="taxes v1.2", outcome=Value(b"true"))
    facts: list[Event] = [step("1.1"), step("1.0"), patch]

    told = lines(facts[0], facts)

    assert [line.split()[0] for line in told[3:]] == ["1", "1.0", "1.0", "-", "+"]
    assert "patch 'taxes v1.2'" in told[4]


def test_the_calls_of_a_map_and_undos_are_no_lines_of_their_own() -> None:
    of_map = Scheduled(position="0", kind=Kind.MAP, name="resize", args=b'{"count":3}', upto=3)
    call = Resolved(position="0.1", kind=Kind.MAP, name="resize", outcome=Value())
    facts: list[Event] = [of_map, call, step("1"), step("~1", "unpack")]

    told = lines(facts[2], facts)

    assert [line.split()[0] for line in told[3:]] == ["0", "-", "+"]


def test_what_is_not_asked_for_any_more_is_told_in_words() -> None:
    place = step("1")
    nothing = "nothing: the body has ended by then"

    report = report_of(
        Mismatch(position="1", recorded=place, found=None, found_text=nothing), [step("0"), place]
    )

    assert report.tree == ("  0  step 'pack'", "- 1  step 'pack'", f"+ 1  {nothing}")
    assert report.details()["tree"] == list(report.tree)
