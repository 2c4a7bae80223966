/** Runs usual commands of `ctl` in this process, so that V8's code cache holds the functions that they use (bundle.mjs). */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Writable } from 'node:stream';
import { DIST } from './dist.mjs';

/**
 * @param exports of the bundle of ctl
 * @param dir an empty directory to work in
 * @param only the one command that the bundle has, if it has not all
 */
export async function runUsualCommands({ run, processShell }, dir, only) {
  const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() });
  const shell = {
    ...processShell(() => undefined),
    stdout: nowhere(),
    stderr: nowhere(),
    cwd: dir,
    env: { WEFT_CONFIG_DIR: dir, HOME: dir },
  };
  const file = join(dir, 'compose.yaml');
  writeFileSync(file, SAMPLE);
  await run(['config'], shell);
  if (only === 'config') return;
  await makeContext(dir);
  // No controller answers there. What it takes to ask is compiled all the same.
  for (const words of [['ls'], ['ps', '-p', 'x'], ['up', '--dry-run'], ['down', '-p', 'x']]) await run(words, shell);
}

async function makeContext(dir) {
  const trust = await import(pathToFileURL(join(DIST, 'libs/trust/ca.js')).href);
  const identity = await trust.issue(await trust.createCa('build'), { role: 'admin', id: 'build', clusterId: 'build' });
  const context = join(dir, 'contexts/build');
  mkdirSync(context, { recursive: true });
  for (const [name, text] of [
    ['ca.pem', identity.caPem],
    ['cert.pem', identity.certPem],
    ['key.pem', identity.keyPem],
    ['context.json', JSON.stringify({ name: 'build', endpoints: ['127.0.0.1:9'] })],
    ['../../current', 'build\n'],
  ])
    writeFileSync(join(context, name), text);
}

const SAMPLE = `name: x
services:
  web:
    image: \${IMAGE:-web}
    command: [serve, --port, '80']
    environment: {A: b}
    ports: ['8080:80']
    networks: [front]
    volumes: ['data:/data']
    deploy: {replicas: 2}
networks: {front: {}}
volumes: {data: {}}
`;
