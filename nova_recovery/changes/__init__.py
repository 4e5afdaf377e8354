# SPDX-License-Identifier: Apache-2.0

"""The changes: how each kind is done, observed and reverted."""

from __future__ import annotations

import importlib
import pkgutil

from nova_recovery.engine.change import Registry


def registry() -> Registry:
    """Every change by its kind: each class in a module here that has one."""
    # Imported here: the planners need the kinds' names, not their clients.
    found: Registry = {}
    for known in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f'{__name__}.{known.name}')
        for one in vars(module).values():
            if isinstance(one, type) and (kind := vars(one).get('kind')):
                found[kind] = one()
    return found
