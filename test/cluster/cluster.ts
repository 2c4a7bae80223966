/** A whole development cluster for one spec file, driven as a person would: through `ctl`. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CtlLister, type Outcome } from './ctl-lister.js';

const MAIN = join(process.cwd(), 'dist', 'apps', 'ctl', 'main.js');
const IMAGE_MAKER = join(process.cwd(), 'deploy', 'examples', 'make-image.mjs');

export interface TaskLine {
  id: string;
  name: string;
  service: string;
  node: string;
  state: string;
  /** Network key → address. */
  addresses: Record<string, string>;
}

/** A `ctl` that goes on; it ended with an exit code, or by a signal. */
export interface StartedCtl {
  said: () => string;
  end: (signal: NodeJS.Signals) => Promise<number | NodeJS.Signals>;
  ended: Promise<number | NodeJS.Signals>;
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class TestCluster {
  /** Working directory for stack files, and the place of this cluster's contexts. */
  readonly dir = mkdtempSync(join(tmpdir(), 'weft-cluster-'));
  readonly name: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #lister: CtlLister;

  constructor(prefix: string) {
    this.name = `${prefix}${(process.pid % 10_000).toString(36)}`.slice(0, 8);
    this.#env = { ...process.env, WEFT_CONFIG_DIR: join(this.dir, 'config'), NO_COLOR: '1' };
    delete this.#env['NODE_OPTIONS'];
    this.#lister = new CtlLister({ cwd: this.dir, env: this.#env });
  }

  get libDir(): string {
    return `/var/lib/weft-dev/${this.name}`;
  }
  get runDir(): string {
    return `/run/weft-dev/${this.name}`;
  }
  netns(node: string): string {
    return `weftdev-${this.name}-${node}`;
  }
  taskNetns(taskId: string): string {
    return `weft-${taskId.slice(0, 12)}`;
  }

  /** Runs `ctl` and does not judge. */
  tryCtl(args: string[], options: { input?: string; timeoutMs?: number; env?: NodeJS.ProcessEnv } = {}): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [MAIN, ...args], {
        cwd: this.dir,
        env: { ...this.#env, ...options.env },
        stdio: ['pipe', 'pipe', 'pipe'],
      });
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('data', (b: Buffer) => out.push(b));
      child.stderr.on('data', (b: Buffer) => err.push(b));
      child.stdin.on('error', () => undefined);
      child.stdin.end(options.input ?? '');
      const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 90_000);
      child.once('error', reject);
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? 137, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
      });
    });
  }

  /** Starts a `ctl` that goes on until it is ended; `said` is all it printed so far. */
  startCtl(args: string[], env: NodeJS.ProcessEnv = {}): StartedCtl {
    const child = spawn(process.execPath, [MAIN, ...args], {
      cwd: this.dir,
      env: { ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (b: Buffer) => (said += String(b)));
    const ended = new Promise<number | NodeJS.Signals>((resolve) => {
      child.once('close', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
    });
    const end = (signal: NodeJS.Signals): Promise<number | NodeJS.Signals> => {
      child.kill(signal);
      return ended;
    };
    return { said: () => said, end, ended };
  }

  /** Runs `ctl`; throws with everything it said unless it exits with 0. */
  async ctl(...args: string[]): Promise<string> {
    return outputOf(args, await this.tryCtl(args));
  }

  /** The same for a listing, which tests ask for again and again. */
  async json<T>(...args: string[]): Promise<T> {
    const all = [...args, '--format', 'json'];
    return JSON.parse(outputOf(all, await this.#lister.run(all))) as T;
  }

  async up(nodes = 3, controllers = 1): Promise<void> {
    await this.ctl('dev', 'up', '--name', this.name, '--nodes', String(nodes), '--controllers', String(controllers));
    const image = join(this.dir, 'image.tar');
    const made = spawnSync(process.execPath, [IMAGE_MAKER, image, 'weft-demo:latest'], { encoding: 'utf8' });
    if (made.status !== 0) throw new Error(made.stderr);
    await this.ctl('image', 'load', image);
  }

  /** Starts again whatever is missing. */
  repair(): Promise<string> {
    return this.ctl('dev', 'up', '--name', this.name);
  }

  async down(): Promise<void> {
    try {
      await this.ctl('dev', 'down', '--name', this.name);
    } finally {
      this.#lister.stop();
      rmSync(this.dir, { recursive: true, force: true });
    }
  }

  write(file: string, text: string): string {
    const path = join(this.dir, file);
    writeFileSync(path, text);
    return path;
  }

  /** What the logs of the cluster's own processes say, for a failing test. */
  logs(lines = 15): string {
    const dir = join(this.libDir, 'logs');
    if (!existsSync(dir)) return '';
    return readdirSync(dir)
      .map((f) => `--- ${f}\n${readFileSync(join(dir, f), 'utf8').trimEnd().split('\n').slice(-lines).join('\n')}`)
      .join('\n');
  }

  async tasks(stack: string): Promise<TaskLine[]> {
    const rows = await this.json<(Omit<TaskLine, 'addresses'> & { addresses: string })[]>('ps', '-p', stack);
    return rows.map((row) => ({
      ...row,
      addresses: Object.fromEntries(row.addresses.split(',').map((pair) => pair.split('=') as [string, string])),
    }));
  }

  /** Runs in a node's network namespace. */
  onNode(node: string, ...argv: string[]): Outcome {
    return sh('nsenter', `--net=/run/netns/${this.netns(node)}`, '--', ...argv);
  }

  /** Pulls a node's cable out of the LAN of the nodes, or puts it in. */
  cable(node: string, to: 'down' | 'up'): void {
    const { code, stderr } = sh('ip', '-n', `weftdev-${this.name}-lan`, 'link', 'set', node, to);
    if (code !== 0) throw new Error(stderr);
  }

  /** Runs in a task's network namespace (the host's programs, the task's network). */
  inTask(taskId: string, ...argv: string[]): Outcome {
    return sh('nsenter', `--net=/run/netns/${this.taskNetns(taskId)}`, '--', ...argv);
  }

  /** The main process of a task's container: the oldest in its cgroup. (Numbers of processes begin again at 2 some time.) */
  pidOf(taskId: string): number {
    const pid = this.findPid(taskId);
    if (pid === undefined) throw new Error(`task ${taskId} has no process`);
    return pid;
  }

  /** The same, or nothing where the container has no process. */
  findPid(taskId: string): number | undefined {
    const [oldest] = readdirSync('/proc')
      .filter((n) => /^\d+$/.test(n) && readQuietly(`/proc/${n}/cgroup`).includes(`/${taskId}`))
      .map((n) => ({ pid: Number(n), startedAt: startTicks(n) }))
      .sort((x, y) => x.startedAt - y.startedAt);
    return oldest?.pid;
  }

  /** Pids of this cluster's processes whose command line holds all of `parts`. */
  pids(...parts: string[]): number[] {
    return readdirSync('/proc')
      .filter((n) => /^\d+$/.test(n))
      .filter((pid) => {
        const line = readQuietly(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
        return line.includes(`/${this.name}/`) && parts.every((p) => line.includes(p)) && Number(pid) !== process.pid;
      })
      .map(Number);
  }

  /** What agents and controllers warned of since `since` (ms since the epoch): for the message of an assertion that fails. */
  warnings(since: number): string[] {
    const logs = join(this.libDir, 'logs');
    return readdirSync(logs)
      .flatMap((file) => readQuietly(join(logs, file)).split('\n'))
      .filter((line) => /^\{"level":"(warn|error|fatal)"/.test(line) && Date.parse(/"time":"([^"]+)"/.exec(line)?.[1] ?? '') >= since);
  }

  kill(...parts: string[]): number[] {
    const pids = this.pids(...parts);
    if (pids.length === 0) throw new Error(`no process of the cluster matches ${parts.join(' ')}`);
    for (const pid of pids) process.kill(pid, 'SIGKILL');
    return pids;
  }
}

export function sh(command: string, ...args: string[]): Outcome {
  const r = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
  return { code: r.status ?? 137, stdout: r.stdout, stderr: r.stderr };
}

/** When a process started, in clock ticks since the boot (proc_pid_stat(5), field 22); Infinity where it has ended. */
function startTicks(pid: string): number {
  const ticks = readQuietly(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[19];
  return ticks === undefined ? Infinity : Number(ticks);
}

export function readQuietly(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Tries until it does not throw. @throws the last error */
export async function eventually<T>(timeoutMs: number, attempt: () => Promise<T> | T): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const began = Date.now();
    try {
      return await attempt();
    } catch (error) {
      const now = Date.now();
      if (now > deadline) throw error;
      // Who asks takes processor time from what is waited for: half of it at most.
      await pause(Math.max(200, Math.min(now - began, deadline - now)));
    }
  }
}

function outputOf(args: readonly string[], { code, stdout, stderr }: Outcome): string {
  if (code !== 0) throw new Error(`ctl ${args.join(' ')} exited with ${code}\n${stdout}\n${stderr}`);
  return stdout;
}

/** A stream of pings from a task's namespace; tells how many were sent and how many came back. */
export class PingFlood {
  readonly #child;
  readonly #out: Buffer[] = [];
  readonly #done: Promise<void>;

  constructor(netns: string, target: string, intervalSeconds = 0.02) {
    this.#child = spawn('nsenter', [`--net=/run/netns/${netns}`, '--', 'ping', '-q', '-n', '-i', String(intervalSeconds), target], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#child.stdout.on('data', (b: Buffer) => this.#out.push(b));
    this.#done = new Promise((resolve) => this.#child.once('close', () => resolve()));
  }

  async stop(): Promise<{ sent: number; received: number }> {
    this.#child.kill('SIGINT');
    await this.#done;
    const text = Buffer.concat(this.#out).toString();
    const match = /(\d+) packets transmitted, (\d+) received/.exec(text);
    if (!match) throw new Error(`ping said: ${text}`);
    return { sent: Number(match[1]), received: Number(match[2]) };
  }
}
