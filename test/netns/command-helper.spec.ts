/** The command helper: the compiled program, spoken to by its client. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommandHelper } from '#linux/helper-client.js';
import { run } from '#linux/runner.js';

const MAIN = join(process.cwd(), 'dist/apps/agent/command-helper/main.js');

describe('the command helper', () => {
  const helper = new CommandHelper([MAIN]);
  /** The helper is the parent of what it runs. */
  const helperPid = async () => Number((await helper.run(['cut', '-d', ' ', '-f', '4', '/proc/self/stat'])).stdout);

  afterAll(() => helper.stop());

  it('runs commands as the runner itself does', async () => {
    const cases = [
      { argv: ['cat'], options: { input: 'a\nß\u2028"\\' } },
      { argv: ['false'], options: { accept: [1] } },
    ];
    for (const { argv, options } of cases) expect(await helper.run(argv, options)).toEqual(await run(argv, options));
  });

  it.each([
    ['an exit code', ['ls', '/nowhere/at/all'], {}],
    ['a command that is not there', ['no-such-command-here'], {}],
    ['a command that takes too long', ['sleep', '30'], { timeoutMs: 50 }],
  ])('says what the runner says of %s', async (_, argv, options) => {
    const said = await run(argv, options).then(
      () => undefined,
      ({ code, what, why, hint }: Record<string, unknown>) => ({ code, what, why, hint }),
    );
    expect(said).toBeDefined();
    await expect(helper.run(argv, options)).rejects.toMatchObject(said ?? {});
  });

  it('carries much at a time, and mixes nothing up', async () => {
    const texts = Array.from({ length: 20 }, (_, i) => String(i).repeat(200_000));
    const results = await Promise.all(texts.map((input) => helper.run(['cat'], { input })));
    expect(results.every(({ stdout }, i) => stdout === texts[i])).toBe(true);
  });

  it('is started again after its death; what was under way fails', async () => {
    const pid = await helperPid();
    const underWay = expect(helper.run(['sleep', '5'])).rejects.toMatchObject({ code: 'COMMAND_FAILED' });
    process.kill(pid, 'SIGKILL');
    await underWay;
    expect(await helperPid()).not.toBe(pid);
  });

  it('ends with its owner', async () => {
    const pid = await helperPid();
    helper.stop();
    for (let i = 0; i < 100 && existsSync(`/proc/${pid}`); i++) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(existsSync(`/proc/${pid}`)).toBe(false);
  });
});
