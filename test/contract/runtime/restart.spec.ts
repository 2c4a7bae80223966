/** containerd killed and back, shims killed, our own connection new: real containerd only. */
import { jest } from '@jest/globals';
import { openContainerd } from '#runtime/containerd.js';
import { silentLog } from '#base/log.js';
import type { ContainerSpec, RuntimeEvent } from '#runtime/runtime.js';
import { mountsBelow, shimsOf, until } from './containerd-process.js';
import { textOf } from './contract.js';
import { RealHarness } from './real-harness.js';

/** Each case starts real processes, on a machine that may be busy. */
jest.setTimeout(60_000);

let h: RealHarness;
beforeAll(async () => {
  h = await RealHarness.start();
}, 60_000);
afterAll(() => h?.destroy(), 60_000);
afterEach(async () => {
  for (const { id } of await h.runtime.list()) await h.runtime.remove(id);
});

const open = () =>
  openContainerd({ socket: h.containerd.socket, namespace: h.namespace, stateDir: `${h.containerd.directory}/weft`, log: silentLog });
const find = async (id: string) => (await h.runtime.list()).find((c) => c.id === id);

test('a new connection finds what an old one made: running, stopped with exit code, labels', async () => {
  const running = await h.run({ command: ['sleep', '100000'], labels: { a: 'b' } });
  const ended = await h.run({ command: ['sh', '-c', 'exit 21'] });
  await until(async () => (await find(ended))?.state === 'stopped', 'it ends');
  const second = await open();
  const list = await second.list();
  expect(list.find((c) => c.id === running)).toMatchObject({ state: 'running', labels: { a: 'b' } });
  expect(list.find((c) => c.id === ended)).toMatchObject({ state: 'stopped', exitCode: 21 });
  expect(await second.stop(running, { graceMs: 10 })).toBe(137);
  await second.close();
});

test('containerd killed and back: containers go on, what ended meanwhile is known, events come again after a resync', async () => {
  const events: RuntimeEvent[] = [];
  const watch = h.runtime.events((event) => events.push(event));
  await until(() => events.some((e) => e.type === 'resync'), 'events are live');
  const running = await h.run({ command: ['sleep', '100000'] });
  const ending = await h.run({ command: ['sh', '-c', 'sleep 1; exit 8'] });
  const pid = (await find(running))?.pid;
  await h.containerd.kill();
  const early = h.runtime.list();
  await new Promise((resolve) => setTimeout(resolve, 1200));
  await h.containerd.start();
  // Asked while nobody answered: waits instead of failing.
  expect((await early).map((c) => c.id).sort()).toEqual([running, ending].sort());
  await until(() => events.filter((e) => e.type === 'resync').length === 2, 'events are live again');
  await until(async () => (await find(ending))?.state === 'stopped', 'the end is known');
  expect(await find(ending)).toMatchObject({ exitCode: 8 });
  expect(await find(running)).toMatchObject({ state: 'running', pid });
  const later = await h.run({ command: ['sh', '-c', 'exit 2'] });
  await until(() => events.some((e) => e.type === 'exit' && e.containerId === later && e.exitCode === 2), 'an event after the restart');
  watch.stop();
});

test('a command added before containerd was killed keeps its streams and its exit code', async () => {
  const id = await h.run({ command: ['sleep', '100000'] });
  const session = await h.runtime.exec({ containerId: id, argv: ['sh', '-c', 'read x; echo "got $x"; exit 12'], tty: false });
  await h.containerd.kill();
  await h.containerd.start();
  session.stdin.write('word\n');
  expect(await textOf(session.stdout)).toBe('got word\n');
  expect(await session.exited).toBe(12);
});

test('a shim killed: its container is gone without an exit code or with 137, and can be removed and made again', async () => {
  const id = await h.run({ command: ['sleep', '100000'] });
  const shims = await shimsOf(h.containerd.socket);
  expect(shims).toHaveLength(1);
  process.kill(shims[0] as number, 'SIGKILL');
  await until(async () => (await find(id))?.state === 'stopped', 'it shows as stopped');
  expect([undefined, 137]).toContain((await find(id))?.exitCode);
  await h.runtime.remove(id);
  await h.run({ id, command: ['sleep', '100000'] });
  expect(await find(id)).toMatchObject({ state: 'running' });
});

test.each<[string, Partial<ContainerSpec>]>([
  ['', {}],
  [' below a cgroup of its own choice', { cgroup: { parent: 'weft-oom' } }],
  [' in a cgroup namespace of its own', { namespaces: { cgroup: 'private' } }],
  [' of a process that its main process outlives', { command: ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=100M count=1; exit 137'] }],
])('an out-of-memory kill in the first moment is told before the end%s', async (_, more) => {
  const events: RuntimeEvent[] = [];
  const watch = h.runtime.events((event) => events.push(event));
  await until(() => events.some((e) => e.type === 'resync'), 'events are live');
  const id = await h.run({
    command: ['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=100M', 'count=1'],
    limits: { memoryBytes: 20 * 1024 * 1024 },
    ...more,
  });
  await until(() => events.some((e) => e.type === 'exit' && e.containerId === id), 'it ends');
  expect(events).toContainEqual(expect.objectContaining({ type: 'exit', containerId: id, exitCode: 137 }));
  const told = events.flatMap((e) => (e.type !== 'resync' && e.containerId === id ? [e.type] : []));
  expect(told.slice(0, told.indexOf('exit'))).toContain('oom');
  watch.stop();
});

test('of an end without one, no out-of-memory kill is told', async () => {
  const events: RuntimeEvent[] = [];
  const watch = h.runtime.events((event) => events.push(event));
  await until(() => events.some((e) => e.type === 'resync'), 'events are live');
  const id = await h.run({ command: ['sh', '-c', 'exit 137'], limits: { memoryBytes: 20 * 1024 * 1024 } });
  await until(() => events.some((e) => e.type === 'exit' && e.containerId === id), 'it ends');
  expect(events.filter((e) => e.type !== 'resync' && e.containerId === id)).toEqual([
    expect.objectContaining({ type: 'exit', exitCode: 137 }),
  ]);
  watch.stop();
});

test('nothing stays mounted and no shim is left when the last container is removed', async () => {
  const id = await h.run({ command: ['sleep', '100000'] });
  await h.runtime.remove(id);
  expect(await mountsBelow(h.containerd.directory)).toEqual([]);
  await until(async () => (await shimsOf(h.containerd.socket)).length === 0, 'shims end');
});

test('no containerd: one clear error, soon', async () => {
  const failure = openContainerd({ socket: '/tmp/no-such.sock', namespace: 'x', stateDir: h.containerd.directory, log: silentLog });
  await expect(failure).rejects.toMatchObject({ code: 'RUNTIME', what: expect.stringContaining('/tmp/no-such.sock') });
}, 10_000);

test.each([
  ['a snapshotter that it does not have', { snapshotter: 'imagined' }, 'RUNTIME'],
  ['a namespace with a newline', { namespace: 'a\nb' }, 'BAD_NAME'],
])('%s', async (_, changes, code) => {
  const failure = openContainerd({
    socket: h.containerd.socket,
    namespace: h.namespace,
    stateDir: `${h.containerd.directory}/other`,
    log: silentLog,
    ...changes,
  });
  await expect(failure).rejects.toMatchObject({ code });
});
