from __future__ import annotations

from tests.examples.programs import run_module


def test_what_three_levels_did_is_undone_newest_first(tmp_path):
    done = run_module("examples.nested", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Lisbon: room 7, insured by POL-1\n")
    assert done.stdout.splitlines()[-6:] == [
        "  cancel room 7 in Oslo",
        "  cancel insurance POL-1",
        "  void ticket T-Oslo-back-12A",
        "  release seat 12A on Oslo-back",
        "  void ticket T-Oslo-out-12A",
        "  release seat 12A on Oslo-out",
    ]
