"""A person completes or fails a step that was left open."""

from __future__ import annotations

import pytest

from tests.cli import shop
from tests.cli.desk import Desk


@pytest.fixture
def waiting(desk: Desk) -> Desk:
    """A store with a run that waits for its step to be completed."""
    shop.tokens.clear()
    desk.type("start", "tests.cli.shop:signing", '["a"]', "--id", "a-1")
    desk.work()
    return desk


def test_a_completion_lets_the_run_go_on(waiting: Desk) -> None:
    result = waiting.type("complete", shop.tokens[0], '"Ann"')
    waiting.work()

    assert (result.exit_code, result.stdout) == (0, "complete: recorded\n")
    assert waiting.ask("show", "a-1")["value"] == "signed by Ann"


def test_a_second_completion_says_that_the_first_one_stands(waiting: Desk) -> None:
    answers = [waiting.ask("complete", shop.tokens[0], f'"{name}"') for name in ("Ann", "Bob")]
    waiting.work()

    assert [answer["first"] for answer in answers] == [True, False]
    assert waiting.ask("show", "a-1")["value"] == "signed by Ann"


def test_a_failed_attempt_is_followed_by_another(waiting: Desk) -> None:
    result = waiting.type("fail", shop.tokens[0], "on holiday")
    waiting.work()

    assert (result.exit_code, result.stdout) == (0, "fail: recorded\n")
    assert len(shop.tokens) == 2


def test_giving_up_allows_no_further_attempt(waiting: Desk) -> None:
    waiting.type("fail", shop.tokens[0], "never", "--give-up")
    waiting.work()

    assert waiting.ask("explain", "a-1")["status"] == "failed"


def test_a_wrong_token_is_told_on_one_line(waiting: Desk) -> None:
    result = waiting.type("complete", "nonsense", "1")

    assert result.exit_code == 1
    assert result.stderr.startswith("qwit: 'nonsense' is no token of this store")
    assert result.stderr.count("\n") == 1


def test_a_completion_that_is_too_late_is_refused(waiting: Desk) -> None:
    waiting.type("cancel", "a-1")
    waiting.work()

    result = waiting.type("complete", shop.tokens[0], '"Ann"')

    assert result.exit_code == 1
    assert "takes no completion: nobody waits for it any more" in result.stderr


def test_explain_says_what_is_waited_for_and_how_to_end_the_wait(waiting: Desk) -> None:
    found = waiting.ask("explain", "a-1")

    (wait,) = found["waits"]
    assert (wait["kind"], wait["what"], wait["attempt"]) == ("completion", "sign", 1)
    assert wait["until"] is not None
    assert "waits for the completion of step 'sign' (attempt 1) at 0 since" in wait["text"]
    assert any("qwit complete TOKEN" in way for way in found["ways_out"])
    assert shop.tokens[0] not in str(found)
