/** The command helper: the compiled program, spoken to by its client. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { CommandHelper } from '#linux/helper-client.js';
import type { HelperAnswer } from '#linux/helper-protocol.js';
import { run } from '#linux/runner.js';
import { eventually } from '../contract/controller/harness.js';

const MAIN = join(process.cwd(), 'dist/apps/agent/command-helper/main.js');

/** A helper of a namespace's own, which follows its nft tables. */
function watchInside(ns: string) {
  const child = spawn('nsenter', [`--net=/run/netns/${ns}`, '--', process.execPath, MAIN], { stdio: ['pipe', 'pipe', 'inherit'] });
  const gone = once(child, 'close');
  const answers: HelperAnswer[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => answers.push(JSON.parse(line) as HelperAnswer));
  child.stdin.write(`${JSON.stringify({ id: 1, argv: [], options: {}, watch: 'nft' })}\n`);
  return {
    tellsOf: (object: string) => answers.some(({ event }) => event?.kind === 'nft' && event.line.includes(object)),
    /** Process ids of its monitors: it is `nsenter` itself that became node. */
    monitors: async () => {
      const { stdout } = await run(['ps', '-o', 'pid=,args=', '--ppid', String(child.pid)], { accept: [1] });
      return stdout.split('\n').flatMap((line) => (line.includes('nft monitor') ? [parseInt(line, 10)] : []));
    },
    stop: async () => {
      child.stdin.end();
      await gone;
    },
  };
}

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

  it('tells of elements of a table that its nft monitor missed: the monitor is renewed', async () => {
    const ns = `wtnews${process.pid}`;
    const into = (argv: string[], input = '') => run(['nsenter', `--net=/run/netns/${ns}`, '--', ...argv], { input });
    const nft = (script: string) => into(['nft', '-f', '-'], script);
    await run(['ip', 'netns', 'add', ns]);
    const watch = watchInside(ns);
    try {
      await nft('table ip weft {\n set old { type ipv4_addr\n }\n}\n');
      await eventually(async () => {
        await nft('add element ip weft old { 192.0.2.1 }\ndelete element ip weft old { 192.0.2.1 }\n');
        return watch.tellsOf('ip weft old');
      }, 'the monitor listens');
      const [stopped] = await watch.monitors();
      if (stopped === undefined) throw new Error('no nft monitor runs');
      // What happens now overruns the buffer of its socket (16 MiB), and the table behind it is not heard of.
      process.kill(stopped, 'SIGSTOP');
      const many = Array.from({ length: 60_000 }, (_, i) => `10.0.${i >> 8}.${i & 255} comment "${'-'.repeat(120)}"`);
      await nft(`table ip other {\n set s { type ipv4_addr\n }\n}\nadd element ip other s { ${many.join(', ')} }\n`);
      await nft('flush set ip other s');
      await nft('table ip weft_vips {\n set young { type ipv4_addr\n }\n}\n');
      process.kill(stopped, 'SIGCONT');
      await eventually(async () => {
        const pids = await watch.monitors();
        return pids.length === 1 && pids[0] !== stopped;
      }, 'another monitor stands in for it');
      await nft('add element ip weft_vips young { 192.0.2.1 }\n');
      await eventually(() => watch.tellsOf('ip weft_vips young'), 'the element is told of');
    } finally {
      await watch.stop();
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
