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

  it('keeps an nft: a transaction a line, what failed changes nothing, and it ends when it is told', async () => {
    const ns = `wthelper${process.pid}`;
    const nft = ['nsenter', `--net=/run/netns/${ns}`, '--', 'nft', '-i'];
    const elements = async () => (await run(['nsenter', `--net=/run/netns/${ns}`, '--', 'nft', 'list', 'set', 'ip', 't', 's'])).stdout;
    const inside = async () => (await run(['ip', 'netns', 'pids', ns])).stdout.trim();
    await run(['ip', 'netns', 'add', ns]);
    try {
      const make = 'add table ip t; add set ip t s { type ipv4_addr; }; add element ip t s { 192.0.2.1 }';
      expect(await helper.sessions.tell(nft, make)).toBe(true);
      const pid = await inside();
      const both = 'add element ip t s { 192.0.2.2 }; delete element ip t s { 192.0.2.9 }';
      await expect(helper.sessions.tell(nft, both)).rejects.toMatchObject({ why: expect.stringContaining('No such file') });
      await expect(helper.sessions.tell(nft, 'no such thing')).rejects.toMatchObject({ why: expect.stringContaining('syntax error') });
      await Promise.all([3, 4, 5].map((n) => helper.sessions.tell(nft, `add element ip t s { 192.0.2.${n} }`)));
      expect((await elements()).match(/192\.0\.2\.\d/g)?.sort()).toEqual(['192.0.2.1', '192.0.2.3', '192.0.2.4', '192.0.2.5']);
      expect(await inside()).toBe(pid);
      await helper.sessions.end(nft);
      expect(await inside()).toBe('');
    } finally {
      await helper.sessions.end(nft);
      await run(['ip', 'netns', 'del', ns]);
    }
  });

  it('says of which flows the kernel knows none', async () => {
    const ns = `wtflows${process.pid}`;
    const nft = ['nsenter', `--net=/run/netns/${ns}`, '--', 'nft', '-i'];
    const into = (argv: string[]) => run(['nsenter', `--net=/run/netns/${ns}`, '--', ...argv]);
    await run(['ip', 'netns', 'add', ns]);
    try {
      await into(['ip', 'link', 'set', 'lo', 'up']);
      await helper.sessions.tell(
        nft,
        'add table ip t; add chain ip t c { type filter hook output priority 0; }; add rule ip t c ct state new accept',
      );
      const words = [
        { word: 'dst=127.0.0.9', udp: true } as const,
        { word: 'dst=127.0.0.8' },
        { word: 'dst=127.0.0.90', udp: true } as const,
      ];
      expect(await helper.sessions.flowsOf(nft, words)).toEqual([]);
      const send = `require('node:dgram').createSocket('udp4').send('x', 9, '127.0.0.9', () => process.exit())`;
      await into([process.execPath, '-e', send]);
      expect(await helper.sessions.flowsOf(nft, words)).toEqual([words[0]]);
    } finally {
      await helper.sessions.end(nft);
      await run(['ip', 'netns', 'del', ns]);
    }
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
