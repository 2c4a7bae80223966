/**
 * The agent put together: which part knows which. Everything that touches the machine comes in as a part, so that a spec
 * can hand in twins.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '#base/clock.js';
import { StopStack } from '#base/dispose.js';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { LogKeeperVerbs } from '#logs/keeper-client.js';
import { run as runHere, type Run } from '#linux/runner.js';
import type { SeenTunnel } from '#linux/wireguard.js';
import type { ListeningPort } from '#model/node.js';
import type { Task } from '#model/task.js';
import { WIREGUARD_FEATURE } from '#model/tunnel.js';
import type { NameConfig } from '#dns/name-config.js';
import type { Runtime } from '#runtime/runtime.js';
import { Believer } from './believer.js';
import { contentFetcher } from './contents/fetch-content.js';
import { FileMounts } from './contents/file-mounts.js';
import { ensureMemoryDir } from './contents/memory-dir.js';
import { TreeMounts } from './contents/tree-mounts.js';
import { knownControllers } from './controller-choice.js';
import { DesiredStore } from './desired-store.js';
import type { Membership } from './join.js';
import { ImagePeers } from './image-peers.js';
import type { Layout } from './layout.js';
import { Ledger } from './ledger.js';
import { startCleaning } from './loops/cleaning.js';
import { filesPlace } from './files-place.js';
import { startDockerUserLoop } from './loops/docker-user.js';
import { FactsLoop, type HostPart } from './loops/facts.js';
import { dialAs, startHub, type Hub } from './loops/hub.js';
import { startImagesLoop } from './loops/images.js';
import { NamesLoop } from './loops/names.js';
import { NetworkLoop, type KernelPort } from './loops/network.js';
import { TasksLoop } from './loops/tasks.js';
import { TunnelLoop } from './loops/tunnels.js';
import { namesConfig } from './names-config.js';
import { startNodeServer } from './node-service/server.js';
import type { AgentOptions } from './options.js';
import { PortKeeper } from './port-keeper.js';
import type { PortProxyLink } from './port-proxy/link.js';
import { untilItWorks } from './retry.js';
import type { RepairTimerOptions } from './repair-timer.js';
import { StatusBoard } from './status-board.js';
import { TaskRunner } from './task-runner.js';
import type { NodeTunnelKeys } from './tunnel-keys.js';
import { turns } from './turns.js';
import { followUpstreams } from './upstreams.js';

/** Containers made, started or removed at once. */
const AT_ONCE = 16;
/** What must be known of the containers before the network is touched may keep it waiting no longer than this. */
const LOOK_FIRST_MS = 5_000;

export interface AgentParts {
  membership: Membership;
  /** Connects to the container runtime; called again until it works. */
  openRuntime: () => Promise<Runtime>;
  kernel: KernelPort;
  /** Runs commands, for probes; without it there are none. */
  run?: Run;
  /** News of what others do to the kernel. */
  kernelEvents?: RepairTimerOptions['events'];
  /** `onUp` is called each time the name server is up. */
  openNameServer: (onUp: () => void) => Promise<{ set(config: NameConfig): Promise<void>; stop(): Promise<void> }>;
  /** Left out where localhost is not to be served. `onUp` is called each time the port proxy is up. */
  openPortProxy?: (onUp: () => void) => Promise<PortProxyLink>;
  /** libs/linux `listeningPorts`: who has a port that cannot be held. */
  listening?: () => Promise<ListeningPort[]>;
  openLogKeeper: () => Promise<Pick<LogKeeperVerbs, 'open' | 'close' | 'flush'> & { stop(): Promise<void> }>;
  readHost: () => Promise<HostPart>;
  /** Left out where nothing is to be encrypted. */
  tunnelKeys?: NodeTunnelKeys;
  /** libs/linux `keepDockerUser`. */
  keepDockerUser?: () => Promise<string[]>;
  seeTunnel?: (dev: string) => Promise<SeenTunnel | undefined>;
  clock: Clock;
  log: Log;
}

export interface Agent {
  /** Where controllers reach it. */
  port: number;
  /** Ends the agent and nothing else: containers, networks and companions stay. */
  stop(): Promise<void>;
}

/** Resolves when everything works. @throws what cannot be mended by waiting */
export async function startAgent(options: AgentOptions, layout: Layout, parts: AgentParts, signal: AbortSignal): Promise<Agent> {
  const stops = new StopStack();
  try {
    const port = await compose(options, layout, parts, stops, signal);
    return { port, stop: () => stopAll(stops, parts.log) };
  } catch (error) {
    await stopAll(stops, parts.log);
    throw error;
  }
}

async function stopAll(stops: StopStack, log: Log): Promise<void> {
  for (const { name, error } of await stops.stopAll()) log.warn({ part: name, error: messageOf(error) }, 'a part did not end in order');
}

/** What all parts share, once it is there. */
interface Base {
  options: AgentOptions;
  layout: Layout;
  parts: AgentParts;
  stops: StopStack;
  nodeId: string;
  store: DesiredStore;
  ledger: Ledger;
  board: StatusBoard;
  believer: Believer;
  /** Parts that come up later than those that speak to them. */
  late: { network?: NetworkLoop; ports?: PortKeeper; tunnels?: TunnelLoop; tasks?: TasksLoop; hub?: Hub; facts?: FactsLoop };
}

async function compose(options: AgentOptions, layout: Layout, parts: AgentParts, stops: StopStack, signal: AbortSignal): Promise<number> {
  const { clock, log } = parts;
  const base = await openBase(options, layout, parts, stops);
  await startNames(base);
  startPorts(base, signal);
  const network = makeNetwork(base);
  const facts = makeFacts(base, network);
  if (parts.keepDockerUser) stops.push('DOCKER-USER', startDockerUserLoop(parts.keepDockerUser, log));
  makeTunnels(base, network);
  await facts.start();
  stops.push('hub', () => base.late.hub?.stop());

  // A node that knows what it should be does not wait for its runtime to be one.
  const early = setTimeout(() => {
    network.start();
    if (base.store.isKnown) attach(base, facts);
  }, LOOK_FIRST_MS);
  stops.push('waiting', () => clearTimeout(early));
  const context = { clock, log, signal };
  const [keeper, runtime] = await Promise.all([
    untilItWorks('the log keeper', parts.openLogKeeper, context),
    untilItWorks('the container runtime', parts.openRuntime, context),
  ]);
  stops.push('log keeper', () => keeper.stop());
  stops.push('runtime', () => runtime.close());
  const loop = await startTasks(base, { network, keeper, runtime }, signal);
  clearTimeout(early);
  network.start();
  const port = await startServer(base, { loop, keeper, runtime });
  attach(base, facts);
  return port;
}

async function openBase(options: AgentOptions, layout: Layout, parts: AgentParts, stops: StopStack): Promise<Base> {
  const { clock, log, membership } = parts;
  const nodeId = membership.identity.id;
  const dirs = [layout.dataDir, layout.runDir, layout.tasks, dirname(layout.stdio('x').stdout)];
  for (const dir of dirs) await mkdir(dir, { recursive: true, mode: 0o700 });
  const store = await DesiredStore.open(layout.dataDir, log);
  const ledger = await Ledger.open(layout.dataDir, log);
  stops.push('files', async () => void (await Promise.all([store.flush(), ledger.flush()])));
  const late: Base['late'] = {};
  const onQuarantine = () => {
    late.hub?.factsChanged();
    late.tasks?.kick();
  };
  const believer = new Believer(store, () => late.tasks?.containerIds() ?? [], onQuarantine, log);
  return { options, layout, parts, stops, nodeId, store, ledger, board: new StatusBoard(nodeId, clock), believer, late };
}

function makeNetwork({ options, layout, parts, stops, nodeId, store, ledger, believer, late }: Base): NetworkLoop {
  const unknown = (id: string) => !store.hasTask(id);
  const network = new NetworkLoop({
    kernel: parts.kernel,
    store,
    host: {
      nodeId,
      address: options.address,
      devices: () => late.facts?.devices ?? new Set(),
      advertised: () => late.facts?.advertised ?? [],
      firewall: options.firewall !== 'none',
      tunnelKeys: (view) => late.tunnels?.keysFor(view),
    },
    mayProgram: () => believer.isConfirmed || !(late.tasks?.containerIds() ?? ledger.liveIds()).some(unknown),
    refusedPorts: (view) => late.ports?.hold(view) ?? Promise.resolve(new Map()),
    // On record before the namespaces are: it is also how others know which of them are this agent's.
    onTasks: async (ids) => {
      for (const id of ids) await mkdir(layout.taskDir(id), { recursive: true, mode: 0o755 });
    },
    onTakenOut: () => late.hub?.beat(),
    onDrift: () => late.hub?.factsChanged(),
    events: parts.kernelEvents,
    clock: parts.clock,
    log: parts.log,
  });
  late.network = network;
  stops.push('network', () => network.stop());
  return network;
}

function makeFacts({ parts, stops, nodeId, believer, late }: Base, network: NetworkLoop): FactsLoop {
  const facts = new FactsLoop({
    nodeId,
    readHost: parts.readHost,
    agentPart: () => ({
      quarantine: believer.quarantine,
      driftRepairs: network.repairs.count,
      repairs: network.repairs.recent,
      wireguard: late.tunnels?.publicKeys(),
      findings: late.ports?.findings,
    }),
    onNews: () => late.hub?.factsChanged(),
    clock: parts.clock,
    log: parts.log,
  });
  late.facts = facts;
  stops.push('facts', () => facts.stop());
  return facts;
}

function makeTunnels({ options, parts, store, stops, nodeId, late }: Base, network: NetworkLoop): void {
  if (!parts.tunnelKeys) return;
  const tunnels = new TunnelLoop({
    keys: parts.tunnelKeys,
    nodeId,
    isAble: () => late.facts?.features.includes(WIREGUARD_FEATURE) === true,
    view: () => store.byKind,
    see: parts.seeTunnel ?? (() => Promise.resolve(undefined)),
    rotateEveryMs: options.rotateKeysMs,
    onNews: () => late.hub?.factsChanged(),
    onChange: () => network.kick(),
    clock: parts.clock,
    log: parts.log,
  });
  late.tunnels = tunnels;
  tunnels.start();
  stops.push('tunnels', () => tunnels.stop());
}

function attach({ options, parts, store, board, believer, late }: Base, facts: FactsLoop): void {
  const { identity, controllers } = parts.membership;
  const { clock, log } = parts;
  late.hub ??= startHub({
    controllers: () => knownControllers([...store.byKind.members.values()], controllers),
    address: options.address,
    dial: dialAs(identity),
    store,
    believer,
    board,
    programmed: () => late.network?.programmedRevision ?? 0,
    facts: () => facts.current(),
    rotateKeys: () => late.tunnels?.rotate(),
    clock,
    log,
  });
}

interface Machine {
  keeper: Awaited<ReturnType<AgentParts['openLogKeeper']>>;
  runtime: Runtime;
}

const mountsVolume = ({ container }: Task, name: string): boolean => container.mounts.some((m) => m.type === 'volume' && m.source === name);

/** What tasks mount that comes from the controllers. */
function mountsOf({ layout, parts }: Base): { fileMounts: FileMounts; treeMounts: TreeMounts } {
  const { identity, controllers } = parts.membership;
  const fetch = contentFetcher(() => controllers, identity);
  const run = parts.run ?? runHere;
  const { configsDir, secrets: secretsDir, trees: treesDir, seedsDir } = layout;
  return {
    fileMounts: new FileMounts({ fetch, configsDir, secretsDir, openSecrets: (path) => ensureMemoryDir(path, run) }),
    treeMounts: new TreeMounts({ fetch, treesDir, seedsDir, run, clock: parts.clock }),
  };
}

async function startTasks(
  base: Base,
  { network, keeper, runtime }: Machine & { network: NetworkLoop },
  signal: AbortSignal,
): Promise<TasksLoop> {
  const { options, layout, parts, stops, store, ledger, board, believer } = base;
  const { clock, log } = parts;
  const { fileMounts, treeMounts } = mountsOf(base);
  const runner = new TaskRunner({
    runtime,
    peers: imagePeers(base, runtime),
    fileMounts,
    treeMounts,
    keeper,
    network,
    // Of this process: a container runtime may run in another namespace than its node (as on a simulated one).
    nodeNetns: `/proc/${process.pid}/ns/net`,
    placeOf: (task) => filesPlace(task, store.byKind, { nodeName: options.name, resolvConf: options.resolvConf }),
    layout,
    nodeName: options.name,
    inTurn: turns(AT_ONCE),
    clock,
    log,
  });
  const loop = new TasksLoop({ runtime, runner, store, board, ledger, isConfirmed: () => believer.isConfirmed, clock, log });
  base.late.tasks = loop;
  stops.push('tasks', () => loop.stop());
  await loop.start(signal);
  stops.push('images', startImagesLoop({ runtime, store, usesFile: layout.imageUsesFile, root: options.containerdRoot, clock, log }));
  const isAlive = (id: string) => store.hasTask(id) || loop.container(id) !== undefined || loop.isBusy(id);
  const desired = () => store.byKind.tasks;
  stops.push('cleaning', startCleaning({ ledger, layout, keeper, fileMounts, treeMounts, desired, isAlive, clock, log }));
  return loop;
}

function imagePeers({ parts }: Base, runtime: Runtime): ImagePeers {
  const { identity, controllers } = parts.membership;
  return new ImagePeers({ runtime, identity, controllers: () => controllers });
}

async function startServer(base: Base, { loop, keeper, runtime }: Machine & { loop: TasksLoop }): Promise<number> {
  const { options, layout, parts, stops, nodeId, store, ledger } = base;
  const { address, name } = options;
  const { identity, controllers } = parts.membership;
  const server = await startNodeServer(
    { address, port: options.listenPort, identity },
    {
      runtime,
      peers: imagePeers(base, runtime),
      nodeName: name,
      log: parts.log,
      taskName: (id) => store.task(id)?.name ?? ledger.get(id)?.name,
      logFile: layout.logFile,
      volumes: layout.volumes,
      volumeUsers: (volume) => store.byKind.tasks.filter((t) => mountsVolume(t, volume)).map((t) => t.name),
      // A keeper that does not answer is no reason not to show what is in the file.
      flush: async (id) => void (await keeper.flush(id).catch(() => undefined)),
      container: (id) => loop.container(id),
      faults: () => parts.kernel.faults(),
      run: parts.run,
      clock: parts.clock,
    },
  );
  stops.push('node service', () => server.stop());
  parts.log.info({ node: nodeId, name, address, port: server.port, controllers }, 'the agent is up');
  return server.port;
}

/** Follows the host's name servers and the view; speaks to the name server as soon as there is one. */
async function startNames({ options, parts, stops, nodeId, store }: Base): Promise<void> {
  const { clock, log } = parts;
  let upstreams: string[] = [];
  let set: ((config: NameConfig) => Promise<void>) | undefined;
  const names = new NamesLoop<NameConfig>({
    store,
    configOf: () => namesConfig(store.byKind, nodeId, upstreams),
    set: async (config) => {
      if (!set) throw new WeftError('UNAVAILABLE', 'the name server is not up yet');
      await set(config);
    },
    // A node that knows nothing tells nothing: the name server keeps what it had.
    isKnown: () => store.isKnown,
    log,
  });
  const follow = (servers: string[]) => {
    upstreams = servers;
    names.kick();
  };
  stops.push('upstreams', await followUpstreams(options.resolvConf, follow));
  const stopping = new AbortController();
  stops.push('names', () => {
    stopping.abort();
    names.stop();
  });
  const opening = untilItWorks('the name server', () => parts.openNameServer(() => names.cameUp()), {
    clock,
    log,
    signal: stopping.signal,
  });
  const opened = opening.then(
    async (server) => {
      set = (config) => server.set(config);
      stops.push('name server', () => server.stop());
      if (stopping.signal.aborted) await server.stop();
      else names.start();
    },
    () => undefined,
  );
  opened.catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the name server could not be let go'));
}

/** Published ports wait for the port proxy a moment, and are opened without it if it does not come. */
function startPorts({ parts, stops, nodeId, late }: Base, signal: AbortSignal): void {
  const { openPortProxy, listening = () => Promise.resolve([]), clock, log } = parts;
  if (!openPortProxy) return;
  const keeper = new PortKeeper({
    nodeId,
    listening,
    onChange: () => late.network?.kick(),
    onFindings: () => late.hub?.factsChanged(),
    log,
  });
  late.ports = keeper;
  const stopping = new AbortController();
  let isUp = false;
  let link: PortProxyLink | undefined;
  const use = () => link && isUp && keeper.use((doors) => link?.set(doors) ?? Promise.resolve([]));
  const onUp = () => {
    isUp = true;
    use();
  };
  stops.push('ports', async () => {
    stopping.abort();
    keeper.stop();
    await link?.stop();
  });
  const context = { clock, log, signal: AbortSignal.any([signal, stopping.signal]) };
  void untilItWorks('the port proxy', () => openPortProxy(onUp), context).then(
    async (opened) => {
      link = opened;
      if (stopping.signal.aborted) await link.stop();
      else use();
    },
    () => undefined,
  );
}
