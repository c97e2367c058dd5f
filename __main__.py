"""Entry point of ``python -m tiankong``."""

import sys

from .toolkit.cli import main

sys.exit(main())
