# SPDX-License-Identifier: Apache-2.0

"""Give users and groups other numbers, by usermod and groupmod.

What these programs do beside (shadow 4.13, seen):

* ``usermod -u`` gives away all files below the home directory, also on other
  file systems, and clears their setuid bits. With a home that isn't there it
  leaves them alone, so the home is set aside and put back; killed in between,
  the account is *half*.
* It gives away ``/var/mail/NAME`` in any case.
* ``groupmod -g`` moves the primary group of *all* users with the old number,
  and doesn't care who runs with it.
* Neither minds that another name has the same old number.
"""

import os
import stat
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple

from nova_recovery.host.agent import files, nss, programs
from nova_recovery.host.agent.accounts import look
from nova_recovery.host.agent.lines import AgentError, Refused

#: Seconds to wait for somebody else's lock on the files of accounts.
LOCK_PATIENCE = 5
#: Seconds that one call may take; it has little to do.
_PATIENCE = 120
_ASIDE = '/nonexistent'
#: Kinds of use that a number may have and yet be given: none of these is
#: somebody who has it now.
_HARMLESS = frozenset({'dynamic-range', 'sysusers.d', 'tmpfiles.d'})

#: What its holder takes along when it leaves the number.
_LEAVES = frozenset({'passwd', 'group', 'primary', 'process'})

#: kind (user or group) and name -> number
Numbers = Dict[Tuple[str, str], int]


def change(
    state: str, users: Dict[str, int], groups: Dict[str, int]
) -> Dict[str, Any]:
    """Give the names these numbers; once more after a kill, go on.

    :param state: the directory for the accounts as they were
    :returns: :func:`stands` afterwards, and the ``steps`` that were done
    :raises Refused: nothing was changed
    :raises AgentError: some of it may have been changed
    """
    goal = _keyed(users, groups)
    if not goal:
        raise Refused('no --uid and no --gid: nothing to do')
    with files.locked(_lock(state)):
        saved = files.load(_file(state))
        if saved is None or saved['undone'] or _stands(saved) == 'before':
            _may_begin(goal)
            saved = _before(goal)
            files.save(_file(state), saved)
        elif _goal(saved) != goal:
            raise Refused(
                '{} is of a change to other numbers: undo that, or give '
                'another --state'.format(_file(state))
            )
        return _bring(state, saved, goal)


def undo(state: str) -> Dict[str, Any]:
    """Give the names the numbers that they had.

    :returns: as :func:`change`
    :raises Refused: nothing was changed
    :raises AgentError: some of it may have been changed
    """
    with files.locked(_lock(state)):
        saved = files.load(_file(state))
        if saved is None:
            return {'stands': 'before', 'steps': [], 'detail': 'never begun'}
        done = _bring(state, saved, _numbers_before(saved))
        _mail_back(saved)
        saved['undone'] = True
        files.save(_file(state), saved)
        return done


def stands(state: str) -> Dict[str, Any]:
    """How the accounts stand beside what was saved of them.

    :returns: ``stands``: ``before``, ``after``, ``half`` (on the way),
        ``neither`` (somebody else changed them), ``unknown`` (nothing was
        saved); ``accounts``: each with what it ``was``, ``is`` and ``shall``
        be
    """
    saved = files.load(_file(state))
    if saved is None:
        return {'stands': 'unknown', 'accounts': [], 'mail': []}
    return {
        'stands': _stands(saved),
        'accounts': _rows(saved),
        'mail': saved['mail'],
    }


def _stands(saved: Dict[str, Any]) -> str:
    states = {_one(saved, row) for row in _rows(saved)} - {'same'}
    if 'neither' in states:
        return 'neither'
    if len(states) > 1:
        return 'half'
    return states.pop() if states else 'after'


def _one(saved: Dict[str, Any], row: Dict[str, Any]) -> str:
    home = row['home']
    parked = saved['parked'].get('{kind} {name}'.format(**row))
    if row['is'] not in (row['was'], row['shall'], parked):
        return 'neither'
    if home is not None and home == saved['aside']:
        return 'half'
    if home is not None and home != saved['homes'][row['name']]:
        return 'neither'
    if row['was'] == row['shall']:
        return 'same'
    return {row['was']: 'before', row['shall']: 'after'}.get(row['is'], 'half')


def _rows(saved: Dict[str, Any]) -> List[Dict[str, Any]]:
    was, shall = _numbers_before(saved), _goal(saved)
    is_now, homes = _now()
    return [
        {
            'kind': key[0],
            'name': key[1],
            'was': was[key],
            'is': is_now.get(key),
            'shall': shall[key],
            'home': homes.get(key[1]) if key[0] == 'user' else None,
        }
        for key in sorted(shall)
    ]


def _bring(state: str, saved: Dict[str, Any], goal: Numbers) -> Dict[str, Any]:
    """Do the steps that lead from here to the goal, one after the other."""
    here = stands(state)
    if here['stands'] == 'neither':
        raise Refused(
            'somebody else changed the accounts since: {}'.format(
                _told(here['accounts'])
            )
        )
    done = []  # type: List[str]
    try:
        for words in _steps(saved, goal):
            _guard(words, saved, goal)
            _run(words)
            done.append(' '.join(words))
        _resolved(goal)
    except Refused as error:
        if not done and here['stands'] != 'half':
            raise
        raise AgentError(
            '{}; done so far: {}'.format(error, '; '.join(done) or 'nothing')
        ) from None
    return dict(stands(state), steps=done)


def _steps(saved: Dict[str, Any], goal: Numbers) -> Iterator[List[str]]:
    """The commands to give, found anew after each: a kill needs no more."""
    while True:
        is_now, homes = _now()
        for name, home in sorted(saved['homes'].items()):
            number = is_now['user', name]
            if homes[name] == saved['aside'] and number == goal.get(
                ('user', name), number
            ):
                yield ['usermod', '-d', home, name]
                break
        else:
            left = {
                key: number
                for key, number in goal.items()
                if is_now[key] != number
            }
            if not left:
                return
            yield _next(saved, is_now, left)


def _next(saved: Dict[str, Any], is_now: Numbers, left: Numbers) -> List[str]:
    """One whose number is free now; where all wait in a ring, make room."""
    for key, number in sorted(left.items()):
        if not any(
            other[0] == key[0] and taken == number
            for other, taken in is_now.items()
        ):
            return _command(saved, key, number)
    key = min(left)
    parked = _keyed_texts(saved['parked'])
    return _command(saved, key, parked[key])


def _command(
    saved: Dict[str, Any], key: Tuple[str, str], number: int
) -> List[str]:
    kind, name = key
    if kind == 'group':
        return ['groupmod', '-g', str(number), name]
    return ['usermod', '-d', saved['aside'], '-u', str(number), name]


def _may_begin(goal: Numbers) -> None:
    """Refuse what would go wrong, or would not be exact, half-way."""
    if os.geteuid():
        raise Refused('only root can change accounts: become is missing')
    for program in ('usermod', 'groupmod'):
        if not programs.find(program):
            raise Refused('{} is not installed'.format(program))
    is_now, _homes = _now()
    for key in sorted(goal):
        if key not in is_now:
            raise Refused(
                '{} {} is not in /etc/{}: this host can not change it'.format(
                    key[0], key[1], 'passwd' if key[0] == 'user' else 'group'
                )
            )
    _alone(goal, is_now)
    _free(goal, is_now)


def _alone(goal: Numbers, is_now: Numbers) -> None:
    for key in sorted(goal):
        others = [
            other[1]
            for other, number in sorted(is_now.items())
            if other[0] == key[0] and other != key and number == is_now[key]
        ]
        if others:
            raise Refused(
                '{} {} shares {} with {}: their files can not be told '
                'apart'.format(key[0], key[1], is_now[key], ', '.join(others))
            )
    for kind in ('user', 'group'):
        numbers = [n for key, n in goal.items() if key[0] == kind]
        if len(set(numbers)) < len(numbers):
            raise Refused('two {}s would get one number'.format(kind))


def _free(goal: Numbers, is_now: Numbers) -> None:
    """Each number is free, or its holder leaves it in the same change."""
    wanted = {'user': set(), 'group': set()}  # type: Dict[str, Any]
    for key, number in goal.items():
        if is_now[key] != number:
            wanted[key[0]].add(number)
    uses, unknown = look.used(wanted['user'], wanted['group'])
    if unknown:
        raise Refused('; '.join(unknown))
    for kind, which in (('user', 'uid'), ('group', 'gid')):
        leaving = {
            is_now[key]
            for key, number in goal.items()
            if key[0] == kind and is_now[key] != number
        }
        for number, found in sorted(uses[which].items()):
            others = [
                '{kind} {who}'.format(**use)
                for use in found
                if use['kind'] not in _HARMLESS
                and not (number in leaving and use['kind'] in _LEAVES)
            ]
            if others:
                raise Refused(
                    '{} {} is taken: {}'.format(which, number, others[0])
                )


def _guard(words: List[str], saved: Dict[str, Any], goal: Numbers) -> None:
    """Nobody runs with the number that is about to change its meaning."""
    if words[1] == '-d' and '-u' not in words:
        return
    kind = 'user' if words[0] == 'usermod' else 'group'
    is_now, _homes = _now()
    number = is_now[kind, words[-1]]
    running = look.processes(
        **{'uids' if kind == 'user' else 'gids': [number]}
    )
    if running:
        raise Refused(
            '{} {} is in use by {} (pid {}){}: stop it first'.format(
                'uid' if kind == 'user' else 'gid',
                number,
                running[0][1],
                running[0][0],
                ' and {} more'.format(len(running) - 1)
                if len(running) > 1
                else '',
            )
        )


def _run(words: List[str]) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE
    while True:
        code, _said, complained = programs.run(words, _PATIENCE)
        if not code:
            return
        # E_PW_UPDATE, E_GRP_UPDATE: also when somebody holds the lock
        locked = code in (1, 10) and 'lock' in complained
        if not locked or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    raise Refused(
        '{} ended with {}: {}'.format(' '.join(words), code, complained)
    )


def _resolved(goal: Numbers) -> None:
    """The machine must resolve the names as the files now say."""
    for kind, database in (('user', 'passwd'), ('group', 'group')):
        names = sorted(key[1] for key in goal if key[0] == kind)
        found, unknown = nss.lookup(database, names)
        for name in names:
            for service, _name, number in found[name]:
                if number != goal[kind, name]:
                    raise AgentError(
                        '{} {} is {} in /etc/{}, and {} for {}, which may '
                        'win'.format(
                            kind,
                            name,
                            goal[kind, name],
                            database,
                            number,
                            service,
                        )
                    )


def _before(goal: Numbers) -> Dict[str, Any]:
    is_now, homes = _now()
    aside = _ASIDE
    while os.path.lexists(aside):
        aside += '/nova-recovery'
    names = sorted(key[1] for key in goal if key[0] == 'user')
    return {
        'goal': {'{} {}'.format(*key): n for key, n in goal.items()},
        'before': {'{} {}'.format(*key): is_now[key] for key in goal},
        'homes': {name: homes[name] for name in names},
        'aside': aside,
        'parked': _parked(goal),
        'mail': [found for found in map(_mail, names) if found],
        'undone': False,
    }


def _parked(goal: Numbers) -> Dict[str, int]:
    """A free number for each, in case they wait for one another in a ring.

    Only for as long as the ring is turned: no file ever has it.
    """
    found = {}  # type: Dict[str, int]
    candidates = iter(range(59999, 1000, -1))
    for kind, which in (('user', 'uid'), ('group', 'gid')):
        for key in sorted(key for key in goal if key[0] == kind):
            for number in candidates:
                uses, _unknown = look.used(
                    [number] if which == 'uid' else [],
                    [number] if which == 'gid' else [],
                )
                if not uses[which][number] and number not in goal.values():
                    found['{} {}'.format(*key)] = number
                    break
    return found


def _mail(name: str) -> Optional[Dict[str, Any]]:
    """The mail spool, which usermod gives away by itself."""
    folder = '/var/mail'
    for line in files.read('/etc/login.defs'):
        words = line.split()
        if len(words) == 2 and words[0] == 'MAIL_DIR':
            folder = words[1]
    path = os.path.join(folder, name)
    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return {'path': path, 'uid': found.st_uid, 'inode': found.st_ino}


def _mail_back(saved: Dict[str, Any]) -> None:
    """A killed usermod may have left it with the other number."""
    ours = {n for key, n in _goal(saved).items() if key[0] == 'user'}
    ours |= {int(n) for n in saved['parked'].values()}
    for mail in saved['mail']:
        try:
            descriptor = os.open(mail['path'], os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            found = os.fstat(descriptor)
            if found.st_ino == mail['inode'] and found.st_uid in ours:
                os.fchown(descriptor, mail['uid'], -1)
        finally:
            os.close(descriptor)


def _now() -> Tuple[Numbers, Dict[str, str]]:
    """The numbers of all names in the files, and the homes of users."""
    numbers = {}  # type: Numbers
    homes = {}
    for user in look.users():
        numbers['user', user.name] = user.uid
        homes[user.name] = user.home
    for group in look.groups():
        numbers['group', group.name] = group.gid
    return numbers, homes


def _keyed(users: Dict[str, int], groups: Dict[str, int]) -> Numbers:
    found = {('user', name): number for name, number in users.items()}
    found.update({('group', n): number for n, number in groups.items()})
    return found


def _keyed_texts(saved: Dict[str, int]) -> Numbers:
    found = {}
    for text, number in saved.items():
        kind, _space, name = text.partition(' ')
        found[kind, name] = number
    return found


def _goal(saved: Dict[str, Any]) -> Numbers:
    return _keyed_texts(saved['goal'])


def _numbers_before(saved: Dict[str, Any]) -> Numbers:
    return _keyed_texts(saved['before'])


def _told(rows: List[Dict[str, Any]]) -> str:
    return ', '.join(
        '{kind} {name} was {was}, is {is}, shall be {shall}{at}'.format(
            at=', home {home}'.format(**row) if row['home'] else '', **row
        )
        for row in rows
    )


def _file(state: str) -> str:
    return os.path.join(state, 'accounts.json')


def _lock(state: str) -> str:
    return os.path.join(state, 'accounts.lock')
