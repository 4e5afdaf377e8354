# SPDX-License-Identifier: Apache-2.0

"""What an operator has to agree to, and how: options, gates, the question."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
import re
import termios
from typing import Any

from nova_recovery.engine import findings, overrides
from nova_recovery.engine.overrides import Overrides
from nova_recovery.engine.plan import Gate, Plan, SHORT
from nova_recovery.exceptions import Refused, UsageError

#: ``--yes`` and a typed "yes" are for plans of at most so many items.
LARGE = 100
#: Answers that mean to agree without saying so; they are asked again.
NEARLY = frozenset(('y', 'ye', 'yes', 'ja', 'ok'))
#: For ``--approve``, and nothing that can be typed: whatever the plan is, it
#: was agreed to with what it is a part of.
AGREED = ''
#: Seconds after which an answer is for gates that may no longer stand so.
STALE = 120


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command that makes a plan understands."""
    group = add_confirm_options(parser)
    group.add_argument(
        '--dry-run',
        action='store_true',
        help='Show the plan and stop: exit code 0, or 3 if a gate refuses',
    )
    group.add_argument(
        '--plan-file',
        metavar='<file>',
        help='Save the plan there and stop; "plan apply" carries it out',
    )
    add_override(group)


def add_override(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
) -> None:
    """Add the option that takes gates upon the operator."""
    parser.add_argument(
        '--override',
        metavar=f'<{overrides.FORM}>',
        action='append',
        default=[],
        help='Take a soft gate upon yourself; the reason is kept in the '
        'journal with your name. Repeat it for several gates; leave the '
        'subject away (GATE=REASON) for a gate of the whole plan',
    )


def add_confirm_options(
    parser: argparse.ArgumentParser,
) -> argparse._ArgumentGroup:
    """Add the ways to agree where no terminal can ask; return their group."""
    group = parser.add_argument_group(
        'plan and approval',
        'Nothing is changed before the plan was shown and agreed to: on a '
        'terminal you are asked, elsewhere give one of these.',
    )
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        '--approve',
        metavar='<digest>',
        type=_digest,
        help='Carry it out if the plan has this digest (its first '
        f'{SHORT} digits are enough), that is: if it is still the plan that '
        'you saw',
    )
    either.add_argument(
        '--yes',
        action='store_true',
        help=f'Carry it out unasked, up to {LARGE} items',
    )
    return group


def add_through(parser: argparse.ArgumentParser) -> None:
    """Add the option that stops a plan after one of the guide's steps."""
    parser.add_argument(
        '--through',
        metavar='<step>',
        type=int,
        help='Pause when the step with this number is over; "run resume" '
        'goes on. For plans whose steps are numbered, such as those of the '
        'five steps after a disaster',
    )


def check_through(plan: Plan, through: int | None) -> None:
    """:raises UsageError: the plan has no step of that number"""
    numbers = sorted({step.number for step in plan.steps} - {0})
    if through is None or through in numbers:
        return
    if not numbers:
        raise UsageError(
            f"--through {through}: the steps of this plan can't be carried "
            'out one at a time'
        )
    raise UsageError(
        f'--through {through}: the plan has the steps '
        + ', '.join(map(str, numbers))
    )


def given(parsed: argparse.Namespace) -> Overrides:
    """The overrides on the command line.

    For procedures that plan otherwise because of one; ``Stage.settle`` marks
    the gates.

    :raises UsageError: not of the form, or without a reason
    """
    return overrides.parse_overrides(parsed.override)


def refuse_if_blocked(gates: Iterable[Gate], digest: str) -> None:
    """With the gates as the result, for who reads JSON and not the screen.

    :param digest: of the plan that they are of
    :raises Refused: a gate doesn't let the plan pass
    """
    blocking = [gate for gate in gates if gate.blocks]
    if not blocking:
        return
    several = 'gate' if len(blocking) == 1 else 'gates'
    meant = findings.meaning(gate.name for gate in blocking)
    raise Refused(
        f'{meant}\nRefused by {len(blocking)} {several}. Nothing was changed.',
        (
            (
                'Gate',
                'Subject',
                'Class',
                'State',
                'Observed',
                'Remedy',
                'Plan',
                'Guide',
            ),
            [
                (
                    gate.name,
                    gate.subject,
                    gate.klass,
                    gate.state,
                    gate.observed,
                    gate.remedy,
                    digest,
                    findings.guide(gate.name),
                )
                for gate in blocking
            ],
        ),
    )


class Asker:
    """The terminal, if there is one."""

    def __init__(self, stdin: Any, stderr: Any) -> None:
        self._stdin, self._stderr = stdin, stderr

    @property
    def there(self) -> bool:
        return bool(self._stdin.isatty() and self._stderr.isatty())

    def ask(self, question: str, stopped: str = 'Nothing was changed.') -> str:
        """The answer; ``''`` at the end of input.

        What was typed before it was asked answers something else: a "yes"
        while the plan was still being made is thrown away.

        :param stopped: said at Ctrl-C
        :raises KeyboardInterrupt: Ctrl-C
        """
        termios.tcflush(self._stdin, termios.TCIFLUSH)
        self._stderr.write(question)
        self._stderr.flush()
        try:
            return str(self._stdin.readline()).strip()
        except KeyboardInterrupt:
            self._stderr.write(f'\n{stopped}\n')
            raise


def confirm(
    asker: Asker,
    parsed: argparse.Namespace,
    total: int,
    digest: str,
    name: str = '',
) -> None:
    """Return if somebody agreed to exactly this.

    :param total: how many items are to be carried out
    :param digest: of what was shown
    :param name: what has to be typed instead of yes: whose bad day it is
    :raises Refused: nobody did
    """
    if parsed.approve is not None:
        if digest.startswith(parsed.approve):
            return
        raise Refused(
            f'--approve {parsed.approve}: the plan as it is now has the '
            f'digest {digest}. Nothing was changed.'
        )
    if parsed.yes and total <= LARGE:
        return
    if not asker.there:
        raise Refused(_no_terminal(parsed.yes, total, digest))
    if name:
        wanted, question = name, f'Type {name} to carry it out on it: '
    elif total <= LARGE:
        wanted, question = 'yes', 'Type "yes" to carry it out: '
    else:
        wanted = str(total)
        question = 'Type the number of its items to carry it out: '
    answer = asker.ask(question)
    while answer != wanted and answer.lower() in NEARLY:
        # neither agreed nor refused
        answer = asker.ask(question)
    if answer != wanted:
        raise Refused('Not confirmed. Nothing was changed.')


def _no_terminal(yes: bool, total: int, digest: str) -> str:
    why = 'There is no terminal to ask'
    way = f'--approve {digest[:SHORT]}'
    if yes:
        why = f'--yes is for at most {LARGE} items, and these are {total}'
    elif total <= LARGE:
        way += ' or --yes'
    return (
        f'{why}; to carry out what was shown, give {way}. Nothing was changed.'
    )


def _digest(word: str) -> str:
    if not re.fullmatch('[0-9a-f]{1,64}', word.lower()):
        raise argparse.ArgumentTypeError(f'{word!r} is no digest of a plan')
    if len(word) < SHORT:
        raise argparse.ArgumentTypeError(
            f'{word!r} is too short: at least the first {SHORT} digits of the '
            'digest that was shown, since plans whose digests begin alike are '
            'easily made'
        )
    return word.lower()
