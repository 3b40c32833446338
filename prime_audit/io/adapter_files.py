"""The two files of a LoRA adapter as PEFT writes it, known by name and hash; reading them is the engine's."""

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
            raise UserError(f"{folder / name}: cannot be read ({error.strerror}): check its rights") from None
    return digest.hexdigest()


def lacking(folder: Path, name: str) -> UserError:
    """Build the error for a file that an adapter's folder lacks, with how to convert weights that are pickled."""
    bare = next((p for p in (folder / "adapter_model.bin", folder / "adapter_model.pt") if p.is_file()), None)
    if name != WEIGHTS or bare is None:
        return UserError(
            f"{folder}: no {name}; give a folder that PEFT's save_pretrained wrote (safetensors)"
        )
    return UserError(
        f"{bare}: only safetensors are read, for a {bare.suffix} file may hold code: where you trust it, convert it "
        f'once, python -c "import torch; from safetensors.torch import save_file; save_file({{k: v.contiguous() for k, '
        f"v in torch.load('{bare}', map_location='cpu', weights_only=True).items()}}, '{folder / WEIGHTS}')\""
    )
