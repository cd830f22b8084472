"""What does ``python -m hashring`` do?  The same as ``hashring``."""

from __future__ import annotations

from hashring.cli import main

if __name__ == "__main__":
    main()
