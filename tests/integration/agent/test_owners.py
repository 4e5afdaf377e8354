# SPDX-License-Identifier: Apache-2.0

"""Owners of files: what becomes of each kind, and what of the others."""

from __future__ import annotations

import base64
from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import shutil
import stat
import subprocess
import threading

from tests.integration.agent import base, trees


class Kinds(base.AgentTest):
    """All that a file system can hold, in one pass, and back."""

    def there_and_back(self) -> None:
        self.build()
        self.assertEqual(4, self.agent('verify'))
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual(1, len(self.said('progress')))
        self.assert_changed()
        changed = self.result['changed']
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual(0, self.result['changed'])
        self.assert_changed()
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assertEqual(changed, self.result['restored'])
        self.assert_as_before()

    def test_new_numbers_that_nobody_has(self) -> None:
        self.there_and_back()

    def test_a_chain_changes_each_file_once(self) -> None:
        self.pairs = trees.CHAIN
        self.there_and_back()

    def test_two_numbers_swap(self) -> None:
        self.pairs = trees.SWAP
        self.there_and_back()

    def test_two_numbers_become_one_and_two_again(self) -> None:
        self.pairs = ['--uid', '108:200', '--uid', '112:200']
        self.build()
        self.assertEqual(0, self.agent('change'))
        for path in ('plain', 'chained'):
            self.assertEqual(200, self.ids(path)[0])
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()

    def test_an_acl_names_nobody_twice(self) -> None:
        self.pairs = ['--uid', '108:112']
        self.build()
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(
            # 108 could write, 112 could read
            trees.acl({112: 6, 7: 4}, {120: 4}),
            os.getxattr(self.root / 'acl-only', trees.ACCESS),
        )
        self.assertEqual(0, self.agent('verify'))
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()

    def test_the_root_is_a_file_of_its_own(self) -> None:
        self.build()
        self.assertEqual(108, self.root.stat().st_uid)
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(162, self.root.stat().st_uid)

    def test_show_counts_each_number_where_it_stands(self) -> None:
        self.pairs = trees.CHAIN
        self.build()
        self.assertEqual(0, self.agent('show'))
        counts = {
            (line['kind'], line['old']): line for line in self.said('count')
        }
        uid = counts['uid', 108]
        self.assertEqual(112, uid['new'])
        self.assertEqual((1, 1), (uid['acl'], uid['remembered']), uid)
        self.assertEqual(2, uid['link'])
        self.assertEqual(1, counts['uid', 112]['capabilities'])
        self.assertEqual(1, counts['gid', 121]['default_acl'])
        self.assertEqual([{'path': '.', 'entries': 12}], uid['where'])
        self.assertIn(
            {'path': 'deep', 'entries': 2}, counts['uid', 112]['where']
        )
        self.assert_as_before()
        self.assertFalse(self.state.exists())

    def test_names_are_told_to_the_byte(self) -> None:
        self.pairs = ['--uid', '108:162']
        self.build()
        self.assertEqual(4, self.agent('verify'))
        paths = {
            base64.b64decode(line['path_base64'])
            if 'path_base64' in line
            else line['path'].encode()
            for line in self.said('left')
        }
        self.assertIn(b'new\nline', paths)
        self.assertIn(b'no \xff\xfe utf-8', paths)
        (line,) = [line for line in self.said('left') if 'path_base64' in line]
        self.assertEqual('no \\xff\\xfe utf-8', line['path'])

    def test_a_tree_deeper_than_descriptors_and_paths(self) -> None:
        self.root.mkdir(parents=True)
        here = os.open(self.root, os.O_RDONLY)
        name = 'd' * 20
        for _ in range(700):
            os.mkdir(name, dir_fd=here)
            os.mkdir('side', dir_fd=here)
            os.chown(name, 108, 5, dir_fd=here)
            os.chown('side', 108, 5, dir_fd=here)
            inner = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(here)
        limits = ('prlimit', '--nofile=300:300')
        for action, count in (('change', 1400), ('undo', 1400)):
            code = self.agent(action, within=limits)
            self.assertEqual(0, code, self.lines[-3:])
            key = 'changed' if action == 'change' else 'restored'
            self.assertEqual(count, self.result[key])
        self.assertEqual(4, self.agent('verify', within=limits))
        self.assertEqual(1400, self.result['entries'])
        # by descriptors, too: rmtree of Python 3.11 can't
        subprocess.run(['rm', '-rf', self.root], check=True)


class Remembered(base.AgentTest):
    """What libvirt gives a disk back to at the guest's end."""

    pairs = ['--uid', '108:112', '--gid', '120:124']

    def become(self, value: bytes) -> bytes:
        self.root.mkdir(parents=True, exist_ok=True)
        disk = self.root / 'disk'
        disk.touch()
        os.setxattr(disk, trees.REMEMBERED, value)
        os.setxattr(disk, trees.REFERENCES, b'108')
        self.assertEqual(0, self.agent('change'), self.lines)
        changed = os.getxattr(disk, trees.REMEMBERED)
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assertEqual(value, os.getxattr(disk, trees.REMEMBERED))
        self.assertEqual(b'108', os.getxattr(disk, trees.REFERENCES))
        return changed

    def test_each_way_of_writing_it_is_kept(self) -> None:
        for value, wanted in (
            (b'+108:+120', b'+112:+124'),
            (b'108:120', b'112:124'),
            (b'+5:+120', b'+5:+124'),
            (b'+108:+6', b'+112:+6'),
            (b'+108:+120\0', b'+112:+124\0'),
        ):
            self.assertEqual(wanted, self.become(value))

    def test_names_and_nonsense_stay(self) -> None:
        for value in (b'nova:kvm', b'108', b'', b'+108:+120:+7', b'\xff:1'):
            self.assertEqual(value, self.become(value))


class Immutable(base.AgentTest):
    """What chattr protects."""

    def setUp(self) -> None:
        super().setUp()
        self.root.mkdir(parents=True)
        trees.make(self.root / 'fixed', 108, 120, 0o4755)
        trees.make(self.root / 'log', 108, 120)
        trees.make(self.root / 'directory', 108, 120, 0o755, stat.S_IFDIR)
        trees.make(self.root / 'free', 108, 120)
        self.before = trees.snapshot(self.tree)
        for flag, name in (('i', 'fixed'), ('a', 'log'), ('i', 'directory')):
            self.chattr('+' + flag, name)
            self.addCleanup(self.chattr, '-' + flag, name)

    def chattr(self, change: str, name: str) -> None:
        subprocess.run(['chattr', change, self.root / name], check=True)

    def flags(self) -> dict[str, str]:
        text = subprocess.run(
            ['lsattr', '-d', *sorted(self.root.iterdir())],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return {
            pathlib.Path(line.split()[1]).name: ''.join(
                letter for letter in line.split()[0] if letter in 'ai'
            )
            for line in text.splitlines()
        }

    FLAGS = {'directory': 'i', 'fixed': 'i', 'free': '', 'log': 'a'}

    def test_it_is_told_of_and_left_alone(self) -> None:
        self.assertEqual(4, self.agent('change'))
        self.assertEqual(
            {'immutable': {'fixed', 'directory'}, 'append-only': {'log'}},
            self.problems(),
        )
        self.assertEqual((162, 162), self.ids('free'))
        self.assertEqual((108, 120), self.ids('fixed'))
        self.assertEqual(4, self.agent('verify'))
        self.assertEqual(self.FLAGS, self.flags())
        # and goes on when somebody has taken the flag away
        self.chattr('-i', 'fixed')
        self.assertEqual(4, self.agent('change'))
        self.assertEqual((162, 162), self.ids('fixed'))

    def test_lifted_it_is_changed_and_protected_again(self) -> None:
        self.assertEqual(0, self.agent('change', '--lift-immutable'))
        self.assertEqual(self.FLAGS, self.flags())
        self.assert_changed()
        # what was lifted once may be lifted to be put back
        self.assertEqual(0, self.agent('undo'), self.lines)
        self.assertEqual(self.FLAGS, self.flags())
        self.assert_as_before()

    def test_killed_while_lifted_it_is_protected_again(self) -> None:
        # by each of the kinds of write around it
        kill = """
            import os
            from nova_recovery.host.agent import kernel
            real, count = kernel.{name}, [0]
            def dying(*words):
                count[0] += 1
                if {after} or count[0] != {at}:
                    real(*words)
                if count[0] == {at}:
                    os.kill(os.getpid(), 9)
                return 0
            kernel.{name} = dying
        """
        for name, at, after in (
            ('set_flags', 1, False),
            ('set_flags', 1, True),
            ('set_flags', 2, False),
            ('set_flags', 3, True),
        ):
            hook = kill.format(name=name, at=at, after=after)
            for goes_on in (True, False):
                code = self.agent('change', '--lift-immutable', hook=hook)
                self.assertEqual(-9, code, self.lines)
                if goes_on:
                    code = self.agent('change', '--lift-immutable')
                    self.assertEqual(0, code, self.lines)
                    self.assert_changed()
                    self.assertEqual(self.FLAGS, self.flags())
                self.assertEqual(0, self.agent('undo'), self.lines)
                self.assert_as_before()
                self.assertEqual(self.FLAGS, self.flags())
                shutil.rmtree(self.state)

    def test_in_a_chain_it_is_tried_again(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:119', '--gid', '120:5']
        trees.make(self.root / 'acl', 0, 0)
        os.setxattr(self.root / 'acl', trees.ACCESS, trees.acl({112: 6}))
        self.before = trees.snapshot(self.tree)
        self.chattr('+i', 'acl')
        self.addCleanup(self.chattr, '-i', 'acl')
        self.assertEqual(4, self.agent('change'))
        self.chattr('-i', 'fixed')
        self.chattr('-i', 'directory')
        self.chattr('-i', 'acl')
        self.chattr('-a', 'log')
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual(
            trees.acl({119: 6}), os.getxattr(self.root / 'acl', trees.ACCESS)
        )
        self.assertEqual(0, self.agent('verify'), self.lines)
        for name in self.FLAGS:
            self.assertEqual((112, 5), self.ids(name))
        self.assertEqual(0, self.agent('undo'))
        self.assert_as_before()


#: Runs something between two batches, in the half that writes.
BETWEEN = """
    from nova_recovery.host.agent.owners import change, look
    look.MOST = 1
    real = change.Change._batch
    def batch(self, body, count=[0]):
        count[0] += 1
        real(self, body)
        if count[0] == 1:
            {}
    change.Change._batch = batch
"""


#: Runs something when everything was looked at once.
AFTER_A_PASS = """
    real = os.write
    def write(descriptor, data, count=[0]):
        if data == b'a':
            count[0] += 1
            if count[0] == 1:
                {}
        return real(descriptor, data)
    os.write = write
"""


class Meanwhile(base.AgentTest):
    """Others work on the same files."""

    def test_files_that_are_made_during_the_walk(self) -> None:
        self.build()
        make = f"""
            late = {str(self.root / 'late')!r}
            os.mkdir(late)
            os.mkdir(late + '/r')
            open(late + '/r/file', 'w').close()
            for path in (late, late + '/r', late + '/r/file'):
                os.chown(path, 108, 120)
        """
        hook = AFTER_A_PASS.format(make.replace('\n', '\n    '))
        self.assertEqual(0, self.agent('change', hook=hook), self.lines)
        self.assertEqual(3, self.result['passes'])
        for path in ('late', 'late/r', 'late/r/file'):
            self.assertEqual((162, 162), self.ids(path))
        self.assertEqual(0, self.agent('verify'))

    def test_in_a_chain_the_number_of_a_new_file_says_nothing(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:119']
        self.build()
        make = f"""
            for name, uid in (('a', 108), ('b', 112)):
                path = {str(self.root)!r} + '/late-' + name
                open(path, 'w').close()
                os.chown(path, uid, 5)
        """
        hook = AFTER_A_PASS.format(make.replace('\n', '\n    '))
        self.assertEqual(4, self.agent('change', hook=hook), self.lines)
        self.assertEqual({'in-doubt': {'late-b'}}, self.problems())
        # 108 is nobody's new number
        self.assertEqual((112, 5), self.ids('late-a'))
        self.assertEqual((112, 5), self.ids('late-b'))
        self.assertEqual(4, self.agent('verify'))
        self.assertEqual(['late-b'], [x['path'] for x in self.said('left')])
        # what its new owner makes after the change is right
        os.unlink(self.root / 'late-b')
        self.assertEqual(0, self.agent('change'), self.lines)
        trees.make(self.root / 'later', 112, 5)
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual((112, 5), self.ids('later'))

    def test_in_a_swap_what_a_service_set_meanwhile_is_told(self) -> None:
        """libvirt starts with a reboot, and has its new number by then."""
        self.pairs = ['--uid', '108:112', '--uid', '112:108']
        self.root.mkdir(parents=True)
        for name, uid in (('a', 108), ('b', 112), ('c', 108), ('d', 112)):
            trees.make(self.root / name, uid, 5)
        # the walk is killed before it came to any of them
        hook = """
            from nova_recovery.host.agent.owners import change
            def batch(self, body):
                os.kill(os.getpid(), 9)
            change.Change._batch = batch
        """
        self.assertEqual(-9, self.agent('change', hook=hook))
        os.chown(self.root / 'a', 112, 5)
        with open(self.root / 'b', 'w') as file:
            file.write('by whoever had it open')
        self.assertEqual(4, self.agent('change'), self.lines)
        self.assertEqual({'in-doubt': {'a', 'b'}}, self.problems())
        for name, uid in (('a', 112), ('b', 112), ('c', 112), ('d', 108)):
            self.assertEqual((uid, 5), self.ids(name))
        self.assertEqual(4, self.agent('verify'))
        self.assertEqual({'a', 'b'}, {x['path'] for x in self.said('left')})
        # whoever knows says so; what is only written to stays told
        os.chown(self.root / 'a', 112, 5)
        (self.root / 'b').write_text('again')
        self.assertEqual(4, self.agent('change'))
        self.assertEqual({'in-doubt': {'b'}}, self.problems())
        os.chown(self.root / 'b', 108, 5)
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(0, self.agent('change'), self.lines)
        (self.root / 'b').write_text('its new owner')
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual((108, 5), self.ids('b'))
        self.assertEqual(0, self.agent('undo'), self.lines)
        for name, uid in (('a', 112), ('b', 108), ('c', 108), ('d', 112)):
            self.assertEqual((uid, 5), self.ids(name))
        # another change remembers nothing of it
        os.chown(self.root / 'a', 108, 5)
        os.chown(self.root / 'b', 112, 5)
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual((108, 5), self.ids('b'))

    def test_killed_at_its_end_it_knows_what_was_in_doubt(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:108']
        self.root.mkdir(parents=True)
        for name in 'ab':
            trees.make(self.root / name, 108, 5)
        hook = """
            from nova_recovery.host.agent.owners import change, journal
            def die(*words):
                os.kill(os.getpid(), 9)
            """
        early = hook + 'change.Change._batch = die'
        self.assertEqual(-9, self.agent('change', hook=early))
        os.chown(self.root / 'a', 112, 5)
        late = f"""{hook}
            real = journal.Journal.finish
            def finish(*words):
                real(*words)
                die()
            journal.Journal.finish = finish
        """
        self.assertEqual(-9, self.agent('change', hook=late))
        # nothing says that it has its number by the new meaning
        (self.root / 'a').write_text('again')
        self.assertEqual(4, self.agent('change'), self.lines)
        self.assertEqual({'in-doubt': {'a'}}, self.problems())

    def test_a_server_of_files_has_a_clock_of_its_own(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:108']
        self.root.mkdir(parents=True)
        for name in 'ab':
            trees.make(self.root / name, 108, 5)
        # ours is an hour ahead of it
        hook = """
            from nova_recovery.host.agent import kernel, mounts
            from nova_recovery.host.agent.owners import change
            real = kernel.ticked
            kernel.ticked = lambda: real() + 3600 * 10**9
            mounts.Mount.shared = True
        """
        kill = """
            def batch(self, body):
                os.kill(os.getpid(), 9)
            change.Change._batch = batch
        """
        self.assertEqual(-9, self.agent('change', hook=hook + kill))
        os.chown(self.root / 'a', 112, 5)
        self.assertEqual(4, self.agent('change', hook=hook), self.lines)
        self.assertEqual({'in-doubt': {'a'}}, self.problems())
        self.assertEqual((112, 5), self.ids('b'))
        self.assertEqual(['a', 'b'], sorted(os.listdir(self.root)))

    def test_after_a_swap_a_number_has_its_new_meaning(self) -> None:
        """libvirt's directories had another number, and get its own."""
        self.pairs = ['--uid', '108:112', '--uid', '112:108']
        self.root.mkdir(parents=True)
        trees.make(self.root / 'qemu', 64055, 5, 0o755, stat.S_IFDIR)
        trees.make(self.root / 'disk', 108, 5)
        self.assertEqual(0, self.agent('change'), self.lines)
        os.chown(self.root / 'qemu', 112, 5)
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual((112, 5), self.ids('qemu'))
        # one that was changed and goes back to what it was is told
        os.chown(self.root / 'disk', 108, 5)
        self.assertEqual(4, self.agent('verify'), self.lines)

    def test_renamed_in_the_walk_nothing_changes_twice(self) -> None:
        self.pairs = ['--uid', '108:112', '--uid', '112:119']
        self.root.mkdir(parents=True)
        for name in 'abcdef':
            (self.root / name).mkdir()
            for number in range(20):
                trees.make(self.root / name / str(number), 108, 5)
        # out of what was seen into each of the others
        move = f"""
            root = {str(self.root)!r}
            for name in 'abcdef':
                for other in os.listdir(root + '/' + name):
                    path = root + '/' + name + '/' + other
                    if os.lstat(path).st_uid == 112:
                        for to in 'abcdef':
                            new = root + '/' + to + '/moved-' + other
                            if not os.path.exists(new):
                                os.link(path, new)
        """
        hook = BETWEEN.format(move.replace('\n', '\n        '))
        self.assertEqual(0, self.agent('change', hook=hook), self.lines)
        uids = {path.lstat().st_uid for path in self.root.rglob('*/*')}
        self.assertEqual({112}, uids)

    def test_renamed_before_it_is_changed_it_is_told(self) -> None:
        """What can be changed already is not changed again in the walk."""
        self.pairs = ['--uid', '108:112', '--uid', '112:119']
        self.root.mkdir(parents=True)
        for name, uid in (('a', 108), ('b', 112), ('c', 112), ('d', 112)):
            trees.make(self.root / name, uid, 5)
        hook = f"""
            from nova_recovery.host.agent.owners import change
            batch = change.Change._batch
            def moved(self, body):
                root = {str(self.root)!r}
                for name in 'abc':
                    os.rename(root + '/' + name, root + '/moved-' + name)
                change.Change._batch = batch
                return batch(self, body)
            change.Change._batch = moved
        """
        self.assertEqual(4, self.agent('change', hook=hook), self.lines)
        self.assertEqual({'changed-meanwhile': {'b', 'c'}}, self.problems())
        self.assertEqual((112, 5), self.ids('moved-a'))
        os.unlink(self.root / 'moved-c')
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual((112, 5), self.ids('moved-a'))
        self.assertEqual((119, 5), self.ids('moved-b'))
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual(4, self.agent('undo'), self.lines)
        self.assertEqual({'gone': {'c'}}, self.problems())
        self.assertEqual((108, 5), self.ids('moved-a'))
        self.assertEqual((112, 5), self.ids('moved-b'))

    @contextlib.contextmanager
    def renaming(self, swap: list[tuple[str, str]]) -> Iterator[list[int]]:
        """Files swap their names as fast as somebody can."""
        stop, counts = threading.Event(), [0]

        def work() -> None:
            while not stop.is_set():
                for one, other in swap:
                    os.rename(one, one + '.swap')
                    os.rename(other, one)
                    os.rename(one + '.swap', other)
                    counts[0] += 1

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield counts
        finally:
            stop.set()
            thread.join()

    def test_who_renames_gets_no_other_file(self) -> None:
        self.root.mkdir(parents=True)
        outside = self.tree / 'outside'
        outside.mkdir()
        trees.make(outside / 'secret', 0, 0, 0o600)
        swap = []
        for number in range(30):
            directory = self.root / str(number)
            directory.mkdir()
            for name in range(60):
                trees.make(directory / str(name), 108, 120)
            os.chown(directory, 108, 120)
            # the file and the directory, each beside a link elsewhere
            trap = self.root / f'trap-{number}'
            trap.mkdir()
            os.symlink(outside / 'secret', trap / 'file')
            os.symlink(outside, trap / 'directory')
            if number % 2:
                swap.append((str(directory / '7'), str(trap / 'file')))
            else:
                swap.append((str(directory), str(trap / 'directory')))
        with self.renaming(swap) as counts:
            code = self.agent('change')
        self.assertIn(code, (0, 4))
        self.assertGreater(counts[0], 0)
        self.assertEqual((0, 0), self.ids('../outside/secret'))
        self.assertEqual((0, 0), self.ids('../outside'))
        # and when it is quiet again nothing is left
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual((0, 0), self.ids('../outside/secret'))

    def test_what_was_changed_between_a_look_and_a_change_stays(self) -> None:
        self.build()
        hook = f"""
            from nova_recovery.host.agent.owners import change
            real = change.Change._batch
            def batch(self, body):
                os.chmod({str(self.root / 'plain')!r}, 0o600)
                os.chown({str(self.root / 'disk')!r}, 7, 7)
                os.setxattr(
                    {str(self.root / 'acl-too')!r},
                    {trees.ACCESS!r},
                    {trees.acl({9: 7})!r},
                )
                real(self, body)
            change.Change._batch = batch
        """
        self.assertEqual(4, self.agent('change', hook=hook))
        self.assertEqual(
            {'changed-meanwhile': {'plain', 'disk', 'acl-too'}},
            self.problems(),
        )
        self.assertEqual((108, 120), self.ids('plain'))
        self.assertEqual((7, 7), self.ids('disk'))
        # its next step
        self.assertEqual(0, self.agent('change'), self.lines)
        self.assertEqual(0, self.agent('verify'), self.lines)
        self.assertEqual((162, 162), self.ids('plain'))


class Refusals(base.AgentTest):
    """What is typed wrong, or would do harm, changes nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.build()

    def refused(self, code: int, words: list[str], *parts: str) -> None:
        got = self.typed(words)
        said = json.dumps(self.lines)
        self.assertEqual(code, got, said)
        for part in parts:
            self.assertIn(part, said)
        self.assert_as_before()

    def test_pairs_that_make_no_sense(self) -> None:
        start = ['owners', 'change', '--root', str(self.root)]
        start += ['--state', str(self.state)]
        for pairs, part in (
            (['--uid', '108:112', '--uid', '108:119'], 'stands twice'),
            (['--uid', '108:108'], 'changes nothing'),
            (['--uid', '108:0'], "0 is root's"),
            (['--gid', '0:108'], "0 is root's"),
            (['--uid', '108:4294967295'], 'is no uid'),
            ([], 'nothing to change'),
        ):
            self.refused(2, start + pairs, part)
        for text in ('nova:112', '108', '108:', '-1:5', '108:112:119', '１:2'):
            self.refused(2, [*start, '--uid=' + text])
        self.assertFalse(self.state.exists())

    def test_no_state(self) -> None:
        for action in ('change', 'undo'):
            words = ['owners', action, '--root', str(self.root), *self.pairs]
            self.refused(2, words, 'needs --state')

    def test_a_root_that_is_a_link_is_named(self) -> None:
        link = self.top / 'link'
        link.symlink_to(self.root)
        words = self.words('change')
        words[3] = str(link)
        self.refused(2, words, 'leads over a link', str(self.root))

    def test_what_is_left_out_is_what_was_meant(self) -> None:
        (self.root / 'way').symlink_to('deep')
        (self.top / 'way').symlink_to(self.root)
        self.before = trees.snapshot(self.tree)
        for path, part in (
            (self.root / 'dep', 'No such file'),
            (self.root / 'way', 'over a link'),
            (self.root / 'way' / 'er', 'over a link'),
            (self.top / 'way' / 'deep', 'not below --root'),
            (self.root, 'not below --root'),
            (self.tree, 'not below --root'),
            ('deep', 'not below --root'),
        ):
            for action in ('show', 'change'):
                words = self.words(action, '--leave-out', str(path))
                self.refused(2, words, part, str(path))
        words = self.words('change', '--leave-out', str(self.root / 'deep'))
        self.assertEqual(0, self.typed(words))
        self.assertEqual((112, 124), self.ids('deep/er'))
        self.assertEqual((162, 162), self.ids('plain'))

    def test_an_empty_path_is_not_where_we_are(self) -> None:
        """As ``--root "$DIRECTORY"`` is where that isn't set."""
        for option in ('--root', '--state', '--leave-out'):
            words = self.words('change', option + '=')
            self.refused(2, words)
        self.assertFalse(self.state.exists())

    def test_a_root_that_is_not_there_or_no_directory(self) -> None:
        words = self.words('change')
        for path in (self.root / 'missing', self.root / 'plain'):
            words[3] = str(path)
            self.refused(1, words, str(path))

    def test_a_root_that_the_kernel_makes_up(self) -> None:
        words = self.words('change')
        words[3] = '/proc/self'
        self.refused(3, words, 'proc')

    def test_a_state_that_others_may_write(self) -> None:
        self.state.mkdir()
        self.state.chmod(0o777)
        self.refused(1, self.words('change'), 'others may write there')

    def test_a_state_that_is_a_link(self) -> None:
        (self.top / 'elsewhere').mkdir()
        self.state.symlink_to(self.top / 'elsewhere')
        self.refused(2, self.words('change'), 'is a link')

    def test_a_state_of_another_change(self) -> None:
        self.assertEqual(0, self.agent('change'))
        self.before = trees.snapshot(self.tree)
        other = self.words('change')
        other[3] = str(self.root / 'deep')
        self.refused(3, other, 'another change')
        self.refused(3, [*self.words('change'), '--uid', '7:8'], '108:162')
        self.refused(3, [*self.words('undo'), '--uid', '7:8'], '108:162')
        self.refused(3, [*self.words('verify'), '--uid', '7:8'], '108:162')

    def test_two_at_once(self) -> None:
        hook = """
            import subprocess, sys, time
            from nova_recovery.host.agent.owners import change
            real = change.Change.run
            def run(self):
                done = subprocess.run(
                    [sys.executable, '-m', 'nova_recovery.host.agent']
                    + sys.argv[1:], stdout=subprocess.PIPE)
                assert done.returncode == 3, done
                assert b'wait for its end' in done.stdout
                return real(self)
            change.Change.run = run
        """
        self.assertEqual(0, self.agent('change', hook=hook), self.lines)
        self.assert_changed()

    def test_the_state_may_lie_below_the_root(self) -> None:
        self.state = self.root / 'recovery' / 'state'
        self.assertEqual(0, self.agent('change'))
        self.assertEqual(0, self.agent('undo'))
        shutil.rmtree(self.state.parent)
        now = trees.snapshot(self.tree)
        for path, was in self.before.items():
            # the time of the root
            self.assertEqual(was[:4] + was[5:], now[path][:4] + now[path][5:])


class Interrupted(base.AgentTest):
    """Who presses Ctrl-C is told how to go on."""

    def test_ctrl_c(self) -> None:
        self.build()
        hook = """
            import signal
            from nova_recovery.host.agent.owners import change
            real = change.Change._batch
            def batch(self, body):
                real(self, body)
                os.kill(os.getpid(), signal.SIGINT)
            change.Change._batch = batch
        """
        self.assertEqual(130, self.agent('change', hook=hook))
        self.assertEqual('interrupted', self.lines[-1]['event'])
        self.assertEqual(0, self.agent('change'))
        self.assert_changed()
