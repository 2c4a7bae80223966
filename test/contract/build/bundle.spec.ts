/** Every program starts from its bundle, with code that was compiled for the flags that it is started with. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS as DAEMON_FLAGS } from '../../../apps/ctl/dev/up.js';
import { NODE_FLAGS as KEEPER_FLAGS } from '../../../apps/agent/log-keeper/ensure.js';
import { NODE_FLAGS as NAMES_FLAGS } from '../../../apps/agent/name-server-link.js';
import { NODE_FLAGS as PROXY_FLAGS } from '../../../apps/agent/port-proxy/link.js';
import { NODE_FLAGS as HELPER_FLAGS } from '#linux/helper-client.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

/** The flags that a unit's ExecStart has between node and the program. */
function unitFlags(unit: string): string[] {
  const line = /^ExecStart=\S+ (.*)$/m.exec(readFileSync(join(ROOT, 'deploy/systemd', unit), 'utf8'))?.[1] ?? '';
  return line.split(' ').filter((word, i, all) => i < all.findIndex((w) => w.endsWith('main.js')) && word.startsWith('--'));
}

const bundlesOf = (home: string): string[] =>
  readdirSync(join(ROOT, 'dist/apps', home, 'bundle')).flatMap((f) =>
    f.endsWith('.cjs') ? [join(ROOT, 'dist/apps', home, 'bundle', f)] : [],
  );

/** Whether V8, started with these flags, takes the code that the build kept. */
function takesCode(bundle: string, flags: readonly string[]): string {
  const look = `
    const { readFileSync } = require('node:fs');
    const file = process.argv[1];
    const cachedData = readFileSync(file + '.' + require('node:v8').cachedDataVersionTag());
    const script = new (require('node:vm').Script)(readFileSync(file, 'latin1'), { filename: file, cachedData });
    console.log(script.cachedDataRejected ? 'refused' : 'taken');`;
  return execFileSync(process.execPath, [...flags, '-e', look, bundle], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  }).trim();
}

describe('bundles', () => {
  it.each<[string, readonly string[]]>([
    ['ctl', []],
    ['agent', DAEMON_FLAGS],
    ['agent', unitFlags('weft-agent.service')],
    ['controller', DAEMON_FLAGS],
    ['controller', unitFlags('weft-controller.service')],
    ['agent/name-server', NAMES_FLAGS],
    ['agent/port-proxy', PROXY_FLAGS],
    ['agent/log-keeper', KEEPER_FLAGS],
    ['agent/command-helper', HELPER_FLAGS],
  ])('%s with the flags %j', (home, flags) => {
    expect(readFileSync(join(ROOT, 'dist/apps', home, 'main.js'), 'utf8')).toContain('./bundle/');
    const bundles = bundlesOf(home);
    expect(bundles).toHaveLength(home === 'ctl' ? 2 : 1);
    expect(bundles.map((bundle) => takesCode(bundle, flags))).toEqual(bundles.map(() => 'taken'));
  });

  it('ctl config has one of its own, much smaller, and says the same by whatever way it is asked for', () => {
    const [small = 0, whole = 0] = bundlesOf('ctl')
      .map((bundle) => statSync(bundle).size)
      .sort((a, b) => a - b);
    expect(small).toBeLessThan(0.6 * whole);
    const dir = mkdtempSync(join(tmpdir(), 'weft-bundle-'));
    try {
      writeFileSync(join(dir, 'compose.yaml'), 'name: a\nservices: { web: { image: "b:${TAG:-1}", gpus: all } }\n');
      const ctl = (...args: string[]) => {
        const main = join(ROOT, 'dist/apps/ctl/main.js');
        const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { cwd: dir, encoding: 'utf8' });
        return { status, stdout, stderr };
      };
      const said = ctl('config');
      expect(said).toMatchObject({ status: 0, stdout: expect.stringContaining('image: b:1') });
      expect(ctl('convert')).toEqual(said);
      expect(ctl('-f', 'compose.yaml', 'config')).toEqual(said);
      const wrong = ctl('config', '-f', 'none.yaml');
      expect(wrong).toMatchObject({ status: 1, stderr: expect.stringMatching(/^error: .*none\.yaml/) });
      expect(ctl('-f', 'none.yaml', 'config')).toEqual(wrong);
      expect(ctl('config', '--help')).toEqual(ctl('help', 'config'));
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
