"""What each mistake of the catalogue says is what `docs/misuse.md` shows."""

from __future__ import annotations

import re

import pytest

from tests.misuse import PAGE, SERVER, basics, said_by, snippets

_PAGE = PAGE.read_text(encoding="utf-8")
_SNIPPETS = list(snippets(_PAGE))
_LEAST = 40


@pytest.mark.parametrize("snippet", _SNIPPETS, ids=lambda snippet: snippet.title)
def test_mistake_says_what_the_catalogue_shows(snippet, request):
    server = request.getfixturevalue("postgres_url") if snippet.needs_postgres else SERVER

    said = said_by(snippet, basics(_PAGE), server=server)

    assert said == snippet.says.text


def test_catalogue_is_long_and_names_each_mistake_once():
    titles = [snippet.title for snippet in _SNIPPETS]

    assert len(titles) >= _LEAST
    assert len(set(titles)) == len(titles)
    assert len(re.findall(r"^### ", _PAGE, re.MULTILINE)) == len(titles)
