import type { HealthProbe } from '#model/healthcheck.js';
import { afterProbe, healthMessage, newHealth, nextProbeMs, type Health } from './judge-health.js';

const probe: HealthProbe = { argv: ['x'], intervalMs: 100, timeoutMs: 50, retries: 3, startPeriodMs: 1_000, startIntervalMs: 10 };
const bad = { exitCode: 1, output: 'no  answer\n' };
const good = { exitCode: 0, output: 'ok' };

const run = (results: [typeof bad, number][], from: Health = newHealth()): Health =>
  results.reduce((health, [result, at]) => afterProbe(health, result, probe, at), from);

describe('health', () => {
  it('needs as many failures in a row as retries says', () => {
    expect(
      run([
        [bad, 2_000],
        [bad, 2_100],
      ]).state,
    ).toBe('starting');
    const sick = run([
      [bad, 2_000],
      [bad, 2_100],
      [bad, 2_200],
    ]);
    expect(sick).toEqual({ state: 'unhealthy', streak: 3, output: 'exited with code 1: no answer' });
    expect(healthMessage(sick)).toBe('its health check exited with code 1: no answer');
    expect(
      run([
        [bad, 2_000],
        [bad, 2_100],
        [good, 2_200],
        [bad, 2_300],
        [bad, 2_400],
      ]).state,
    ).toBe('healthy');
  });

  it('does not count failures in the start period, until one check has succeeded', () => {
    const early: [typeof bad, number][] = [1, 2, 3, 4, 5].map((n) => [bad, n * 100]);
    expect(run(early)).toMatchObject({ state: 'starting', streak: 0 });
    expect(
      run([
        [good, 100],
        [bad, 200],
        [bad, 300],
        [bad, 400],
      ]).state,
    ).toBe('unhealthy');
  });

  it('one success heals, and an error is a failure', () => {
    expect(run([[good, 9_000]], { state: 'unhealthy', streak: 7, output: '' })).toMatchObject({ state: 'healthy', streak: 0 });
    expect(afterProbe(newHealth('healthy'), { error: 'took longer than 1 s', output: '' }, { ...probe, retries: 1 }, 0)).toEqual({
      state: 'unhealthy',
      streak: 1,
      output: 'took longer than 1 s',
    });
  });

  it('asks more often while it starts', () => {
    expect(nextProbeMs(newHealth(), probe, 999)).toBe(10);
    expect(nextProbeMs(newHealth(), probe, 1_000)).toBe(100);
    expect(nextProbeMs(newHealth('healthy'), probe, 10)).toBe(100);
  });

  it('keeps one line of output, and the end of it', () => {
    const { output } = afterProbe(newHealth(), { exitCode: 2, output: `${'x'.repeat(5_000)}\nlast words\n` }, probe, 0);
    expect(output.length).toBeLessThan(230);
    expect(output).toMatch(/^exited with code 2: …x+ last words$/);
  });
});
