"""The two files of a LoRA adapter as PEFT writes it: names and hash. The engine reads them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from prime_audit.errors import UserError
from prime_audit.io import intake

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def adapter_sha256(folder: Path) -> str:
    """Hash an adapter's two files; UserError where one cannot be read."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        try:
            with intake.open_file(folder / name) as stream:
                own = hashlib.sha256()
                while block := stream.read(1 << 20):
                    own.update(block)
            digest.update(own.digest())
        except FileNotFoundError:
            raise lacking(folder, name) from None
        except OSError as error:
            raise UserError(
                f"{folder / name}: cannot be read ({error.strerror}): check its permissions"
            ) from None
    return digest.hexdigest()


def lacking(folder: Path, name: str) -> UserError:
    """Build the error for a missing file of an adapter's folder. For pickled weights, it shows how to convert them."""
    bare = next((p for p in (folder / "adapter_model.bin", folder / "adapter_model.pt") if p.is_file()), None)
    if name != WEIGHTS or bare is None:
        return UserError(
            f"{folder}: no {name}; pass a folder that PEFT's save_pretrained wrote (safetensors)"
        )
    return UserError(
        f"{bare}: only safetensors files are read, because a {bare.suffix} file may contain code. "
        'If you trust it, convert it once: python -c "import torch; from safetensors.torch '
        f"import save_file; save_file({{k: v.contiguous() for k, v in torch.load('{bare}', "
        f"map_location='cpu', weights_only=True).items()}}, '{folder / WEIGHTS}')\""
    )
