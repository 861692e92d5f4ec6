from __future__ import annotations

from tests.examples.programs import ROOT, run_module


def test_links_complete_fail_and_hand_on(tmp_path):
    shown = (ROOT / "examples/callback/README.md").read_text(encoding="utf-8")

    done = run_module("examples.callback", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert f"$ python -m examples.callback\n{done.stdout}```" in shown
