/** The API's in-memory twin for ctl's specs: a small cluster in which what is stored runs at once, unless its image is named "broken…". */
import { pack } from 'tar-stream';
import { WeftError } from '#base/errors.js';
import type { Stack } from '#model/stack.js';
import type * as api from '#rpc/gen/weft/v1/api.js';
import type { TaskMove, Unmoved } from '#rpc/gen/weft/v1/operations.js';
import { bidi, serverStream, unary } from '#rpc/server.js';
import { blobsIn, offersOf, wantedMessage } from '#rpc/image-transfer.js';
import { stackFromWire, stackToWire } from '#rpc/wire.js';
import { copyHandlers } from './api-twin-copy.contract.js';
import { operationHandlers } from './api-twin-operations.contract.js';

export const DIGEST = `sha256:${'ab'.repeat(32)}`;
export const hex = (n: number) => n.toString(16).padStart(16, '0');

/** The cluster behind the API. */
export class Twin {
  stacks = new Map<string, { stack: Stack; generation: number; removing: boolean }>();
  /** host:port of the controllers that the cluster tells of, and why this one has lost touch with etcd. */
  controllers: string[] = [];
  stale = '';
  calls: { method: string; request: unknown }[] = [];
  loaded: Buffer[] = [];
  /** Of images that were pushed, by digest. */
  blobs = new Map<string, Buffer>();
  execInput: api.ExecRequest[] = [];
  /** Directory that stands for the root of every container. */
  root = '';
  /** The exit code of what is attached to; undefined: its node is lost meanwhile. */
  attachEnds: number | undefined = 7;
  /** Of every task: how often it was started again by itself. */
  restarts = 0;
  /** Id of a task → how often it was started again by command. */
  restarted = new Map<string, number>();
  /** What a rebalance answers: nothing becomes of it. */
  moves: TaskMove[] = [];
  unmoved: Unmoved[] = [];
  /** Services that a command stopped. */
  stopped = new Set<string>();

  note<T>(method: string, request: T): T {
    this.calls.push({ method, request });
    return request;
  }

  called = (method: string) => this.calls.filter((c) => c.method === method);

  rows(name: string): api.TaskRow[] {
    const found = this.stacks.get(name);
    if (!found) return [];
    return Object.values(found.stack.services).flatMap((service, s) =>
      Array.from({ length: service.replicas }, (_, i): api.TaskRow => {
        const bad = service.container.image.startsWith('broken');
        const id = hex(found.generation * 1000 + s * 100 + i);
        return {
          nodeName: `node${(i % 2) + 1}`,
          nodeState: 'ready',
          task: {
            id,
            stack: name,
            service: service.name,
            slot: i + 1,
            nodeId: hex(7),
            name: `${name}-${service.name}-${i + 1}`,
            specHash: '',
            image: service.container.image,
            ports: service.ports,
            endpoints: [{ networkId: hex(1), ipv4: `10.1.0.${10 + s * 10 + i}`, mac: '', aliases: [] }],
            desired: found.removing || this.stopped.has(service.name) ? 'stop' : 'run',
            createdAt: 1,
          },
          status: this.stopped.has(service.name)
            ? { taskId: id, nodeId: hex(7), state: 'stopped', message: 'stopped by command', restarts: 0, exitCode: 0, at: 1 }
            : bad
              ? { taskId: id, nodeId: hex(7), state: 'failed', message: 'no such program\u001b[31m', restarts: 0, at: 1 }
              : {
                  taskId: id,
                  nodeId: hex(7),
                  state: 'running',
                  message: '',
                  restarts: this.restarts + (this.restarted.get(id) ?? 0),
                  startedAt: Date.now() - 65 * 60_000,
                  at: 1,
                },
        };
      }),
    );
  }

  state(name: string): api.StackState {
    const found = this.stacks.get(name);
    const tasks = this.rows(name);
    const running = (service: string) => tasks.filter((r) => r.task?.service === service && r.status?.state === 'running').length;
    const services = Object.values(found?.stack.services ?? {}).map((s) => ({
      name: s.name,
      wanted: this.stopped.has(s.name) ? 0 : s.replicas,
      running: running(s.name),
      waiting: this.stopped.has(s.name) ? 'stopped' : '',
      mode: s.mode ?? 'replicated',
      complete: 0,
      update: '',
      updateMessage: '',
      oneOffOf: s.oneOff?.of ?? '',
    }));
    return { name, exists: found !== undefined, generation: found?.generation ?? 0, removing: found?.removing ?? false, services, tasks };
  }

  plan(stack: Stack): api.PlanStep[] {
    const before = this.stacks.get(stack.name)?.stack;
    const names = new Set([...Object.keys(stack.services), ...Object.keys(before?.services ?? {})]);
    return [...names].map((name) => {
      const same = JSON.stringify(before?.services[name]) === JSON.stringify(stack.services[name]);
      const action = !before ? 'create' : !stack.services[name] ? 'remove' : same ? 'keep' : 'recreate';
      return { action, kind: 'service', name, details: [] };
    });
  }
}

export function handlers(twin: Twin) {
  const admin = ['admin'] as const;
  const need = (name: string) => {
    const found = twin.stacks.get(name);
    if (!found) throw new WeftError('NOT_FOUND', { what: `there is no stack ${name}` });
    return found;
  };
  return {
    ...copyHandlers(twin),
    ...operationHandlers(twin),
    getCluster: unary(admin, async () => ({ id: 'c1', leader: 'k1', version: '9.9', controllers: twin.controllers, stale: twin.stale })),
    planStack: unary(admin, async (r: api.PlanStackRequest) => {
      const asked = stackFromWire(twin.note('planStack', r).stack);
      const running = twin.stacks.get(asked.name);
      const orphans = Object.keys(running?.stack.services ?? {}).filter(
        (name) => !asked.services[name] && !r.leftBehind?.dormant.includes(name),
      );
      const stack = { ...asked, services: { ...(r.leftBehind?.keepOrphans ? running?.stack.services : {}), ...asked.services } };
      return { steps: twin.plan(stack), baseGeneration: running?.generation ?? 0, stack: stackToWire(stack), orphans, kept: [] };
    }),
    applyStack: unary(admin, async (r: api.ApplyStackRequest) => {
      const stack = stackFromWire(twin.note('applyStack', r).stack);
      const steps = twin.plan(stack);
      const generation = (twin.stacks.get(stack.name)?.generation ?? 0) + (steps.every((s) => s.action === 'keep') ? 0 : 1);
      twin.stacks.set(stack.name, { stack, generation, removing: false });
      return { generation, steps };
    }),
    removeStack: unary(admin, async (r: api.RemoveStackRequest) => {
      need(r.name).removing = true;
      setTimeout(() => twin.stacks.delete(r.name), 30);
      return { steps: [{ action: 'remove', kind: 'service', name: 'web', details: [] }] };
    }),
    listStacks: unary(admin, async () => ({
      stacks: [...twin.stacks].map(([name, s]) => ({
        name,
        services: 1,
        tasksRunning: twin.rows(name).length,
        tasksWanted: 3,
        generation: s.generation,
        removing: s.removing,
        updatedAt: Date.now(),
      })),
    })),
    watchStack: serverStream(admin, async function* (r: api.WatchStackRequest, _peer, signal) {
      while (!signal.aborted) {
        const state = twin.state(r.name);
        yield state;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }),
    listTasks: unary(admin, async (r: api.ListTasksRequest) => ({
      tasks: [...twin.stacks.keys()].filter((n) => r.stack === '' || n === r.stack).flatMap((n) => twin.rows(n)),
      ended: [],
    })),
    listNodes: unary(admin, async () => ({
      nodes: [
        {
          node: { id: hex(7), name: 'node1', address: '192.0.2.1', index: 1, labels: {}, createdAt: 1 },
          facts: undefined,
          state: 'ready',
          tasks: 2,
          left: [],
        },
      ],
    })),
    listNetworks: unary(admin, async () => ({
      networks: [
        {
          network: {
            id: hex(1),
            name: 'shop_default',
            stack: 'shop',
            key: 'default',
            driver: 'overlay',
            internal: false,
            subnet: '10.1.0.0/20',
            gateway: '10.1.0.1',
            vni: 4096,
            attachable: false,
            options: {},
            labels: {},
            createdAt: 1,
          },
          mtu: 1450,
          addressesUsed: 4,
          addressesTotal: 4093,
          subnets: [],
          users: [],
          nat: '',
          exposures: [],
          addresses: [{ ipv4: '10.1.0.10', kind: 'task', owner: 'shop-web-1', node: 'node1', mac: '02:42:0a:01:00:0a' }],
        },
      ],
    })),
    listImages: unary(admin, async () => ({
      nodes: [
        {
          node: 'node1',
          images: [{ name: 'docker.io/library/app:1', digest: DIGEST, sizeBytes: 2_000_000, platforms: ['linux/amd64'] }],
          error: '',
        },
      ],
    })),
    createToken: unary(admin, async (r: api.CreateTokenRequest) => ({
      token: `weft1.${r.role}.${r.ttlMs}`,
      expiresAt: 1_800_000_000_000,
      joinAddresses: ['192.0.2.9:7701'],
    })),
    prepareImages: serverStream(admin, async function* (r: api.PrepareImagesRequest) {
      for (const { reference } of twin.note('prepareImages', r).images) {
        const base = { node: 'node1', reference, message: 'ready', doneBytes: 0, totalBytes: 0, image: undefined, error: undefined };
        if (reference.startsWith('nowhere')) {
          yield {
            ...base,
            message: 'failed',
            error: { code: 'IMAGE_UNKNOWN', what: `no image ${reference}`, why: '', hint: 'Load it.', path: [] },
          };
          throw new WeftError('IMAGE_UNKNOWN', 'an image is missing');
        }
        yield { ...base, image: { name: reference, digest: DIGEST, sizeBytes: 1, platforms: [] } };
      }
    }),
    loadImage: bidi(admin, async function* (requests: AsyncIterable<api.LoadImageRequest>) {
      for await (const { part } of requests) {
        if (part?.$case === 'chunk') {
          twin.loaded.push(part.value);
          if (part.value.includes('garbage')) throw new WeftError('IMAGE_INVALID', 'this is no archive of an image');
        }
      }
      const image = { name: 'docker.io/library/app:1', digest: DIGEST, sizeBytes: 5, platforms: [] };
      yield { node: 'node1', reference: 'app', message: 'loaded', doneBytes: 0, totalBytes: 0, image, error: undefined };
    }),
    pushImages: bidi(admin, async function* (requests: AsyncIterable<api.ImageTransfer>): AsyncGenerator<api.ImageTransfer> {
      const incoming = requests[Symbol.asyncIterator]();
      const [offer] = offersOf((await incoming.next()).value);
      const lacking = offer?.blobs.filter(({ digest }) => !twin.blobs.has(digest)) ?? [];
      yield wantedMessage(lacking.map(({ digest }) => digest));
      for await (const { digest, chunks } of blobsIn(incoming)) {
        const pieces: Uint8Array[] = [];
        for await (const piece of chunks) pieces.push(piece);
        twin.blobs.set(digest, Buffer.concat(pieces));
      }
      const image = { name: offer?.name ?? '', digest: offer?.target.digest ?? '', sizeBytes: 5, platforms: [] };
      const value = { node: 'node1', reference: '', message: 'loaded', doneBytes: 0, totalBytes: 0, image, error: undefined };
      yield { part: { $case: 'progress', value } };
    }),
    logs: serverStream(admin, async function* (r: api.LogsRequest) {
      twin.note('logs', r);
      const line = { taskId: 'a', taskName: 'shop-web-1', node: 'node1', at: 1_700_000_000_000, stream: 'stdout', text: 'hello' };
      yield { lines: [line, { ...line, taskId: 'b', taskName: 'shop-web-10', text: 'gap', stream: 'weft' }] };
    }),
    attach: bidi(admin, async function* (requests: AsyncIterable<api.ExecRequest>): AsyncGenerator<api.ExecResponse> {
      for await (const request of requests) {
        twin.execInput.push(request);
        const { message } = request;
        if (message?.$case === 'start') yield { message: { $case: 'stdout', value: Buffer.from(`this is ${message.value.task}\n`) } };
        const ends = message?.$case === 'stdinEnd' || (message?.$case === 'start' && !message.value.stdin);
        if (ends && twin.attachEnds === undefined) return;
        if (ends) yield { message: { $case: 'exitCode', value: twin.attachEnds ?? 0 } };
      }
    }),
    exec: bidi(admin, async function* (requests: AsyncIterable<api.ExecRequest>): AsyncGenerator<api.ExecResponse> {
      for await (const request of requests) {
        twin.execInput.push(request);
        const { message } = request;
        if (message?.$case === 'start' && message.value.argv[0] === 'vanish') return;
        if (message?.$case === 'stdin') yield { message: { $case: 'stdout', value: Buffer.from(String(message.value).toUpperCase()) } };
        if (message?.$case === 'stdinEnd' || (message?.$case === 'start' && !message.value.stdin)) {
          yield { message: { $case: 'stderr', value: Buffer.from('bye\n') } };
          yield { message: { $case: 'exitCode', value: 42 } };
          return;
        }
      }
    }),
  };
}

/** A Docker archive of one layer. */
export async function dockerArchive(name: string, layer: string): Promise<Buffer> {
  const tar = pack();
  const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }];
  tar.entry({ name: 'config.json' }, JSON.stringify({ os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, config: { Cmd: [name] } }));
  tar.entry({ name: 'layer.tar' }, layer);
  tar.entry({ name: 'manifest.json' }, JSON.stringify(manifest));
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar as unknown as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
