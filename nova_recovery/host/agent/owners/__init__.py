# SPDX-License-Identifier: Apache-2.0

"""The verb ``owners``: old numbers of users and groups become new ones.

``show`` counts what would change, ``change`` changes it (again after it was
killed), ``verify`` looks for what is left, ``undo`` puts everything back.
"""

import argparse
import gc
import os
from typing import Any, Callable, Optional

from nova_recovery.host.agent import files, kernel, lines, mounts
from nova_recovery.host.agent.owners import change, doubts, survey, undo, walk
from nova_recovery.host.agent.owners import journal as journal_module
from nova_recovery.host.agent.owners import pairs as pairs_module
from nova_recovery.host.agent.owners import state as state_module
from nova_recovery.host.agent.owners.pairs import Pairs

HELP = 'old numbers of users and groups become new ones, on all files'

Say = Callable[..., Any]

#: Without these, files would be left out or lose their bits.
_NEEDED = {'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'SETFCAP'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = __doc__
    parser.add_argument('action', choices=sorted(_ACTIONS))
    parser.add_argument(
        '--root',
        required=True,
        metavar='DIR',
        type=files.typed,
        help='all below it, and itself; may not lead over a link',
    )
    for kind in ('uid', 'gid'):
        parser.add_argument(
            '--' + kind,
            action='append',
            default=[],
            type=pairs_module.argument,
            metavar='OLD:NEW',
            help='may be given several times; all are changed at once',
        )
    parser.add_argument(
        '--state',
        metavar='DIR',
        type=files.typed,
        help='where the before-images lie; for change and undo, and for'
        ' verify where an old number is a new one, too',
    )
    parser.add_argument(
        '--leave-out',
        action='append',
        default=[],
        metavar='DIR',
        type=files.typed,
        help='all below this is left alone; may be given several times',
    )
    parser.add_argument(
        '--lift-immutable',
        action='store_true',
        help='what chattr +i or +a protects is changed, too; the flag is'
        ' put back',
    )


def run(parsed: argparse.Namespace, say: Say) -> int:
    """Carry out what was typed; the exit code."""
    pairs: Optional[Pairs] = None
    if parsed.uid or parsed.gid or parsed.action != 'undo':
        try:
            pairs = Pairs(parsed.uid, parsed.gid)
        except ValueError as error:
            raise lines.Usage(str(error)) from error
    collecting = gc.isenabled()
    # nothing here refers back, and a walk would be a tenth slower
    gc.disable()
    try:
        return _ACTIONS[parsed.action](parsed, pairs, say)
    finally:
        if collecting:
            gc.enable()


def _tree(parsed: argparse.Namespace, state: Optional[str]) -> walk.Tree:
    tree = walk.Tree(parsed.root, state, parsed.leave_out)
    if parsed.action in ('show', 'change'):
        tree.check_left_out(parsed.leave_out)
    return tree


def _show(parsed: argparse.Namespace, pairs: Pairs, say: Say) -> int:
    return survey.show(_tree(parsed, parsed.state), pairs, say)


def _verify(parsed: argparse.Namespace, pairs: Pairs, say: Say) -> int:
    tree = _tree(parsed, parsed.state)
    journal = in_doubt = None
    if parsed.state is not None:
        journal = journal_module.Journal.read(
            state_module.journal_path(parsed.state)
        )
        if journal is not None and (journal.undone or not journal.head):
            journal = None
        if journal is not None:
            state_module.compare(journal, tree, pairs)
            in_doubt = doubts.Doubts(parsed.state)
            in_doubt.look(tree)
    return survey.verify(tree, pairs, say, journal, in_doubt)


def _change(parsed: argparse.Namespace, pairs: Pairs, say: Say) -> int:
    state = state_module.State(_needed(parsed))
    tree = _writable(_tree(parsed, state.path))
    journal = state.journal(tree, pairs)
    return change.Change(
        tree, pairs, journal, state.path, say, parsed.lift_immutable
    ).run()


def _undo(parsed: argparse.Namespace, pairs: Optional[Pairs], say: Say) -> int:
    path = _needed(parsed)
    if not os.path.lexists(state_module.journal_path(path)):
        # before a directory of that name is made, which may be a slip
        return _never_begun(path, say)
    state = state_module.State(path)
    tree = _writable(_tree(parsed, state.path))
    journal = state.opened()
    if journal.head is None:
        return _never_begun(path, say)
    pairs = state_module.compare(journal, tree, pairs)
    return undo.Undo(tree, pairs, journal, say, parsed.lift_immutable).run()


def _never_begun(path: str, say: Say) -> int:
    """All is as before, as whoever killed a change that early wants it."""
    say(
        'result',
        state='done',
        restored=0,
        problems={},
        text='no change has begun, so nothing was undone: %s has no '
        'before-images. If one has, give --state as for it' % path,
    )
    return 0


def _needed(parsed: argparse.Namespace) -> str:
    if parsed.state is None:
        raise lines.Usage(
            '%s needs --state DIR: there the before-images lie' % parsed.action
        )
    return str(parsed.state)


def _writable(tree: walk.Tree) -> walk.Tree:
    why = mounts.why_not(tree.mount)
    # a shared one may be walked, by itself: it was named
    if why and not tree.mount.shared:
        raise lines.Refused('--root is on {}: {}'.format(tree.mount.type, why))
    missing = sorted(_NEEDED - kernel.capabilities())
    if missing:
        raise lines.Refused(
            'this takes root: CAP_{} is missing'.format(', CAP_'.join(missing))
        )
    return tree


_ACTIONS: Any = {
    'show': _show,
    'change': _change,
    'verify': _verify,
    'undo': _undo,
}
