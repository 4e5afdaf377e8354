# SPDX-License-Identifier: Apache-2.0

"""What to do: one module or package for each procedure.

A procedure reads, then decides; it never writes. Deciding is pure
functions over plain records. What the rest of the program needs of a
procedure is in its :class:`Procedure`, which is found by the name that its
plans carry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import importlib
from typing import Any, NoReturn, TYPE_CHECKING

from nova_recovery.exceptions import RecoveryError

if TYPE_CHECKING:
    from nova_recovery.cloud.cloud import Cloud
    from nova_recovery.engine.change import Guard
    from nova_recovery.engine.plan import Gate, Plan, Step
    from nova_recovery.engine.records import ItemRecord

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]

#: Where each is: a module below this package with a ``PROCEDURE``. Only the
#: one that is asked for is imported.
MODULES = {
    'backup-create': 'backups.create',
    'bus-purge': 'bus_purge',
    'disaster': 'disaster.procedure',
    'drill': 'drill.procedure',
    'drill-site': 'drill.site',
    'filter-rebuild': 'rebuild_filters',
    'guest-reboot': 'guests.reboot',
    'guest-set': 'set_guest',
    'guest-stop': 'stop_guest',
    'host-recover': 'recover.procedure',
    'host-rules': 'rules.procedure',
    'host-service-restart': 'restart_services',
    'host-uid': 'uid.procedure',
    'iscsi-session': 'iscsi.procedure',
    'server-adopt': 'adopt',
    'server-reboot': 'reboot',
    'server-set': 'set_states',
    'volume-attach': 'volumes.attach',
    'volume-detach-stale': 'volumes.detach',
    'volume-reset': 'volumes.reset',
}


def _of_subjects(plan: Plan, items: Iterable[ItemRecord] | None) -> Table:
    """A row for each subject, as most procedures have it."""
    from nova_recovery.report import summary

    if items is None:
        return summary.of_plan(plan)
    return summary.of_items(items)


def _of_claims(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool
) -> Guard | None:
    """The claims of the plan are looked at, and nothing else."""
    from nova_recovery.procedures import guarding

    return guarding.guard(plan, cloud, marker, undoing)


def _any_way(plan: Plan, items: Iterable[ItemRecord]) -> str:
    """Whatever can be taken back may be."""
    return ''


def _at_once(
    plan: Plan,
    cloud: Cloud,
    ours: Callable[[], frozenset[str]],
    states_of: Callable[[], Mapping[str, str]],
) -> None:
    """Each step may begin when the one before it is over."""


@dataclasses.dataclass(frozen=True)
class Procedure:
    """What the rest of the program needs of a procedure.

    :ivar name: what its plans say in ``Plan.procedure``
    :ivar make_plan: (cloud, request), and where it takes long a function
        that is told how far it is -> the plan; asks, never writes
    :ivar check: see :func:`check_gates`
    :ivar table: see :func:`table`
    :ivar guard: see :func:`guard`
    :ivar before: see :func:`before`
    :ivar back: steps that are done on all or on none: see :func:`goes_back`
    :ivar only_forward: see :func:`only_forward`
    """

    name: str
    make_plan: Callable[..., Plan]
    check: Callable[[Plan, Cloud, frozenset[str]], tuple[Gate, ...]]
    table: Callable[[Plan, Iterable[ItemRecord] | None], Table] = _of_subjects
    guard: Callable[[Plan, Cloud, str, bool], Guard | None] = _of_claims
    before: Callable[..., Callable[[Step], None] | None] = _at_once
    back: frozenset[str] = frozenset()
    only_forward: Callable[[Plan, Iterable[ItemRecord]], str] = _any_way


def named(name: str) -> Procedure:
    """The procedure of that name.

    One that this version doesn't have makes and checks no plan; what became
    of a run of it can be shown all the same.
    """
    module = MODULES.get(name)
    if module is None:
        return Procedure(name, _unknown, _unknown)
    found: Procedure = importlib.import_module(
        f'{__name__}.{module}'
    ).PROCEDURE
    return found


def _unknown(plan: Plan, *_args: Any) -> NoReturn:
    raise RecoveryError(
        f'this version has no procedure called {plan.procedure}; use the one '
        'that made the plan'
    )


def check_gates(
    plan: Plan, cloud: Cloud, touched: frozenset[str] = frozenset()
) -> tuple[Gate, ...]:
    """The gates of a plan as they are now.

    :param touched: subjects that a run of this plan has begun to change
    :raises RecoveryError: a plan of a procedure that isn't known here
    """
    return named(plan.procedure).check(plan, cloud, touched)


def table(plan: Plan, items: Iterable[ItemRecord] | None) -> Table:
    """What became of each subject, as columns and rows.

    :param items: what the journal has; None: the plan was not carried out
    """
    return named(plan.procedure).table(plan, items)


def guard(
    plan: Plan, cloud: Cloud, marker: str, undoing: bool = False
) -> Guard | None:
    """What the runner asks before each change: is the claim still ours?

    And is the dead host still silent, unless the run is taken back.
    None where the plan claims nothing.
    """
    return named(plan.procedure).guard(plan, cloud, marker, undoing)


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
    return named(plan.procedure).before(plan, cloud, ours, states_of)


def only_forward(plan: Plan, items: Iterable[ItemRecord]) -> str:
    """Why a run may not be taken back now, '' if it may.

    :param items: what the journal has
    """
    return named(plan.procedure).only_forward(plan, items)


def goes_back(plan: Plan, items: Iterable[ItemRecord]) -> str:
    """Whether a run that paused is to be taken back at once.

    :param items: what the journal has
    :returns: the title of the step that was done on some only; '' if none was
    """
    from nova_recovery.engine import states

    bad = {item.step for item in items if item.state in states.BAD}
    back = named(plan.procedure).back & bad
    return next((s.title for s in plan.steps if s.name in back), '')
