"""The models of a plan: the base, the encoder and the profiler."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from typing import Any

import torch

from prime_audit.community.given_adapters import modules_of
from prime_audit.engine.bank import AdapterBank
from prime_audit.engine.base import Base
from prime_audit.engine.embed import Encoder, base_encoder, load_encoder
from prime_audit.engine.engine import Engine
from prime_audit.engine.load import load_base, quiet_libraries
from prime_audit.engine.memory import Fit
from prime_audit.engine.sites import NoModuleError
from prime_audit.errors import UserError
from prime_audit.lamp.data import Dataset
from prime_audit.plan.plan import Plan
from prime_audit.runs.ledger import Ledger


def loaded(plan: Plan, ledger: Ledger, datasets: Iterable[Dataset]) -> Base:
    """Load a plan's base model, as a separate stage. It is adapted where the data's given adapters are, if any."""
    quiet_libraries()
    asked, usual = plan.settings.override("lora.modules", ""), plan.settings.get("lora.modules")
    given, context = [data.given for data in datasets if data.given], plan.settings.get("context")
    modules = modules_of(given, usual, asked)
    with ledger.stage(None, None, "load model", 0):
        try:
            base = load_base(
                plan.model, targets=modules, device=plan.device, dtype=plan.dtype, context=context
            )
        except NoModuleError as fault:
            if not given or asked:
                raise
            raise UserError(f"--sharers: the adapters adapt {', '.join(modules)}: {fault}") from fault
        _ = base.loaded_sha256
    return base


class Readers:
    """The models beside the base: the encoder, and the profiler if there is one."""

    def __init__(self, plan: Plan, base: Base) -> None:
        limit, tokens = plan.settings.get("encoder_tokens"), plan.settings.get("read_tokens")
        # One account for all models, so a stage's cost covers every model it used.
        self.encoder: Encoder = (
            load_encoder(plan.encoder, plan.device, limit, tokens, base.spent)
            if plan.encoder
            else base_encoder(base, limit, tokens)
        )
        self.profiler: Engine | None = None
        if plan.profiler:
            # Nothing is adapted in it, so any causal model works.
            writer = load_base(
                plan.profiler, targets=(), device=plan.device, dtype=plan.dtype, role="profiler"
            )
            writer.spent = base.spent
            room = plan.settings.get("batch_tokens")
            self.profiler = Engine(
                base=writer, bank=AdapterBank(writer), batch_tokens=room, read_tokens=tokens
            )

    def notes(self) -> list[str]:
        """List what a reader must know about how they were loaded."""
        return [*self.encoder.notes, *(self.profiler.base.notes if self.profiler else ())]

    def fits(self) -> list[Fit]:
        """List what was fitted into memory for them."""
        profiler = self.profiler.base.fits.values() if self.profiler else ()
        return [self.encoder.fit, *profiler]


def hardware(base: Base) -> dict[str, Any]:
    """Describe the hardware: device, its name, threads, operating system."""
    device = (
        torch.cuda.get_device_name(base.device)
        if base.device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "device": base.device.type,
        "name": device,
        "threads": torch.get_num_threads(),
        "system": sys.platform,
    }
