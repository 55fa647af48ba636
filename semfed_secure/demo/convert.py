"""Convert one GGUF file in a process of its own, whose memory and progress bars end with it.

``python -m semfed_secure.demo.convert SOURCE DIRECTORY [PAD_TOKEN]``
"""

from __future__ import annotations

import sys
from pathlib import Path

from semfed_secure.llm.conversion import convert_gguf

if __name__ == "__main__":
    convert_gguf(Path(sys.argv[1]), Path(sys.argv[2]), pad_token=sys.argv[3] if sys.argv[3:] else None)
