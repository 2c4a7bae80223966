/** Images between a user, the controller and nodes that keep theirs in memory: what a node lacks travels, and nothing else. */
import { ImagePeers } from '../../../apps/agent/image-peers.js';
import { Callers } from '../../../apps/agent/callers.js';
import { startNodeServer } from '../../../apps/agent/node-service/server.js';
import { systemClock } from '#base/clock.js';
import { silentLog } from '#base/log.js';
import { AGENT_PORT } from '#model/ports.js';
import { callUnary, openBidi, readStream } from '#rpc/client.js';
import type { ApiClient, ImageProgress, ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { blobMessages, offerMessage, wantedOf } from '#rpc/image-transfer.js';
import { FakeRuntime } from '#runtime/fake-runtime.js';
import type { ImageOffer } from '#runtime/runtime.js';
import { FakeAgent } from './fake-agent.js';
import { eventually, TestController } from './harness.js';

const names = ['n1', 'n2', 'n3'] as const;
const source = new FakeRuntime({ images: ['app:1', 'app:2', 'app:3'] });
const offerOf = async (name: string): Promise<ImageOffer> => (await source.describeImage(name)) as ImageOffer;

describe('images from place to place', () => {
  let controller: TestController;
  let api: ApiClient;
  const agents: FakeAgent[] = [];
  const runtimes = names.map(() => new FakeRuntime());
  const stops: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    controller = await TestController.start();
    api = await controller.api();
    for (const name of names) agents.push(await FakeAgent.join(controller, name));
    for (const [i, agent] of agents.entries()) stops.push(await serve(agent, runtimes[i] as FakeRuntime, () => controller.target));
    await eventually(async () => (await callUnary(api, 'listNodes', {})).nodes.every((n) => n.state === 'ready'), 'all nodes are ready');
  }, 60_000);

  afterAll(async () => {
    for (const agent of agents) agent.detach();
    for (const stop of stops) await stop();
    await controller?.dispose();
  });

  beforeEach(async () => {
    for (const runtime of runtimes) for (const { name } of await runtime.listImages()) await runtime.removeImage(name);
  });

  interface Pushed {
    wanted: string[];
    lines: ImageProgress[];
  }

  /** Pushes as `ctl` does; `open` gives the bytes of a blob. */
  async function push(name: string, open = (digest: string) => source.readBlob(digest)): Promise<Pushed> {
    const call = openBidi<ImageTransfer, ImageTransfer>(api.pushImages());
    await call.send(offerMessage([await offerOf(name)]));
    const pushed: Pushed = { wanted: [], lines: [] };
    for await (const message of call.messages) {
      if (message.part?.$case === 'progress') pushed.lines.push(message.part.value);
      else {
        pushed.wanted = wantedOf(message);
        void (async () => {
          for await (const one of blobMessages(pushed.wanted, open)) await call.send(one);
          call.end();
        })();
      }
    }
    return pushed;
  }

  it('a push brings to each node what it lacks, and from the user what at least one lacks', async () => {
    const offer = await offerOf('app:1');
    const all = offer.blobs.map(({ digest }) => digest);
    const first = await push('app:1');
    expect(first.wanted).toEqual(all);
    expect(first.lines.at(-1)).toMatchObject({ node: '', image: { name: 'docker.io/library/app:1', digest: offer.target.digest } });
    for (const runtime of runtimes) expect(await runtime.resolveImage('app:1')).toMatchObject({ digest: offer.target.digest });

    const again = await push('app:1');
    expect(again.wanted).toEqual([]);
    expect(again.lines.map(({ message }) => message)).toEqual(expect.arrayContaining(['has every layer', 'on all nodes']));

    // The layer is shared: only the manifest is new. One node has lost everything and needs both; the others get no layer.
    await runtimes[1]?.removeImage('app:1');
    const second = await push('app:2');
    expect(second.wanted).toEqual((await offerOf('app:2')).blobs.map(({ digest }) => digest));
    const sizes = second.lines.filter(({ message }) => message === 'receiving').map(({ node, totalBytes }) => [node, totalBytes] as const);
    const [manifest, layer] = (await offerOf('app:2')).blobs.map(({ size }) => size) as [number, number];
    expect(new Map(sizes)).toEqual(
      new Map([
        ['n1', manifest],
        ['n2', manifest + layer],
        ['n3', manifest],
      ]),
    );
  });

  it('a node that fails is named, and the others have the image', async () => {
    runtimes[2]?.failNext('receiveImages');
    await expect(push('app:3')).rejects.toMatchObject({ code: 'RUNTIME', what: expect.stringContaining('node n3') });
    expect(await runtimes[0]?.resolveImage('app:3')).toBeDefined();
    await push('app:3');
    expect(await runtimes[2]?.resolveImage('app:3')).toBeDefined();
  });

  it('bytes that are not what was offered are refused by every node', async () => {
    async function* wrong(): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(Buffer.from('something else'));
    }
    await expect(push('app:1', wrong)).rejects.toMatchObject({ code: 'IMAGE_INVALID' });
    for (const runtime of runtimes) expect(await runtime.resolveImage('app:1')).toBeUndefined();
  });

  it('an image that one node has gets to the others when a stack is brought up, without any registry', async () => {
    const { digest } = (runtimes[0] as FakeRuntime).addImage('only:1');
    const prepare = async (reference: string): Promise<ImageProgress[]> => {
      const lines: ImageProgress[] = [];
      const wanted = { reference, auth: undefined, refresh: false, digest: '', offline: true };
      for await (const line of readStream(api.prepareImages({ images: [wanted] }))) lines.push(line);
      return lines;
    };
    const lines = await prepare('only:1');
    expect(lines.at(-1)).toMatchObject({ node: '', image: { digest } });
    for (const runtime of runtimes) expect(await runtime.resolveImage('only:1')).toMatchObject({ digest });
    await expect(prepare('none:1')).rejects.toMatchObject({
      code: 'IMAGE_UNKNOWN',
      what: expect.stringContaining('no node has the image none:1'),
    });
  });

  it('a node fetches by digest from one that has it; where none has, it hears so', async () => {
    const { digest } = (runtimes[2] as FakeRuntime).addImage('late:1');
    const peers = peersOf(agents[0] as FakeAgent, runtimes[0] as FakeRuntime, () => controller.target);
    const told: unknown[] = [];
    const [one, two] = await Promise.all([
      peers.fetch('late:1', digest, (p) => told.push(p)),
      peers.fetch('late:1', digest, () => undefined),
    ]);
    expect(one).toMatchObject({ name: 'docker.io/library/late:1', digest });
    expect(two).toBe(one);
    expect(runtimes[0]?.calls.filter((call) => call === 'receiveImages').length).toBeGreaterThan(0);
    await expect(peers.fetch('late:2', `sha256:${'0'.repeat(64)}`, () => undefined)).rejects.toMatchObject({
      code: 'IMAGE_UNKNOWN',
      why: expect.stringContaining('none of 2 has'),
    });
  });

  it('only nodes fetch, and only administrators push', async () => {
    const call = openBidi<ImageTransfer, ImageTransfer>((agents[0] as FakeAgent).apiAsNode(controller).pushImages());
    await expect(call.messages.next()).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });
});

function peersOf(agent: FakeAgent, runtime: FakeRuntime, target: () => string): ImagePeers {
  return new ImagePeers({ runtime, identity: agent.identity, controllers: () => ['127.0.0.1:1', target()] });
}

async function serve(agent: FakeAgent, runtime: FakeRuntime, target: () => string): Promise<() => Promise<void>> {
  const server = await startNodeServer(
    { address: agent.address, port: AGENT_PORT, identity: agent.identity },
    {
      runtime,
      peers: peersOf(agent, runtime, target),
      nodeName: agent.name,
      log: silentLog,
      taskName: () => undefined,
      logFile: () => '/nonexistent',
      volumes: '/nonexistent',
      volumeUsers: () => [],
      flush: async () => undefined,
      container: () => undefined,
      callers: new Callers(systemClock),
      tap: () => Promise.reject(new Error('no task runs here')),
      task: () => undefined,
      restart: () => Promise.reject(new Error('no task runs here')),
    },
  );
  return () => server.stop();
}
