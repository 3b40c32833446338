"""Where the adapters of a community lie, so that a model can be written out long after its run (``export``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prime_audit.community.build import Community


@dataclass(frozen=True)
class Origin:
    """Where one adapter came from."""

    sha256: str
    """Hash of its factors (a trained one's), or of its files (a given one's)."""
    place: str = ""
    """Its folder below the cache, as a POSIX path; empty for a given one."""
    folder: str = ""
    """Name of its folder among the given ones; empty for a trained one."""

    def to_json(self) -> dict[str, str]:
        """Return what is known of it."""
        return {"sha256": self.sha256} | ({"place": self.place} if self.place else {"folder": self.folder})


def adapters_of(community: Community) -> dict[str, Any]:
    """Describe a community's adapters for the record.

    modules: the adapted projections of a layer, in the order of models' weights; adaptation: what was merged into the
    base, null where nothing was; adapters: by name in the bank, those whose origin is known.
    """
    bank = community.engine.bank
    modules = dict.fromkeys(site.name.rpartition(".")[2] for site in bank.base.sites)
    origins = {name: community.origins.get(bank.hashes[name]) for name in bank.names}
    merged = community.adaptation
    return {
        "modules": list(modules),
        "adaptation": merged.to_json() if merged else None,
        "adapters": {name: origin.to_json() for name, origin in origins.items() if origin},
    }
