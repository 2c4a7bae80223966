/** Every program starts from its bundle, with code that was compiled for the flags that it is started with. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
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

/** Whether V8, started with these flags, takes the code that the build kept. */
function takesCode(home: string, flags: readonly string[]): string {
  const dir = join(ROOT, 'dist/apps', home, 'bundle');
  const [bundle = ''] = readdirSync(dir).filter((f) => f.endsWith('.cjs'));
  const look = `
    const { readFileSync } = require('node:fs');
    const file = process.argv[1];
    const cachedData = readFileSync(file + '.' + require('node:v8').cachedDataVersionTag());
    const script = new (require('node:vm').Script)(readFileSync(file, 'latin1'), { filename: file, cachedData });
    console.log(script.cachedDataRejected ? 'refused' : 'taken');`;
  return execFileSync(process.execPath, [...flags, '-e', look, join(dir, bundle)], {
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
    expect(takesCode(home, flags)).toBe('taken');
  });
});
