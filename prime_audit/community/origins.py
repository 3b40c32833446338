"""Where a community's adapters come from, so that a model can be exported long after its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prime_audit.engine.bank import AdapterBank


@dataclass(frozen=True)
class Origin:
    """Where one adapter came from."""

    sha256: str
    """Hash of its factors (trained in a run), or of its files (given)."""
    place: str = ""
    """Its folder below the cache, as a POSIX path; empty for a given one."""
    folder: str = ""
    """Name of its folder among the given ones; empty for a trained one."""

    def to_json(self) -> dict[str, str]:
        """Return what is known of it."""
        return {"sha256": self.sha256} | ({"place": self.place} if self.place else {"folder": self.folder})


def adapters_of(
    bank: AdapterBank, origins: Mapping[str, Origin], adaptation: Origin | None
) -> dict[str, Any]:
    """Describe a bank's adapters for the record.

    modules: the adapted projections of a layer, in the order of models' weights; adaptation: what was merged into the
    base, null where nothing was; adapters: by name in the bank, those whose origin is known (``origins``: by content).
    """
    modules = dict.fromkeys(site.name.rpartition(".")[2] for site in bank.base.sites)
    found = {name: origins.get(bank.hashes[name]) for name in bank.names}
    return {
        "modules": list(modules),
        "adaptation": adaptation.to_json() if adaptation else None,
        "adapters": {name: origin.to_json() for name, origin in found.items() if origin},
    }
