# SPDX-License-Identifier: Apache-2.0

"""Plans of format 2, and before-images in files.

The tables stay as they are. What is in them older versions would misread, so
that they shall refuse it.
"""

from __future__ import annotations

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    """Nothing but the number."""
