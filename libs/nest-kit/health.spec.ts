import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHealth } from './health.js';
import { createLogger, nestLogger, withFields } from './logger.js';

describe('health over HTTP', () => {
  it('lives always, is ready when every check is, and shows what each found', async () => {
    let ok = true;
    const server = await startHealth({
      address: '127.0.0.1',
      port: 0,
      checks: {
        steady: () => ({ ok: true, detail: 'fine' }),
        moody: async () => {
          if (!ok) throw new Error('etcd is away');
          return { ok, detail: 'fine' };
        },
      },
    });
    const get = async (path: string) => {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return [response.status, await response.json()] as const;
    };
    try {
      expect(await get('/healthz')).toEqual([200, { ok: true }]);
      expect((await get('/readyz'))[0]).toBe(200);
      ok = false;
      expect(await get('/readyz')).toEqual([
        503,
        { ok: false, checks: { steady: { ok: true, detail: 'fine' }, moody: { ok: false, detail: 'etcd is away' } } },
      ]);
      expect((await get('/healthz'))[0]).toBe(200);
      expect((await get('/other'))[0]).toBe(404);
      await expect(startHealth({ address: '127.0.0.1', port: server.port, checks: {} })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    } finally {
      await server.stop();
    }
  });
});

describe('the logger', () => {
  it('writes JSON lines of its level and above, with the fields it was given', () => {
    const dir = mkdtempSync(join(tmpdir(), 'weft-log-'));
    try {
      const file = join(dir, 'log');
      const log = withFields(createLogger('info', { app: 'x' }, openSync(file, 'a')), { node: 'n1' });
      log.debug({}, 'not this');
      log.info({ a: 1 }, 'this');
      nestLogger(log).warn('from Nest', 'Context');
      const lines = readFileSync(file, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as object);
      expect(lines).toEqual([
        { level: 'info', time: expect.any(String), app: 'x', node: 'n1', a: 1, msg: 'this' },
        { level: 'warn', time: expect.any(String), app: 'x', node: 'n1', nest: 'Context', msg: 'from Nest' },
      ]);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });
});
