# SPDX-License-Identifier: Apache-2.0

"""Which nova-recovery this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Return the version of the installed package, such as ``1.0.0``."""
    return metadata.version('nova-recovery')
