"""Whether a half format pays, decided by a clock that the test moves."""

from __future__ import annotations

import pytest
import torch

from prime_audit.engine import native


@pytest.mark.parametrize(("half", "pays"), [(0.4, True), (0.9, False), (8.0, False)])
def test_a_half_format_pays_where_its_products_take_clearly_less_time(
    monkeypatch: pytest.MonkeyPatch, half: float, pays: bool
) -> None:
    now = [0.0]

    def linear(x: torch.Tensor, _: torch.Tensor) -> None:
        now[0] += 1.0 if x.dtype == torch.float32 else half

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    assert native.multiplies_natively.__wrapped__(torch.bfloat16) is pays


def test_float32_is_not_faster_than_itself() -> None:
    assert not native.multiplies_natively(torch.float32)
