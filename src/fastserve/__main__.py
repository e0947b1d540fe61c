from __future__ import annotations

from fastserve.cli import main

if __name__ == "__main__":
    main(prog_name="python -m fastserve")
