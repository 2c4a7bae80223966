/** What every runtime does, real or fake. A run of it is a spec file that hands in how to make one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';
import type { ContainerInfo, ContainerSpec, ExecSession, Runtime, RuntimeEvent } from '#runtime/runtime.js';
import { describeAttach } from './attach-cases.js';
import { until } from './containerd-process.js';
import { describeTransfer } from './transfer-cases.js';

export interface Subject {
  runtime: Runtime;
  spec(changes?: Partial<ContainerSpec>): ContainerSpec;
  /** The same with an input that stays open until it is ended. */
  withInput(spec: ContainerSpec): ContainerSpec;
  /** Leaves a container as a crash does: its record made, nothing further. */
  leaveHalfMade(spec: ContainerSpec): Promise<void>;
  /** Waits until the container has printed a line `ready`. */
  ready(id: string): Promise<void>;
  /** An archive that the runtime takes, of an image with this name. */
  archive(name: string): Promise<AsyncIterable<Uint8Array>>;
  destroy(): Promise<void>;
}

const FOREVER = ['sleep', '100000'];

/** What a stream says until it ends. */
export async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = '';
  for await (const chunk of stream) text += String(chunk);
  return text;
}

export function describeRuntime(name: string, make: () => Promise<Subject>): void {
  // Real containers are real processes, on a machine that may be busy.
  jest.setTimeout(60_000);
  let subject: Subject;
  let runtime: Runtime;
  beforeAll(async () => {
    subject = await make();
    runtime = subject.runtime;
  }, 60_000);
  afterAll(() => subject?.destroy(), 60_000);
  afterEach(async () => {
    for (const { id } of await runtime.list()) await runtime.remove(id);
  });

  const run = async (command: string[], changes: Partial<ContainerSpec> = {}): Promise<string> => {
    const spec = subject.spec({ command, ...changes });
    await runtime.create(spec);
    await runtime.start(spec.id);
    return spec.id;
  };
  const find = async (id: string): Promise<ContainerInfo | undefined> => (await runtime.list()).find((c) => c.id === id);
  const stopped = (id: string) => until(async () => (await find(id))?.state === 'stopped', `${id} stops`);

  describe(`${name}: life of a container`, () => {
    test('created, running, stopped with its exit code, removed', async () => {
      const spec = subject.spec({ command: ['sh', '-c', 'sleep 0.3; exit 3'] });
      await runtime.create(spec);
      expect(await find(spec.id)).toMatchObject({ state: 'created', image: spec.image, pid: expect.any(Number) });
      const startedAt = Date.now();
      const pid = await runtime.start(spec.id);
      expect(await find(spec.id)).toMatchObject({ state: 'running', pid });
      await stopped(spec.id);
      const info = await find(spec.id);
      expect(info).toMatchObject({ state: 'stopped', exitCode: 3 });
      expect(info?.pid).toBeUndefined();
      expect(info?.exitedAt).toBeGreaterThanOrEqual(startedAt - 1000);
      await runtime.remove(spec.id);
      expect(await find(spec.id)).toBeUndefined();
    });

    test('labels come back as they were given, however long', async () => {
      const labels = { 'weft.task': 'web.1', empty: '', text: 'a=b "c"\nd', long: 'x'.repeat(10_000) };
      const spec = subject.spec({ command: FOREVER, labels });
      await runtime.create(spec);
      expect((await find(spec.id))?.labels).toEqual(labels);
    });

    test('an id can be used once at a time, and again after its removal', async () => {
      const id = await run(FOREVER);
      await expect(runtime.create(subject.spec({ id, command: FOREVER }))).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(await find(id)).toMatchObject({ state: 'running' });
      await runtime.remove(id);
      await run(['sh', '-c', 'exit 4'], { id });
      await stopped(id);
      expect(await find(id)).toMatchObject({ exitCode: 4 });
    });

    test('an image that is not there', async () => {
      const spec = subject.spec({ image: 'docker.io/library/absent:1' });
      await expect(runtime.create(spec)).rejects.toMatchObject({ code: 'IMAGE_UNKNOWN' });
      expect(await runtime.list()).toEqual([]);
    });

    test('starting what does not exist', async () => {
      await expect(runtime.start('nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('starting twice is an error', async () => {
      const id = await run(FOREVER);
      await expect(runtime.start(id)).rejects.toMatchObject({ code: 'RUNTIME' });
    });

    test('many at once', async () => {
      const ids = await Promise.all(Array.from({ length: 5 }, () => run(FOREVER)));
      expect((await runtime.list()).map((c) => [c.id, c.state]).sort()).toEqual(ids.map((id) => [id, 'running']).sort());
      await Promise.all(ids.map((id) => runtime.remove(id)));
      expect(await runtime.list()).toEqual([]);
    });
  });

  describe(`${name}: stop`, () => {
    const TRAPS = 'trap "exit 5" TERM; trap "exit 6" QUIT; echo ready; while true; do sleep 0.02; done';
    test('a process that listens ends with its own code', async () => {
      const id = await run(['sh', '-c', TRAPS]);
      await subject.ready(id);
      expect(await runtime.stop(id, { graceMs: 20_000 })).toBe(5);
      expect(await find(id)).toMatchObject({ state: 'stopped', exitCode: 5 });
    });

    test('the container has its own stop signal, the caller may have another', async () => {
      const first = await run(['sh', '-c', TRAPS], { stopSignal: 'SIGQUIT' });
      const second = await run(['sh', '-c', TRAPS], { stopSignal: 'SIGUSR2' });
      await Promise.all([subject.ready(first), subject.ready(second)]);
      expect(await runtime.stop(first, { graceMs: 20_000 })).toBe(6);
      expect(await runtime.stop(second, { signal: 'QUIT', graceMs: 20_000 })).toBe(6);
    });

    test('a process that does not listen is killed after the grace', async () => {
      const id = await run(FOREVER);
      const before = performance.now();
      expect(await runtime.stop(id, { graceMs: 400 })).toBe(137);
      expect(performance.now() - before).toBeGreaterThanOrEqual(399);
    });

    test('what has ended, was never started, or does not exist', async () => {
      const ended = await run(['sh', '-c', 'exit 9']);
      await stopped(ended);
      expect(await runtime.stop(ended, { graceMs: 1000 })).toBe(9);
      const created = subject.spec({ command: FOREVER });
      await runtime.create(created);
      expect(await runtime.stop(created.id, { graceMs: 60_000 })).toBe(137);
      expect(await runtime.stop('nothing', { graceMs: 1000 })).toBeUndefined();
    });

    test('twice at the same time', async () => {
      const id = await run(FOREVER);
      expect(await Promise.all([runtime.stop(id, { graceMs: 100 }), runtime.stop(id, { graceMs: 100 })])).toEqual([137, 137]);
    });

    test('kill sends a signal and does no more', async () => {
      const id = await run(['sh', '-c', TRAPS]);
      await subject.ready(id);
      await expect(runtime.kill(id, 'SIGNOTHING')).rejects.toMatchObject({ code: 'BAD_VALUE' });
      expect(await find(id)).toMatchObject({ state: 'running' });
      await runtime.kill(id, 'QUIT');
      await stopped(id);
      expect(await find(id)).toMatchObject({ exitCode: 6 });
      await expect(runtime.kill(id, 'KILL')).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(runtime.openRoot(id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(runtime.kill('nothing', 'KILL')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('a signal that does not exist', async () => {
      const id = await run(FOREVER);
      await expect(runtime.stop(id, { signal: 'SIGNOTHING', graceMs: 100 })).rejects.toMatchObject({ code: 'BAD_VALUE' });
      expect(await find(id)).toMatchObject({ state: 'running' });
    });
  });

  describe(`${name}: remove`, () => {
    test('in every state, and again', async () => {
      const created = subject.spec({ command: FOREVER });
      await runtime.create(created);
      const running = await run(FOREVER);
      const ended = await run(['true']);
      await stopped(ended);
      for (const id of [created.id, running, ended, 'nothing']) {
        await runtime.remove(id);
        await runtime.remove(id);
      }
      expect(await runtime.list()).toEqual([]);
    });

    test('what a crash left half-made shows as stopped, cannot be started, and goes', async () => {
      const spec = subject.spec({ command: FOREVER });
      await subject.leaveHalfMade(spec);
      const info = await find(spec.id);
      expect(info).toMatchObject({ id: spec.id, state: 'stopped' });
      expect(info?.exitCode).toBeUndefined();
      await expect(runtime.start(spec.id)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await runtime.remove(spec.id);
      await run(FOREVER, { id: spec.id });
      expect(await find(spec.id)).toMatchObject({ state: 'running' });
    });
  });

  describe(`${name}: recreate`, () => {
    test.each<[string, () => Promise<string>]>([
      ['runs', () => run(FOREVER)],
      [
        'has ended',
        async () => {
          const id = await run(['sh', '-c', 'exit 9']);
          await stopped(id);
          return id;
        },
      ],
      [
        'was made',
        async () => {
          const spec = subject.spec({ command: FOREVER });
          await runtime.create(spec);
          return spec.id;
        },
      ],
      [
        'is half made',
        async () => {
          const spec = subject.spec({ command: FOREVER });
          await subject.leaveHalfMade(spec);
          return spec.id;
        },
      ],
      ['was never', () => Promise.resolve('nothing-yet')],
    ])('of a container that %s, as it is said now', async (_, before) => {
      const id = await before();
      const pid = (await find(id))?.pid;
      await runtime.recreate(subject.spec({ id, command: FOREVER, labels: { now: 'other' } }));
      const info = await find(id);
      expect(info).toMatchObject({ state: 'created', labels: { now: 'other' }, pid: expect.any(Number) });
      expect(info?.pid).not.toBe(pid);
      expect(info?.exitCode).toBeUndefined();
      await runtime.start(id);
      expect(await find(id)).toMatchObject({ state: 'running' });
    });

    test('changes nothing where the image is not there', async () => {
      const id = await run(FOREVER);
      const failure = runtime.recreate(subject.spec({ id, image: 'docker.io/library/absent:1' }));
      await expect(failure).rejects.toMatchObject({ code: 'IMAGE_UNKNOWN' });
      expect(await find(id)).toMatchObject({ state: 'running' });
    });
  });

  describe(`${name}: events`, () => {
    test('resync when live, then the ends of main processes', async () => {
      const events: RuntimeEvent[] = [];
      const watch = runtime.events((event) => events.push(event));
      await until(() => events.some((e) => e.type === 'resync'), 'events are live');
      const id = await run(['sh', '-c', 'sleep 0.2; exit 7']);
      const exec = await runtime.exec({ containerId: id, argv: ['true'], tty: false });
      await exec.exited;
      await until(() => events.some((e) => e.type === 'exit'), 'exit event');
      expect(events).toEqual([{ type: 'resync' }, { type: 'exit', containerId: id, exitCode: 7, at: expect.any(Number) }]);
      const [, exit] = events;
      expect(exit?.type === 'exit' && exit.at).toBe((await find(id))?.exitedAt);
      watch.stop();
      const other = await run(['true']);
      await stopped(other);
      await sleep(50);
      expect(events).toHaveLength(2);
    });
  });

  describe(`${name}: exec`, () => {
    const exec = (containerId: string, argv: string[]): Promise<ExecSession> => runtime.exec({ containerId, argv, tty: false });

    test('output and exit code', async () => {
      const id = await run(FOREVER);
      const session = await exec(id, ['sh', '-c', 'echo hello; exit 4']);
      const [stdout, stderr, code] = await Promise.all([textOf(session.stdout), textOf(session.stderr), session.exited]);
      expect([stdout, stderr, code]).toEqual(['hello\n', '', 4]);
      expect(await find(id)).toMatchObject({ state: 'running' });
    });

    test('input, to its end', async () => {
      const session = await exec(await run(FOREVER), ['cat']);
      session.stdin.write('one\n');
      session.stdin.end('two\n');
      expect(await textOf(session.stdout)).toBe('one\ntwo\n');
      expect(await session.exited).toBe(0);
    });

    test('a signal', async () => {
      const session = await exec(await run(FOREVER), FOREVER);
      await session.signal('SIGKILL');
      expect(await session.exited).toBe(137);
    });

    test('where nothing runs', async () => {
      await expect(exec('nothing', ['true'])).rejects.toMatchObject({ code: 'NOT_FOUND' });
      const id = await run(['true']);
      await stopped(id);
      await expect(exec(id, ['true'])).rejects.toMatchObject({ code: 'RUNTIME' });
    });
  });

  describeAttach(name, () => subject);

  describeTransfer(name, () => subject);

  describe(`${name}: images`, () => {
    test('imported, found by any name that means it, removed', async () => {
      const [image] = await runtime.importImage(await subject.archive('contract:1'));
      expect(image).toMatchObject({ name: 'docker.io/library/contract:1', digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) });
      expect(image?.sizeBytes).toBeGreaterThan(0);
      expect(await runtime.listImages()).toContainEqual(image);
      for (const name of ['contract:1', 'docker.io/library/contract:1', `contract@${image?.digest}`, `contract:9@${image?.digest}`]) {
        expect(await runtime.resolveImage(name)).toEqual(image);
      }
      expect(await runtime.resolveImage('contract:2')).toBeUndefined();
      expect(await runtime.resolveImage(`other@${image?.digest}`)).toBeUndefined();
      await runtime.removeImage('contract:1');
      await runtime.removeImage('contract:1');
      expect(await runtime.resolveImage('contract:1')).toBeUndefined();
    });

    test.each(['UPPER', 'a b', 'name\n--flag', '', 'x:', 'x@sha256:12', '../x', 'a'.repeat(300)])(
      'the name %j is refused',
      async (name) => {
        await expect(runtime.resolveImage(name)).rejects.toMatchObject({ code: 'BAD_NAME' });
        await expect(runtime.resolveRemote(name)).rejects.toMatchObject({ code: 'BAD_NAME' });
        await expect(runtime.removeImage(name)).rejects.toMatchObject({ code: 'BAD_NAME' });
      },
    );

    test('what is no image', async () => {
      async function* rubbish(): AsyncGenerator<Uint8Array> {
        await Promise.resolve();
        yield Buffer.from('this is no archive');
      }
      await expect(runtime.importImage(rubbish())).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    });
  });
}
