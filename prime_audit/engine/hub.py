"""Hub ids, ``org/name`` and ``org/name@revision``, GGUF files, and what to do where a model cannot be loaded.

transformers finds the files: ``HF_HOME``, ``HF_HUB_OFFLINE``, ``HF_TOKEN`` and ``hf auth login`` work as usual.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prime_audit.errors import UserError


def is_gguf(source: str) -> bool:
    """Whether a model is named as a GGUF file."""
    return source.lower().endswith(".gguf") and not Path(source).is_dir()


def pinned(source: str) -> tuple[str, dict[str, str]]:
    """Split a model's name into what ``from_pretrained`` takes: a folder or an id, and options.

    ``org/name@revision`` (branch, tag or commit) gives a revision, ``folder/FILE.gguf`` a file. The name of an
    existing folder may contain an @ and is not split.
    """
    if is_gguf(source):
        return str(Path(source).parent), {"gguf_file": Path(source).name}
    name, at, revision = source.partition("@")
    if not (at and name and revision) or Path(source).is_dir():
        return source, {}
    return name, {"revision": revision}


@contextmanager
def alone(source: str) -> Iterator[str]:
    """Give a GGUF file a folder of its own while it is loaded; another source stays where it is.

    From its own folder, transformers would also read the files beside it: an adapter, a tokenizer, a configuration.
    """
    if not is_gguf(source):
        yield source
        return
    with ExitStack() as until:
        try:
            folder = until.enter_context(tempfile.TemporaryDirectory(prefix="prime-audit-"))
            place = Path(folder, Path(source).name)
            _link(Path(source).resolve(), place)
        except OSError as fault:
            why = fault.strerror or fault
            raise UserError(
                f"{source}: cannot be linked into a temporary folder ({why}); set TMPDIR"
            ) from None
        yield str(place)


def _link(file: Path, place: Path) -> None:
    """Link a file, or copy it where links are impossible."""
    for link in (os.symlink, os.link):
        try:
            return link(file, place)
        except OSError:
            continue
    shutil.copyfile(file, place)


def advice(fault: BaseException, source: str) -> str:
    """Advise on a hub model that cannot be loaded, after a semicolon; empty for local ones and unknown causes."""
    if Path(source).exists():
        return ""
    name, _ = pinned(source)
    kinds = {type(f).__name__ for f in _chain(fault)}
    text = " ".join(str(f) for f in _chain(fault)).lower()
    if "GatedRepoError" in kinds or "gated repo" in text:
        return f"; accept its terms at https://huggingface.co/{name}, then log in: hf auth login (or set HF_TOKEN)"
    if "RevisionNotFoundError" in kinds or "is not a valid git identifier" in text:
        return "; name a branch, tag or commit that it has: org/name@revision"
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    if "RepositoryNotFoundError" in kinds and not offline:
        return "; check the id, and log in where it is private: hf auth login"
    if offline or "offline" in text or "couldn't connect" in text or "LocalEntryNotFoundError" in kinds:
        mode = "HF_HUB_OFFLINE is set: " if offline else ""
        fetch = f"fetch it once where there is a network (hf download {name})"
        return f"; {mode}{fetch}, or set HF_HOME to a cache that has it"
    return ""


def _chain(fault: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    one: BaseException | None = fault
    while one is not None and one not in found:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found
