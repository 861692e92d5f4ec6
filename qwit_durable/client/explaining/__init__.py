"""Why a run stands where it stands: what is known of it, what it waits for, and what helps."""

from __future__ import annotations

from qwit_durable.client.explaining.explain import explain
from qwit_durable.client.explaining.explanation import Explanation, Wait, WaitKind

__all__ = ["Explanation", "Wait", "WaitKind", "explain"]
