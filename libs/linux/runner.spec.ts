import { run } from './runner.js';

describe('a command', () => {
  it('that takes too long is waited for no longer, even if a child of it lives on with its pipes', async () => {
    const began = performance.now();
    const { why = '' } = (await run(['sh', '-c', 'sleep 60 & echo "child $!" >&2; wait'], { timeoutMs: 1_000 }).catch(
      (error: unknown) => error,
    )) as { why?: string };
    const [, child] = /child (\d+)/.exec(why) ?? [];
    try {
      expect(why).toMatch(/^took too long and was stopped: child \d+$/);
      expect(performance.now() - began).toBeLessThan(30_000);
      expect(process.kill(Number(child), 0)).toBe(true);
    } finally {
      process.kill(Number(child));
    }
  });

  it('tells how it ended and what it said', async () => {
    expect(await run(['sh', '-c', 'cat; exit 3'], { input: 'given', accept: [3] })).toEqual({ stdout: 'given', stderr: '', exitCode: 3 });
    await expect(run(['sh', '-c', 'echo no >&2; exit 4'])).rejects.toMatchObject({ code: 'COMMAND_FAILED', why: 'ended with 4: no' });
    await expect(run(['/no/such/program'])).rejects.toMatchObject({ code: 'COMMAND_FAILED', why: expect.stringContaining('ENOENT') });
  });
});
