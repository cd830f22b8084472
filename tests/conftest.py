"""How do the tests run?  Hypothesis explores on a desk and repeats itself in CI."""

from __future__ import annotations

import os

from hypothesis import settings

# on a desk each run looks at new examples; a slow machine is not a failing test
settings.register_profile("default", deadline=None)
# in CI a red run can be repeated by anybody: fixed examples, and a blob that reproduces the failure
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI", "").lower() in ("1", "true") else "default")
