/** What the controller asks of agents directly: images, logs and exec, with agents whose answers a test chooses. */
import { WeftError } from '#base/errors.js';
import { AGENT_PORT } from '#model/ports.js';
import { DEFAULT_DRAIN_MS } from '#planner/drain.js';
import { callUnary, openBidi, readStream } from '#rpc/client.js';
import {
  NodeService,
  type ApiClient,
  type ExecRequest,
  type ExecResponse,
  type ImageProgress,
  type ListImagesRequest,
  type ListImagesResponse,
  type LoadImageRequest,
  type LogLine,
  type LogsRequest,
  type LogsResponse,
  type PrepareImagesRequest,
} from '#rpc/gen/weft/v1/api.js';
import type { RestartTasksRequest, RestartTasksResponse } from '#rpc/gen/weft/v1/operations.js';
import { bidi, serverStream, startServer, unary } from '#rpc/server.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, isUp, makeStack, sleep, TestController, up, watchUntil } from './harness.js';

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`;
const progress = (parts: Partial<ImageProgress>): ImageProgress => ({
  node: '',
  reference: '',
  message: '',
  doneBytes: 0,
  totalBytes: 0,
  image: undefined,
  error: undefined,
  ...parts,
});

/** One agent's listener. */
class FakeNode {
  /** Reference → digest that this node has, or would pull when it is asked to look again. */
  images = new Map<string, string>();
  registry = new Map<string, string>();
  asked: PrepareImagesRequest[] = [];
  loaded = Buffer.alloc(0);
  lines: LogLine[] = [];
  failLoad = false;
  restarted: RestartTasksRequest[] = [];
  #stop: (() => Promise<void>) | undefined;

  async start(agent: FakeAgent): Promise<void> {
    const roles = ['controller'] as const;
    const implementation = {
      listImages: unary<ListImagesRequest, ListImagesResponse>(roles, async () => ({
        nodes: [{ node: '', error: '', images: [...this.images].map(([name, d]) => ({ name, digest: d, sizeBytes: 1, platforms: [] })) }],
      })),
      prepareImages: serverStream<PrepareImagesRequest, ImageProgress>(roles, (request) => this.#prepare(request)),
      loadImage: bidi<LoadImageRequest, ImageProgress>(roles, (requests) => this.#load(requests)),
      logs: serverStream<LogsRequest, LogsResponse>(roles, (request, _peer, signal) => this.#logs(request, signal)),
      exec: bidi<ExecRequest, ExecResponse>(roles, (requests) => this.#exec(requests)),
      restartTasks: unary<RestartTasksRequest, RestartTasksResponse>(roles, async (request) => {
        this.restarted.push(request);
        return { tasks: request.tasks.map((id) => agent.kinds.tasks.find((task) => task.id === id)?.name ?? '') };
      }),
    };
    const server = await startServer({
      address: agent.address,
      port: AGENT_PORT,
      identity: agent.identity,
      services: [{ definition: NodeService, implementation }],
    });
    this.#stop = server.stop;
  }

  stop = async (): Promise<void> => this.#stop?.();

  async *#prepare(request: PrepareImagesRequest): AsyncGenerator<ImageProgress> {
    this.asked.push(request);
    for (const { reference, refresh, auth } of request.images) {
      const found =
        (refresh ? this.registry.get(reference) : undefined) ??
        this.images.get(reference) ??
        (auth?.password === 'right' ? this.registry.get(reference) : undefined);
      if (!found) throw new WeftError('IMAGE_UNKNOWN', { what: `image ${reference} is not here`, why: 'the registry refused' });
      this.images.set(reference, found);
      yield progress({ reference, image: { name: reference, digest: found, sizeBytes: 1, platforms: [] } });
    }
  }

  async *#load(requests: AsyncIterable<LoadImageRequest>): AsyncGenerator<ImageProgress> {
    const parts: Buffer[] = [];
    for await (const { part } of requests) {
      if (this.failLoad) throw new WeftError('IMAGE_INVALID', 'this is no image');
      if (part?.$case === 'chunk') parts.push(part.value);
      await sleep(1);
    }
    this.loaded = Buffer.concat(parts);
    yield progress({ reference: 'loaded:1', image: { name: 'loaded:1', digest: digest('c'), sizeBytes: 1, platforms: [] } });
  }

  async *#logs(request: LogsRequest, signal: AbortSignal): AsyncGenerator<LogsResponse> {
    const own = this.lines.filter((l) => request.tasks.includes(l.taskId));
    for (const line of own) yield { lines: [line] };
    for (let sent = own.length; request.follow && !signal.aborted; await sleep(10)) {
      const more = this.lines.filter((l) => request.tasks.includes(l.taskId)).slice(sent);
      sent += more.length;
      if (more.length > 0) yield { lines: more };
    }
  }

  async *#exec(requests: AsyncIterable<ExecRequest>): AsyncGenerator<ExecResponse> {
    for await (const { message } of requests) {
      if (message?.$case === 'start') yield { message: { $case: 'stderr', value: Buffer.from(`${message.value.task.length}`) } };
      if (message?.$case === 'stdin') yield { message: { $case: 'stdout', value: message.value } };
      if (message?.$case === 'stdinEnd') yield { message: { $case: 'exitCode', value: 7 } };
    }
  }
}

describe('calls that go to the agents', () => {
  let controller: TestController;
  let api: ApiClient;
  const agents: FakeAgent[] = [];
  const nodes = [new FakeNode(), new FakeNode()] as const;

  beforeAll(async () => {
    controller = await TestController.start();
    api = await controller.api();
    for (const name of ['n1', 'n2']) agents.push(await FakeAgent.join(controller, name));
    await Promise.all(nodes.map((node, i) => node.start(agents[i] as FakeAgent)));
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
    await up(api, makeStack('s', { web: 2 }));
    await watchUntil(api, 's', isUp);
  }, 60_000);

  afterAll(async () => {
    for (const agent of agents) agent.detach();
    await Promise.all(nodes.map((n) => n.stop()));
    await controller?.dispose();
  });

  const prepare = async (reference: string, password?: string): Promise<ImageProgress[]> => {
    const out: ImageProgress[] = [];
    const auth = password === undefined ? undefined : { username: 'u', password };
    for await (const p of readStream(api.prepareImages({ images: [{ reference, auth, refresh: false, digest: '', offline: false }] })))
      out.push(p);
    return out;
  };

  it('images: one digest for all, pulled where it is missing with the credentials of this call', async () => {
    nodes[0].images.set('app:1', digest('a'));
    nodes[1].registry.set('app:1', digest('a'));
    await expect(prepare('app:1', 'wrong')).rejects.toMatchObject({
      code: 'IMAGE_UNKNOWN',
      what: expect.stringContaining('node n2'),
      why: 'the registry refused',
    });
    const all = await prepare('app:1', 'right');
    expect(all.at(-1)).toMatchObject({ node: '', reference: 'app:1', image: { digest: digest('a') } });
    expect(
      all
        .slice(0, -1)
        .map((p) => p.node)
        .sort(),
    ).toEqual(['n1', 'n2']);
    const listed = await callUnary(api, 'listImages', {});
    expect(listed.nodes.map((n) => [n.node, n.images.map((i) => i.name)])).toEqual([
      ['n1', ['app:1']],
      ['n2', ['app:1']],
    ]);
    expect(controller.log()).not.toContain('right"');
  });

  it('images: where a tag has moved all look again; what stays different is an error that names the nodes', async () => {
    nodes[0].images.set('moved:1', digest('a'));
    nodes[1].images.set('moved:1', digest('b'));
    await expect(prepare('moved:1')).rejects.toMatchObject({
      code: 'CONFLICT',
      why: expect.stringMatching(/n1 has sha256:aaa.*n2 has sha256:bbb/),
    });
    nodes[0].registry.set('moved:1', digest('b'));
    expect((await prepare('moved:1')).at(-1)).toMatchObject({ image: { digest: digest('b') } });
  });

  it('images: an archive goes to every node whole; one that refuses it is named', async () => {
    const archive = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i % 251));
    const load = async () => {
      const call = openBidi<LoadImageRequest, ImageProgress>(api.loadImage());
      const sending = (async () => {
        await call.send({ part: { $case: 'fileName', value: 'x.tar' } });
        for (let at = 0; at < archive.length; at += 65_536)
          await call.send({ part: { $case: 'chunk', value: archive.subarray(at, at + 65_536) } });
        call.end();
      })().catch(() => undefined);
      const out: ImageProgress[] = [];
      for await (const p of call.messages) out.push(p);
      await sending;
      return out;
    };
    expect((await load()).at(-1)).toMatchObject({ node: '', image: { digest: digest('c') } });
    for (const node of nodes) expect(node.loaded.equals(archive)).toBe(true);
    nodes[1].failLoad = true;
    await expect(load()).rejects.toMatchObject({ code: 'IMAGE_INVALID', what: 'node n2: this is no image' });
    nodes[1].failLoad = false;
  });

  it('logs: of all nodes in order of time, under the names of tasks and nodes; followed until the caller leaves', async () => {
    const ids = agents.map((a) => a.kinds.tasks[0]?.id ?? '');
    const line = (i: number, at: number): LogLine => ({
      taskId: ids[i] ?? '',
      taskName: '',
      node: '',
      at,
      stream: 'stdout',
      text: `${at}`,
    });
    nodes[0].lines = [line(0, 1), line(0, 4), line(0, 5)];
    nodes[1].lines = [line(1, 2), line(1, 3), line(1, 6)];
    const read = async (follow: boolean, count: number): Promise<LogLine[]> => {
      const lines: LogLine[] = [];
      const request = { stack: 's', services: ['web'], tasks: [], follow };
      for await (const r of readStream(api.logs(request))) if (lines.push(...r.lines) >= count && follow) break;
      return lines;
    };
    const lines = await read(false, 6);
    expect(lines.map((l) => l.at)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(lines[1]).toMatchObject({ node: 'n2', taskName: agents[1]?.kinds.tasks[0]?.name });
    expect((await read(true, 6)).map((l) => l.at).sort()).toEqual([1, 2, 3, 4, 5, 6]);
    await expect(async () => {
      for await (const _ of readStream(api.logs({ stack: 'none', services: [], tasks: [], follow: false })));
    }).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('logs: a follower of a stack hears tasks that come later', async () => {
    await up(api, makeStack('grow', { web: 1 }));
    await watchUntil(api, 'grow', isUp);
    const heard = new Set<string>();
    const stop = new AbortController();
    const reading = (async () => {
      const request = { stack: 'grow', services: [], tasks: [], follow: true };
      for await (const r of readStream(api.logs(request), stop.signal)) for (const l of r.lines) heard.add(l.taskName);
    })();
    const say = (task: string) => {
      for (const [i, node] of nodes.entries()) {
        const id = agents[i]?.task(task)?.id;
        if (id) node.lines.push({ taskId: id, taskName: '', node: '', at: 9, stream: 'stdout', text: 'x' });
      }
    };
    agents.forEach((agent) => (agent.stateOf = (task) => (task.stack === 'grow' && say(task.name), 'running')));
    await up(api, makeStack('grow', { web: 3 }));
    await eventually(() => heard.has('grow-web-2') && heard.has('grow-web-3'), 'the new tasks are heard');
    agents.forEach((agent) => (agent.stateOf = () => 'running'));
    stop.abort();
    await reading;
    await callUnary(api, 'removeStack', { name: 'grow' });
    await watchUntil(api, 'grow', (s) => !s.exists);
  });

  it('exec: passed on to the node of the task, both ways, with its exit code', async () => {
    const start = { task: '', stack: 's', service: 'web', index: 2, argv: ['sh'], tty: false, stdin: true, env: {}, columns: 0, rows: 0 };
    const call = openBidi<ExecRequest, ExecResponse>(api.exec());
    await call.send({ message: { $case: 'start', value: start } });
    await call.send({ message: { $case: 'stdin', value: Buffer.from('hello') } });
    await call.send({ message: { $case: 'stdinEnd', value: true } });
    call.end();
    const out: string[] = [];
    for await (const { message } of call.messages) out.push(`${message?.$case} ${String(message?.value)}`);
    expect(out).toEqual(['stderr 32', 'stdout hello', 'exitCode 7']);
    const bad = openBidi<ExecRequest, ExecResponse>(api.exec());
    await bad.send({ message: { $case: 'start', value: { ...start, index: 9 } } });
    await expect(bad.messages.next()).rejects.toMatchObject({ code: 'NOT_FOUND', what: 'service web has no replica 9' });
  });

  it('restart: each node is asked for its own tasks, and how long each is to drain', async () => {
    const request = { tasks: ['s-web-2', 's-web-1'], graceMs: 700, drainMs: {} };
    expect(await callUnary(api, 'restartTasks', request)).toEqual({ tasks: ['s-web-1', 's-web-2'] });
    for (const [i, agent] of agents.entries()) {
      const id = agent.kinds.tasks.find(({ stack }) => stack === 's')?.id ?? '';
      expect(nodes[i]?.restarted).toEqual([{ tasks: [id], graceMs: 700, drainMs: { [id]: DEFAULT_DRAIN_MS } }]);
    }
    await expect(callUnary(api, 'restartTasks', { tasks: [], drainMs: {} })).rejects.toMatchObject({ code: 'BAD_VALUE' });
    await expect(callUnary(api, 'restartTasks', { tasks: ['s-web-9'], drainMs: {} })).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });

  it('a node that does not answer costs its own part only', async () => {
    await nodes[1].stop();
    const { nodes: listed } = await callUnary(api, 'listImages', {}, { timeoutMs: 20_000 });
    expect(listed.find((n) => n.node === 'n1')?.error).toBe('');
    expect(listed.find((n) => n.node === 'n2')?.error).toMatch(/node n2/);
    const lines: LogLine[] = [];
    for await (const r of readStream(api.logs({ stack: 's', services: [], tasks: [], follow: false }))) lines.push(...r.lines);
    expect(lines.filter((l) => l.stream === 'stdout')).toHaveLength(3);
    expect(lines.find((l) => l.stream === 'weft')?.text).toContain('logs of node n2 cannot be read');
  }, 30_000);
});
