# SPDX-License-Identifier: Apache-2.0

"""What to do: one module or package for each procedure.

A procedure reads, then decides; it never writes. Deciding is pure
functions over plain records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TYPE_CHECKING

from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.change import Guard
    from nova_recovery.engine.plan import Gate, Plan, Step
    from nova_recovery.engine.records import ItemRecord


def check_gates(
    plan: Plan, cloud: Cloud, touched: frozenset[str] = frozenset()
) -> tuple[Gate, ...]:
    """The gates of a plan as they are now.

    :param touched: subjects that a run of this plan has begun to change
    :raises RecoveryError: a plan of a procedure that isn't known here
    """
    from nova_recovery.procedures import (
        bus_purge,
        reboot,
        reboot_guests,
        recover,
        set_states,
    )
    from nova_recovery.procedures.backups import create as backup_create
    from nova_recovery.procedures.disaster import planning
    from nova_recovery.procedures.volumes import attach, detach, reset

    checks = {
        'disaster': planning.check,
        'host-recover': recover.check,
        reboot.PROCEDURE: reboot.check,
        reboot_guests.PROCEDURE: reboot_guests.check,
        set_states.PROCEDURE: set_states.check,
        attach.PROCEDURE: attach.check,
        backup_create.PROCEDURE: backup_create.check,
        bus_purge.PROCEDURE: bus_purge.check,
        detach.PROCEDURE: detach.check,
        reset.PROCEDURE: reset.check,
    }
    check = checks.get(plan.procedure)
    if check is None:
        raise RecoveryError(
            f'this version has no procedure called {plan.procedure}; use the '
            'one that made the plan'
        )
    return check(plan, cloud, touched)


def table(
    plan: Plan, items: Iterable[ItemRecord] | None
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """What became of each subject, as columns and rows.

    :param items: what the journal has; None: the plan was not carried out
    """
    from nova_recovery.procedures.disaster.run import outcome as of_disaster
    from nova_recovery.procedures.recover import outcome
    from nova_recovery.report import summary

    if plan.procedure == 'host-recover':
        return outcome.table(plan, items)
    if plan.procedure == 'disaster':
        return of_disaster.table(plan, items)
    if items is None:
        return summary.of_plan(plan)
    return summary.of_items(items)


def guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool = False
) -> Guard | None:
    """What the runner asks before each change: is the claim still ours?

    And is the dead host still silent, unless the run is taken back.
    None where the plan claims nothing.
    """
    from nova_recovery.procedures import guarding

    if plan.procedure == 'disaster':
        from nova_recovery.procedures.disaster.run import guard as of_disaster

        return of_disaster.guard(plan, cloud, marker, undoing)
    return guarding.guard(plan, cloud, marker, undoing)


def before(
    plan: Plan,
    cloud: Cloud,
    ours: Callable[[], frozenset[str]],
    states_of: Callable[[], Mapping[str, str]],
) -> Callable[[Step], None] | None:
    """What the runner asks before each step of which something is left.

    It raises Paused where the step may not begin now.

    :param ours: the ids of the requests that the run has sent so far
    :param states_of: item id -> its state, as the journal has it
    """
    if plan.procedure == 'disaster':
        from nova_recovery.procedures.disaster.run import before as of_disaster

        return of_disaster.Before(plan, cloud, ours, states_of)
    return None
