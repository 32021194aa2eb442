"""REQUIRE_ALL: whether a test that cannot run here fails instead of being skipped, as in CI."""

import os

REQUIRE_ALL = os.environ.get("CHARLSTM_REQUIRE_ALL") == "1"
