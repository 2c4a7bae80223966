/** What specs of commands share: ctl from argv to text and exit code, against a real gRPC server over mTLS whose API is the in-memory twin. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text as readAll } from 'node:stream/consumers';
import { ApiService } from '#rpc/gen/weft/v1/api.js';
import { startServer } from '#rpc/server.js';
import { createCa, issue, type Ca } from '#trust/ca.js';
import { handlers, Twin } from './api-twin.contract.js';
import { saveContext, useContext } from './context.js';
import { run } from './run.js';
import type { Shell } from './shell.js';

/** Seconds of waiting pass in milliseconds. */
const SPEED = 50;
export const fastClock = {
  now: () => Date.now(),
  monotonic: () => performance.now() * SPEED,
  sleep: (ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms / SPEED);
      signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
    }),
};

export interface Result {
  code: number;
  out: string;
  err: string;
}

/** A twin, its server, and a directory with a context that leads there. */
export class CtlRig {
  readonly dir: string;
  readonly twin: Twin;
  readonly ca: Ca;
  readonly port: number;
  readonly #stop: () => Promise<void>;

  private constructor(parts: { dir: string; twin: Twin; ca: Ca; port: number; stop: () => Promise<void> }) {
    ({ dir: this.dir, twin: this.twin, ca: this.ca, port: this.port, stop: this.#stop } = parts);
  }

  static async start(ca: Ca): Promise<CtlRig> {
    const dir = await mkdtemp(join(tmpdir(), `weft-ctl-${process.pid}-`));
    const twin = new Twin();
    const { port, stop } = await startServer({
      address: '127.0.0.1',
      port: 0,
      identity: await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1' }),
      services: [{ definition: ApiService, implementation: handlers(twin) }],
    });
    const env = { WEFT_CONFIG_DIR: join(dir, 'config') };
    await saveContext('test', { endpoints: [`127.0.0.1:${port}`] }, await issue(ca, { role: 'admin', id: 'me', clusterId: 'c1' }), env);
    await useContext('test', env);
    return new CtlRig({ dir, twin, ca, port, stop });
  }

  async stop(): Promise<void> {
    await this.#stop();
    await rm(this.dir, { recursive: true });
  }

  ctl = async (line: string | string[], input: string | Buffer = '', env: Record<string, string> = {}): Promise<Result> => {
    const streams = { stdin: new PassThrough(), stdout: new PassThrough(), stderr: new PassThrough() };
    streams.stdin.end(input);
    let passedOn = 0;
    const shell: Shell = {
      ...streams,
      env: { WEFT_CONFIG_DIR: join(this.dir, 'config'), HOME: this.dir, PATH: `${this.dir}/bin`, ...env },
      cwd: this.dir,
      clock: fastClock,
      setExitCode: (code) => void (passedOn = code),
      setRaw: () => undefined,
      onSignal: () => () => undefined,
    };
    const texts = Promise.all([readAll(streams.stdout), readAll(streams.stderr)]);
    const code = await run(typeof line === 'string' ? line.split(' ') : line, shell);
    streams.stdout.end();
    streams.stderr.end();
    const [out, err] = await texts;
    return { code: code || passedOn, out, err };
  };
}

/** A rig for every test of the file. Good from `beforeEach` on. */
export function useRig(): { readonly rig: CtlRig } {
  let ca: Ca;
  let rig: CtlRig;
  beforeAll(async () => void (ca = await createCa('c1')));
  beforeEach(async () => void (rig = await CtlRig.start(ca)));
  afterEach(() => rig.stop());
  return {
    get rig() {
      return rig;
    },
  };
}

/** A stack of two services. */
export const SHOP =
  'name: shop\nservices:\n  web: { image: "app:1", scale: 2, ports: ["8080:80"] }\n  db: { image: "reg.local:5000/db" }\n';
