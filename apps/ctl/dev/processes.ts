/**
 * The processes of a development cluster. They run detached, each with its own process group and log file, and are found
 * again by what stands in their command line: a pid alone could belong to somebody else by now.
 */
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { systemClock } from '#base/clock.js';

export interface Running {
  pid: number;
  argv: string[];
}

const readProc = (pid: string, file: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
};

const isZombie = (pid: string): boolean => /\) [ZX] /.test(readProc(pid, 'stat') ?? ') Z ');

/** Every process but this one whose command line or cgroup satisfies the test. */
export function findProcesses(test: (argv: string[], cgroup: () => string) => boolean): Running[] {
  const found: Running[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === process.pid) continue;
    const cmdline = readProc(pid, 'cmdline');
    if (cmdline === undefined || isZombie(pid)) continue;
    const argv = cmdline.split('\0').slice(0, -1);
    if (test(argv, () => readProc(pid, 'cgroup') ?? '')) found.push({ pid: Number(pid), argv });
  }
  return found;
}

/** What a development cluster is made of. Somebody's `tail -f` on one of its logs is not. */
const PROGRAMS = /(^|\/)(node|nsenter|flock|etcd|containerd|containerd-shim-runc-v2|runc)$/;

/** Processes of ours that name a path below one of `dirs`, as an argument or as `--flag=path`. */
export function processesOf(dirs: string[]): Running[] {
  const below = (arg: string): boolean => dirs.some((dir) => arg.replace(/^--[a-z-]+=/, '').startsWith(`${dir}/`));
  return findProcesses((argv) => PROGRAMS.test(argv[0] ?? '') && argv.some(below));
}

/** Starts argv for good: it outlives this command. Output is appended to `logFile`. */
export function startDetached(argv: string[], logFile: string, env: NodeJS.ProcessEnv = process.env): number {
  mkdirSync(dirname(logFile), { recursive: true });
  const log = openSync(logFile, 'a', 0o600);
  try {
    const [command, ...args] = argv;
    const child = spawn(command as string, args, { detached: true, stdio: ['ignore', log, log], env, cwd: '/' });
    child.on('error', () => undefined);
    child.unref();
    return child.pid ?? 0;
  } finally {
    closeSync(log);
  }
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !isZombie(String(pid));
  } catch {
    return false;
  }
};

const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch {
    // Already gone: that is what was wanted.
  }
};

/** Ends processes: `first`, then SIGKILL after `graceMs`. Resolves when they are gone. */
export async function endProcesses(processes: Running[], first: NodeJS.Signals, graceMs: number): Promise<void> {
  for (const { pid } of processes) signal(pid, first);
  const killAt = Date.now() + graceMs;
  let left = processes;
  let killed = first === 'SIGKILL';
  for (;;) {
    left = left.filter(({ pid }) => isAlive(pid));
    if (left.length === 0 || Date.now() > killAt + 5_000) return;
    if (!killed && Date.now() > killAt) {
      for (const { pid } of left) signal(pid, 'SIGKILL');
      killed = true;
    }
    await systemClock.sleep(20);
  }
}

/** The last lines of a log, for an error message. */
export function tailOf(logFile: string, lines = 8): string {
  try {
    return readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}
