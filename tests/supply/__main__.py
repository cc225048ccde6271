"""`make audit`."""

from __future__ import annotations

import sys

from supply.audit import main

sys.exit(main())
