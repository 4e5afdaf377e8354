# SPDX-License-Identifier: Apache-2.0

"""What compute hosts, and those of volumes, told of themselves.

Only where they were asked, which takes longer than a probe has.
"""

from __future__ import annotations

from collections.abc import Iterator

from nova_recovery.engine.findings import Finding
from nova_recovery.readiness import Site

LAYER = 'hosts'


class Probe:
    """See :class:`nova_recovery.readiness.Probe`.

    Its rows are of the layers that they are a matter of.
    """

    needs: tuple[str, ...] = ()

    def rows(self, site: Site) -> Iterator[Finding]:
        yield from site.told or ()
