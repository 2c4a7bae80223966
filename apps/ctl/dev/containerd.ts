/** The container runtime of a development cluster: one containerd of its own, with a containerd namespace a node. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { DevLayout } from './layout.js';
import { findProcesses, startDetached, tailOf } from './processes.js';

const START_TIMEOUT_MS = 15_000;

/** Nothing of the machine's own containerd is shared: root, state and socket are the cluster's, and there is no CRI listener. */
function config(l: DevLayout): string {
  return [
    'version = 2',
    `root = ${JSON.stringify(join(l.dir, 'containerd'))}`,
    `state = ${JSON.stringify(join(l.runDir, 'containerd'))}`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]',
    '[grpc]',
    `address = ${JSON.stringify(l.containerdSocket)}`,
    '[debug]',
    'level = "warn"',
    '',
  ].join('\n');
}

const configFile = (l: DevLayout): string => join(l.dir, 'containerd.toml');

export const isContainerd = (l: DevLayout) => (argv: string[]) => /(^|\/)containerd$/.test(argv[0] ?? '') && argv.includes(configFile(l));

function answers(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const s = connect(socket);
    s.once('connect', () => {
      s.destroy();
      resolve(true);
    });
    s.once('error', () => resolve(false));
  });
}

/** @throws RUNTIME with the last lines of its log */
export async function ensureContainerd(l: DevLayout): Promise<void> {
  if (findProcesses(isContainerd(l)).length > 0 && (await answers(l.containerdSocket))) return;
  mkdirSync(l.runDir, { recursive: true, mode: 0o700 });
  writeFileSync(configFile(l), config(l));
  const logFile = join(l.dir, 'logs', 'containerd.log');
  startDetached(['containerd', '--config', configFile(l)], logFile);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await answers(l.containerdSocket))) {
    if (Date.now() > deadline) throw new WeftError('RUNTIME', { what: 'containerd did not start', why: tailOf(logFile) });
    await systemClock.sleep(50);
  }
}
