/** The main process of a container from outside: cases of the runtime contract. */
import type { ContainerInfo, Runtime } from '#runtime/runtime.js';
import { until } from './containerd-process.js';
import type { Subject } from './contract.js';

export function describeAttach(name: string, subjectOf: () => Subject): void {
  const runtime = (): Runtime => subjectOf().runtime;
  const find = async (id: string): Promise<ContainerInfo | undefined> => (await runtime().list()).find((c) => c.id === id);
  const stopped = (id: string) => until(async () => (await find(id))?.state === 'stopped', `${id} stops`);
  const start = async (command: string[], withInput: boolean): Promise<string> => {
    const spec = subjectOf().spec({ command });
    const made = withInput ? subjectOf().withInput(spec) : spec;
    await runtime().create(made);
    await runtime().start(made.id);
    return made.id;
  };

  describe(`${name}: attach`, () => {
    test('input, to its end', async () => {
      const id = await start(['cat'], true);
      const { stdin, resize } = await runtime().attach(id);
      stdin?.write('hello\n');
      await resize(100, 40);
      expect((await find(id))?.state).toBe('running');
      stdin?.end();
      await stopped(id);
      expect(await find(id)).toMatchObject({ exitCode: 0 });
    });

    test('who lets go does not end the input: another may go on', async () => {
      const id = await start(['cat'], true);
      const first = await runtime().attach(id);
      first.stdin?.write('a\n');
      first.close();
      const second = await runtime().attach(id);
      expect((await find(id))?.state).toBe('running');
      second.stdin?.end();
      await stopped(id);
    });

    test('without an input there is none; without a container nothing', async () => {
      const id = await start(['sleep', '100000'], false);
      expect((await runtime().attach(id)).stdin).toBeUndefined();
      await expect(runtime().attach('nothing')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    });

    test('settled, its end is listed without a code; again and for nothing it is no error, for what runs it is', async () => {
      const id = await start(['false'], false);
      await stopped(id);
      await runtime().settle(id);
      const info = await find(id);
      expect(info).toMatchObject({ state: 'stopped' });
      expect(info).not.toHaveProperty('exitCode');
      await runtime().settle(id);
      await runtime().settle('nothing');
      const running = await start(['sleep', '100000'], false);
      await expect(runtime().settle(running)).rejects.toMatchObject({ code: 'RUNTIME' });
      expect((await find(running))?.state).toBe('running');
    });
  });
}
