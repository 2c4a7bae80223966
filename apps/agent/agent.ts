/**
 * The agent put together: which part knows which. Everything that touches the machine comes in as a part, so that a spec
 * can hand in twins.
 */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { StopStack } from '#base/dispose.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { untilItWorks } from '#base/retry.js';
import { turns } from '#base/turns.js';
import { cutOffAfterMs } from '#model/node-death.js';
import type { Task } from '#model/task.js';
import { WIREGUARD_FEATURE } from '#model/tunnel.js';
import type { Runtime } from '#runtime/runtime.js';
import type { AgentBase, AgentParts } from './agent-parts.js';
import { Believer } from './believer.js';
import { Callers } from './callers.js';
import { Contact } from './contact.js';
import { knownControllers } from './controller-choice.js';
import { DesiredStore } from './desired-store.js';
import { ImagePeers } from './image-peers.js';
import type { Layout } from './layout.js';
import { Ledger } from './ledger.js';
import { startCleaning } from './loops/cleaning.js';
import { filesPlace } from './files-place.js';
import { startDockerUserLoop } from './loops/docker-user.js';
import { FactsLoop } from './loops/facts.js';
import { dialAs, startHub } from './loops/hub.js';
import { startImagesLoop } from './loops/images.js';
import { NetworkLoop } from './loops/network.js';
import { TasksLoop } from './loops/tasks.js';
import { TunnelLoop } from './loops/tunnels.js';
import { startNodeServer } from './node-service/server.js';
import type { AgentOptions } from './options.js';
import { openMounts } from './open-mounts.js';
import { startNames, startPorts } from './start-companions.js';
import { StatusBoard } from './status-board.js';
import { TakenOut } from './taken-out.js';
import { TaskRunner } from './task-runner.js';

/** Containers made, started or removed at once. */
const AT_ONCE = 16;
/** What must be known of the containers before the network is touched may keep it waiting no longer than this. */
const LOOK_FIRST_MS = 5_000;

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
  // A node that knows what it should be says at once that it is here: one that is missed for seconds is taken for dead. What
  // runs here is told as soon as it was looked at.
  if (base.store.isKnown) attach(base, facts);

  // Nor does its network wait for long for its runtime.
  const early = setTimeout(() => network.start(), LOOK_FIRST_MS);
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

async function openBase(options: AgentOptions, layout: Layout, parts: AgentParts, stops: StopStack): Promise<AgentBase> {
  const { clock, log, membership } = parts;
  const nodeId = membership.identity.id;
  const dirs = [layout.dataDir, layout.runDir, layout.tasks, dirname(layout.stdio('x').stdout)];
  for (const dir of dirs) await mkdir(dir, { recursive: true, mode: 0o700 });
  const store = await DesiredStore.open(layout.dataDir, log);
  const ledger = await Ledger.open(layout.dataDir, log);
  stops.push('files', async () => void (await Promise.all([store.flush(), ledger.flush()])));
  const contact = new Contact({ cutOffAfterMs: () => cutOffAfterMs(store.byKind.settings), clock });
  stops.push('contact', () => contact.stop());
  const late: AgentBase['late'] = {};
  const onQuarantine = () => {
    late.hub?.factsChanged();
    late.tasks?.kick();
  };
  const believer = new Believer(store, () => late.tasks?.containerIds() ?? [], onQuarantine, log);
  const takenOut = new TakenOut([() => late.network?.programmedRevision ?? 0, () => late.names?.toldRevision ?? 0], () => late.hub?.beat());
  return {
    options,
    layout,
    parts,
    stops,
    nodeId,
    store,
    ledger,
    board: new StatusBoard(nodeId, clock),
    believer,
    callers: new Callers(clock),
    contact,
    takenOut,
    late,
  };
}

/** Namespaces kept ready: tasks most often come one by one, or one in place of another. */
const SPARES = 2;

function makeNetwork({ options, layout, parts, stops, nodeId, store, ledger, believer, takenOut, late }: AgentBase): NetworkLoop {
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
      spares: SPARES,
      tunnelKeys: (view) => late.tunnels?.keysFor(view),
    },
    mayProgram: () => believer.isConfirmed || !(late.tasks?.containerIds() ?? ledger.liveIds()).some(unknown),
    refusedPorts: (view) => late.ports?.hold(view) ?? Promise.resolve(new Map()),
    // On record before the namespaces are: it is also how others know which of them are this agent's.
    onTasks: async (ids) => {
      for (const id of ids) await mkdir(layout.taskDir(id), { recursive: true, mode: 0o755 });
    },
    onTakenOut: (revision) => takenOut.lost(revision),
    onProgrammed: () => takenOut.advanced(),
    onDrift: () => late.hub?.factsChanged(),
    events: parts.kernelEvents,
    clock: parts.clock,
    log: parts.log,
  });
  late.network = network;
  stops.push('network', () => network.stop());
  return network;
}

function makeFacts({ parts, stops, nodeId, believer, late }: AgentBase, network: NetworkLoop): FactsLoop {
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

function makeTunnels({ options, parts, store, stops, nodeId, late }: AgentBase, network: NetworkLoop): void {
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

function attach({ options, parts, store, board, believer, contact, takenOut, late }: AgentBase, facts: FactsLoop): void {
  const { identity, controllers } = parts.membership;
  const { clock, log } = parts;
  late.hub ??= startHub({
    controllers: () => knownControllers([...store.byKind.members.values()], controllers),
    address: options.address,
    dial: dialAs(identity),
    store,
    believer,
    board,
    programmed: () => takenOut.revision,
    facts: () => facts.current(),
    onHeard: (sentAt) => contact.confirmed(sentAt),
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

async function startTasks(
  base: AgentBase,
  { network, keeper, runtime }: Machine & { network: NetworkLoop },
  signal: AbortSignal,
): Promise<TasksLoop> {
  const { options, layout, parts, stops, store, ledger, board, believer, callers } = base;
  const { clock, log } = parts;
  const { fileMounts, treeMounts, volumeMounts } = openMounts({ nodeName: options.name, layout, ...parts });
  const runner = new TaskRunner({
    runtime,
    peers: imagePeers(base, runtime),
    fileMounts,
    treeMounts,
    volumeMounts,
    keeper,
    network,
    resolver: async (task) => base.late.resolvers?.answer(task),
    // Of this process: a container runtime may run in another namespace than its node (as on a simulated one).
    nodeNetns: `/proc/${process.pid}/ns/net`,
    placeOf: (task) => filesPlace(task, store.byKind, { nodeName: options.name, resolvConf: options.resolvConf }),
    layout,
    nodeName: options.name,
    callers,
    inTurn: turns(AT_ONCE),
    clock,
    log,
  });
  const loop = new TasksLoop({
    runtime,
    runner,
    store,
    board,
    ledger,
    callers,
    contact: base.contact,
    isConfirmed: () => believer.isConfirmed,
    clock,
    log,
  });
  base.late.tasks = loop;
  stops.push('tasks', () => loop.stop());
  await loop.start(signal);
  stops.push('images', startImagesLoop({ runtime, store, usesFile: layout.imageUsesFile, root: options.containerdRoot, clock, log }));
  const isAlive = (id: string) => store.hasTask(id) || loop.container(id) !== undefined || loop.isBusy(id);
  const desired = () => store.byKind.tasks;
  stops.push('cleaning', startCleaning({ ledger, layout, keeper, fileMounts, treeMounts, volumeMounts, desired, isAlive, clock, log }));
  return loop;
}

function imagePeers({ parts }: AgentBase, runtime: Runtime): ImagePeers {
  const { identity, controllers } = parts.membership;
  return new ImagePeers({ runtime, identity, controllers: () => controllers });
}

async function startServer(base: AgentBase, { loop, keeper, runtime }: Machine & { loop: TasksLoop }): Promise<number> {
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
      restart: (id, asked) => loop.restart(id, asked),
      callers: base.callers,
      tap: (id) => keeper.tap(id),
      task: (id) => store.task(id),
      faults: () => parts.kernel.faults(),
      run: parts.run,
      clock: parts.clock,
    },
  );
  stops.push('node service', () => server.stop());
  parts.log.info({ node: nodeId, name, address, port: server.port, controllers }, 'the agent is up');
  return server.port;
}
