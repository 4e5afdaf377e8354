# SPDX-License-Identifier: Apache-2.0

"""Where a change is, for tests that call one without a runner."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova_recovery.engine import records
from nova_recovery.engine.change import At
from nova_recovery.engine.plan import Item

RUN = '1a2b3c4d'
MARKER = records.marker(RUN, 'anna', 'ctl1')


def at(
    item: Item,
    cloud: Any = None,
    image: dict[str, Any] | None = None,
    notes: dict[str, Any] | None = None,
    **more: Any,
) -> At[Any]:
    """One that is begun if it has an image.

    :param cloud: without one, a cloud that answers anything
    """
    more.setdefault('run_id', RUN)
    more.setdefault('marker', MARKER)
    return At(
        item,
        mock.Mock() if cloud is None else cloud,
        begun=image is not None,
        image=image or {},
        notes={} if notes is None else notes,
        **more,
    )
