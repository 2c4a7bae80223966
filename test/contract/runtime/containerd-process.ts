/** A containerd of the test's own: its directories and socket are in a temporary directory, and nothing of it outlives the test. */
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { mkdtemp, readFile, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface ContainerdProcess {
  directory: string;
  socket: string;
  pid(): number;
  /** SIGKILL: shims and containers stay. */
  kill(): Promise<void>;
  /** Starts it again on the same directories. */
  start(): Promise<void>;
  /** Ends it, its shims and containers, and takes away mounts and files. */
  destroy(): Promise<void>;
}

export async function startContainerdProcess(): Promise<ContainerdProcess> {
  const directory = await mkdtemp(`/tmp/weft-ctrd-${process.pid}-`);
  const socket = join(directory, 'c.sock');
  const configPath = join(directory, 'config.toml');
  await writeFile(configPath, configText(directory, socket));
  let child: ChildProcess | undefined;
  const start = async () => {
    const log = openSync(join(directory, 'containerd.log'), 'a');
    child = spawn('containerd', ['--config', configPath], { stdio: ['ignore', log, log] });
    closeSync(log);
    await until(() => existsSync(socket), 'containerd made its socket');
  };
  const end = async (signal: NodeJS.Signals) => {
    const ending = child;
    child = undefined;
    if (!ending || ending.exitCode !== null || ending.signalCode !== null) return;
    const gone = new Promise((resolve) => ending.once('exit', resolve));
    ending.kill(signal);
    await gone;
  };
  await start();
  return {
    directory,
    socket,
    pid: () => child?.pid ?? 0,
    kill: async () => {
      await end('SIGKILL');
      await rm(socket, { force: true });
    },
    start,
    destroy: async () => {
      await killShims(socket);
      await end('SIGTERM');
      await unmountBelow(directory);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

const configText = (directory: string, socket: string): string => `
version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${socket}"
`;

export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`timed out waiting: ${what}`);
    await sleep(20);
  }
}

/** Pids of the shims that serve this containerd. */
export async function shimsOf(socket: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map(async (pid) => [pid, await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')] as const));
  return lines.filter(([, line]) => line.includes('containerd-shim') && line.split('\0').includes(socket)).map(([pid]) => Number(pid));
}

/** Shims are reapers: what they started is their child until the end. */
async function killShims(socket: string): Promise<void> {
  for (const shim of await shimsOf(socket)) {
    const children = await readFile(`/proc/${shim}/task/${shim}/children`, 'utf8').catch(() => '');
    for (const pid of [...children.split(' ').filter(Boolean).map(Number), shim]) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    }
  }
  await until(async () => (await shimsOf(socket)).length === 0, 'shims have ended');
}

export async function mountsBelow(directory: string): Promise<string[]> {
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
}

async function unmountBelow(directory: string): Promise<void> {
  for (const path of (await mountsBelow(directory)).reverse()) await run('umount', ['-l', path]);
}

/** The network namespace of a process, like net:[4026531840]. */
export const netnsOf = (pid: number): Promise<string> => readlink(`/proc/${pid}/ns/net`);
