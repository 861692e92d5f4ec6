"""Failures inside the shipped contract are explained as those of any test."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("qwit_durable.testing.contract")
