/** Real controller processes on real etcd, each on loopback addresses and ports of its own; gone at the end, child and all. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stackSchema, type Stack } from '#model/stack.js';
import { callUnary, connect, readStream } from '#rpc/client.js';
import { ApiClient, type StackState } from '#rpc/gen/weft/v1/api.js';
import { stackToWire } from '#rpc/wire.js';
import { loadIdentity, type Identity } from '#trust/identity.js';
import { freePorts } from '../../fixtures/free-ports.js';

const MAIN = join(import.meta.dirname, '../../../dist/apps/controller/main.js');

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Polls until `probe` gives something that is not undefined or false. @throws with the last error when time is up */
export async function eventually<T>(
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  what: string,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last: unknown = 'not yet';
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline)
      throw new Error(`${what}: not within ${timeoutMs} ms (${last instanceof Error ? last.message : String(last)})`);
    await sleep(25);
  }
}

/** A member that joins etcd waits until the others have been connected for 5 s, and then learns. */
const READY_MS = 45_000;

async function tokenOf(controller: TestController): Promise<string> {
  return (await callUnary(await controller.api(), 'createToken', { role: 'controller', ttlMs: 60_000 })).token;
}

let lastAddress = 0;
/** Loopback addresses that no other test process uses: the listening ports of agents are fixed. */
export const ownAddress = (): string => `127.${1 + (process.pid % 250)}.${Math.floor(process.pid / 250) % 250}.${10 + lastAddress++}`;

export interface ControllerSettings {
  name?: string;
  /** Of another controller: its etcd is used, and its certificate authority. */
  besides?: TestController;
  /** For that: a relay to its etcd, host:port, instead of etcd's own address. */
  through?: string;
  /** Of another controller, which it joins with a token: it runs a member of etcd of its own. */
  joins?: TestController;
  /** For that; made there if left out. */
  token?: string;
  extraArgs?: string[];
}

export class TestController {
  readonly dir = mkdtempSync(join(tmpdir(), `weft-controller-${process.pid}-`));
  readonly address = ownAddress();
  #ports: number[] = [];
  #child: ChildProcess | undefined;
  #token = '';
  readonly #settings: ControllerSettings;
  #clients: ApiClient[] = [];

  private constructor(settings: ControllerSettings) {
    this.#settings = settings;
  }

  static async start(settings: ControllerSettings = {}): Promise<TestController> {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: build first (npm run build)`);
    const controller = new TestController(settings);
    controller.#ports = await freePorts(5);
    if (settings.besides)
      execFileSync('cp', ['-r', join(settings.besides.dir, 'pki'), join(settings.besides.dir, 'admin'), controller.dir]);
    if (settings.besides) rmSync(join(controller.dir, 'pki/controller'), { recursive: true });
    try {
      if (settings.joins) controller.#token = settings.token ?? (await tokenOf(settings.joins));
      await controller.run();
    } catch (error) {
      await controller.dispose();
      throw error;
    }
    return controller;
  }

  get name(): string {
    return this.#settings.name ?? 'c1';
  }
  get port(): number {
    return this.#ports[0] as number;
  }
  get joinPort(): number {
    return this.#ports[1] as number;
  }
  get etcdUrl(): string {
    return `https://127.0.0.1:${this.etcdPort}`;
  }
  get etcdPort(): number {
    return this.#ports[3] as number;
  }
  get target(): string {
    return `${this.address}:${this.port}`;
  }
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  #argv(): string[] {
    const [port, joinPort, health, client, peer] = this.#ports;
    const { name = 'c1', besides, through, joins, extraArgs = [] } = this.#settings;
    const pki = join(this.dir, 'pki/etcd');
    const etcd = besides
      ? [
          '--etcd-endpoints',
          through === undefined ? besides.etcdUrl : `https://${through}`,
          '--etcd-ca',
          join(pki, 'ca.pem'),
          '--etcd-cert',
          join(pki, 'cert.pem'),
          '--etcd-key',
          join(pki, 'key.pem'),
        ]
      : ['--etcd-client-port', `${client}`, '--etcd-peer-port', `${peer}`];
    return [
      '--data-dir',
      this.dir,
      '--advertise',
      this.address,
      '--name',
      name,
      '--port',
      `${port}`,
      '--join-port',
      `${joinPort}`,
      '--health-port',
      `${health}`,
      '--log-level',
      'debug',
      ...etcd,
      ...(joins ? ['--join', `${joins.address}:${joins.joinPort}`] : []),
      ...extraArgs,
    ];
  }

  /** Starts the process (again) and waits until it is ready. */
  async run(): Promise<void> {
    const log = openSync(join(this.dir, 'log'), 'a');
    this.#child = spawn(process.execPath, ['--max-semi-space-size=4', MAIN, ...this.#argv()], {
      stdio: ['ignore', log, log],
      env: { ...process.env, WEFT_TOKEN: this.#token },
    });
    closeSync(log);
    const child = this.#child;
    const ended = () => child.exitCode !== null || child.signalCode !== null;
    await eventually(async () => ended() || (await this.readiness()).ok, 'the controller is ready', READY_MS);
    if (ended()) throw new Error(`the controller ended: ${this.log().slice(-3000)}`);
  }

  async readiness(): Promise<{ ok: boolean; checks: Record<string, { ok: boolean; detail: string }> }> {
    const response = await fetch(`http://127.0.0.1:${this.#ports[2]}/readyz`);
    return (await response.json()) as { ok: boolean; checks: Record<string, { ok: boolean; detail: string }> };
  }

  log(): string {
    return readFileSync(join(this.dir, 'log'), 'utf8');
  }

  async admin(): Promise<Identity> {
    return (await loadIdentity(join(this.dir, 'admin'))) as Identity;
  }

  async api(): Promise<ApiClient> {
    const client = connect(ApiClient, this.target, await this.admin(), 'controller');
    this.#clients.push(client);
    return client;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  freeze(): void {
    this.#child?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Of its own member of etcd. */
  etcdPid(): number {
    return (JSON.parse(readFileSync(join(this.dir, 'etcd.pid'), 'utf8')) as { pid: number }).pid;
  }

  /** Ends controller and etcd, and removes their files. */
  async dispose(): Promise<void> {
    for (const client of this.#clients) client.close();
    await this.end('SIGKILL');
    if (!this.#settings.besides) await this.killEtcd();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async killEtcd(): Promise<void> {
    if (!existsSync(join(this.dir, 'etcd.pid'))) return;
    const pid = this.etcdPid();
    if (!existsSync(`/proc/${pid}`)) return;
    process.kill(pid, 'SIGKILL');
    await eventually(() => !existsSync(`/proc/${pid}`), 'etcd is gone');
  }
}

/** A stack of one network and services by name → replicas, with whatever else a test wants. */
export function makeStack(
  name: string,
  services: Record<string, number | Record<string, unknown>>,
  more: Record<string, unknown> = {},
): Stack {
  return stackSchema.parse({
    name,
    networks: { default: { key: 'default', name: `${name}_default` } },
    services: Object.fromEntries(
      Object.entries(services).map(([service, value]) => {
        const parts = typeof value === 'number' ? { replicas: value } : value;
        return [service, { name: service, container: { image: 'busybox' }, networks: { default: {} }, ...parts }];
      }),
    ),
    ...more,
  });
}

export async function up(api: ApiClient, stack: Stack): Promise<number> {
  const plan = await callUnary(api, 'planStack', { stack: stackToWire(stack) });
  const { generation } = await callUnary(api, 'applyStack', { stack: plan.stack, baseGeneration: plan.baseGeneration, kept: plan.kept });
  return generation;
}

/** Watches a stack until `holds`; gives the state in which it did. */
export async function watchUntil(
  api: ApiClient,
  name: string,
  holds: (state: StackState) => boolean,
  timeoutMs = 20_000,
): Promise<StackState> {
  const signal = AbortSignal.timeout(timeoutMs);
  let last: StackState | undefined;
  for await (const state of readStream(api.watchStack({ name }), signal)) {
    last = state;
    if (holds(state)) return state;
  }
  throw new Error(`stack ${name} did not become so within ${timeoutMs} ms: ${JSON.stringify(last?.services)}`);
}

export const isUp = (state: StackState): boolean => state.exists && state.services.every((s) => s.running === s.wanted && s.waiting === '');
