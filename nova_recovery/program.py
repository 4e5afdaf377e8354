# SPDX-License-Identifier: Apache-2.0

"""Which of the two programs is in use: what it advises has to work there.

When Keystone is down, only ``nova-recovery`` works.
"""

from __future__ import annotations

UNIFIED = 'openstack recovery'
ALONE = 'nova-recovery'

_used = UNIFIED


def use(name: str) -> None:
    """Say which one it is, as soon as a command runs.

    :param name: ``UNIFIED`` or ``ALONE``
    """
    global _used
    _used = name


def call(words: str) -> str:
    """A command of ours as it is typed: ``call('run list')``."""
    return f'{_used} {words}'
