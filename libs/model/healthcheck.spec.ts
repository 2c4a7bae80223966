import { healthProbe } from './healthcheck.js';

const image = { healthcheck: { test: ['CMD-SHELL', 'wget -q localhost'], intervalMs: 1_000, retries: 7 } };

describe('the health check of a container', () => {
  it("is the service's, with Docker's defaults", () => {
    expect(healthProbe({ test: ['CMD', 'true', '-x'] }, {})).toEqual({
      argv: ['true', '-x'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      retries: 3,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
    });
  });

  it("is the image's where the service says nothing; single keys override single keys", () => {
    expect(healthProbe(undefined, image)).toMatchObject({ argv: ['/bin/sh', '-c', 'wget -q localhost'], intervalMs: 1_000, retries: 7 });
    expect(healthProbe({ intervalMs: 5, startPeriodMs: 9 }, image)).toMatchObject({ intervalMs: 5, retries: 7, startPeriodMs: 9 });
  });

  it('runs a line in the shell of the image', () => {
    expect(healthProbe({ test: ['CMD-SHELL', 'a b'] }, { shell: ['/bin/bash', '-ec'] })?.argv).toEqual(['/bin/bash', '-ec', 'a b']);
  });

  it.each([
    [undefined, {}],
    [{ test: ['NONE'] }, image],
    [{ intervalMs: 5 }, {}],
    [undefined, { healthcheck: { test: ['NONE'] } }],
  ])('is none for %j over %j', (wish, of) => expect(healthProbe(wish, of)).toBeUndefined());
});
