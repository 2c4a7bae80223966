import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { upstreamFile } from './up.js';

describe('the name servers of simulated nodes', () => {
  const dir = mkdtempSync(join(tmpdir(), 'weft-upstream-'));
  const etc = join(dir, 'etc');
  const real = join(dir, 'real');
  const missing = join(dir, 'missing');
  writeFileSync(real, 'nameserver 192.0.2.1\n');
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it.each([
    ['those of the host', 'nameserver 192.0.2.53\n', real, etc],
    ['those of the host, a stub beside others', 'nameserver 127.0.0.1\nnameserver 192.0.2.53\n', real, etc],
    ['those behind a stub of the host', '# systemd\nnameserver 127.0.0.53\n', real, real],
    ['the stub, where nothing is known behind it', 'nameserver 127.0.0.53\n', missing, etc],
  ])('are %s', (_what, text, behindStub, expected) => {
    writeFileSync(etc, text);
    expect(upstreamFile(etc, behindStub)).toBe(expected);
  });

  it('are those of the host where it has no file yet', () => expect(upstreamFile(missing, missing)).toBe(missing));
});
