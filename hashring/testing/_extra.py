"""Is what ``hashring.testing`` needs installed?  Imported first, so that the answer comes first."""

from __future__ import annotations

from importlib.util import find_spec

from hashring.errors import ConfigError, missing_extra

if find_spec("hypothesis") is None:
    raise ConfigError(missing_extra("testing", "contract tests", "hypothesis"), option="testing")
