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
import type { NameConfig } from '#dns/name-config.js';
import type { Runtime } from '#runtime/runtime.js';
import { Believer } from './believer.js';
import { DesiredStore } from './desired-store.js';
import type { Membership } from './join.js';
import type { Layout } from './layout.js';
import { Ledger } from './ledger.js';
import { startCleaning } from './loops/cleaning.js';
import { FactsLoop, type HostPart } from './loops/facts.js';
import { startHub, type Hub } from './loops/hub.js';
import { startImagesLoop } from './loops/images.js';
import { NamesLoop } from './loops/names.js';
import { NetworkLoop, type KernelPort } from './loops/network.js';
import { TasksLoop } from './loops/tasks.js';
import { namesConfig } from './names-config.js';
import { startNodeServer } from './node-service/server.js';
import type { AgentOptions } from './options.js';
import { untilItWorks } from './retry.js';
import { StatusBoard } from './status-board.js';
import { TaskRunner } from './task-runner.js';
import { turns } from './turns.js';
import { followUpstreams } from './upstreams.js';

/** Containers made, started or removed at once. */
const AT_ONCE = 8;
/** What must be known of the containers before the network is touched may keep it waiting no longer than this. */
const LOOK_FIRST_MS = 5_000;

export interface AgentParts {
  membership: Membership;
  /** Connects to the container runtime; called again until it works. */
  openRuntime: () => Promise<Runtime>;
  kernel: KernelPort;
  /** `onUp` is called each time the name server is up. */
  openNameServer: (onUp: () => void) => Promise<{ set(config: NameConfig): Promise<void>; stop(): Promise<void> }>;
  openLogKeeper: () => Promise<Pick<LogKeeperVerbs, 'open' | 'close' | 'flush'> & { stop(): Promise<void> }>;
  readHost: () => Promise<HostPart>;
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

async function compose(options: AgentOptions, layout: Layout, parts: AgentParts, stops: StopStack, signal: AbortSignal): Promise<number> {
  const { membership, clock, log } = parts;
  const { identity } = membership;
  const nodeId = identity.id;
  const { dataDir, runDir } = layout;
  for (const dir of [dataDir, runDir, layout.tasks, dirname(layout.stdio('x').stdout)]) await mkdir(dir, { recursive: true, mode: 0o700 });

  const store = await DesiredStore.open(dataDir, log);
  const ledger = await Ledger.open(dataDir, log);
  stops.push('files', async () => void (await Promise.all([store.flush(), ledger.flush()])));
  const board = new StatusBoard(nodeId, clock);
  // Parts that come up later than those that speak to them.
  const late: { tasks?: TasksLoop; hub?: Hub } = {};
  const believer: Believer = new Believer(
    store,
    () => late.tasks?.containerIds() ?? [],
    () => {
      late.hub?.factsChanged();
      late.tasks?.kick();
    },
    log,
  );

  const names = await startNames(parts, options, store, nodeId, stops);
  const network = new NetworkLoop({
    kernel: parts.kernel,
    store,
    host: { nodeId, address: options.address },
    mayProgram: () => believer.isConfirmed || !(late.tasks?.containerIds() ?? []).some((id) => !store.hasTask(id)),
    // Also how others know which namespaces are this agent's.
    onTasks: async (ids) => {
      for (const id of ids) await mkdir(layout.taskDir(id), { recursive: true, mode: 0o755 });
    },
    onDrift: () => late.hub?.factsChanged(),
    clock,
    log,
  });

  const facts = new FactsLoop({
    nodeId,
    readHost: async () => ({ ...(await parts.readHost()), hostname: options.name }),
    agentPart: () => ({ quarantine: believer.quarantine, driftRepairs: network.driftRepairs }),
    onNews: () => late.hub?.factsChanged(),
    clock,
    log,
  });
  await facts.start();
  stops.push('facts', () => facts.stop());

  const attach = () => {
    const controllers = () => membership.controllers;
    late.hub ??= startHub({ controllers, identity, store, believer, board, facts: () => facts.current(), clock, log });
  };
  stops.push('hub', () => late.hub?.stop());

  const context = { clock, log, signal };
  const opening = untilItWorks('the log keeper', parts.openLogKeeper, context);
  const runtimeOpening = untilItWorks('the container runtime', parts.openRuntime, context);
  // A node that knows what it should be does not wait for the runtime to be one.
  const early = setTimeout(() => {
    network.start();
    if (store.isKnown) attach();
  }, LOOK_FIRST_MS);
  stops.push('waiting', () => clearTimeout(early));
  const [keeper, runtime] = await Promise.all([opening, runtimeOpening]);
  stops.push('log keeper', () => keeper.stop());
  stops.push('runtime', () => runtime.close());
  const nodeName = options.name;
  const runner = new TaskRunner({ runtime, keeper, network, layout, nodeName, inTurn: turns(AT_ONCE), clock, log });
  const loop = new TasksLoop({ runtime, runner, store, board, ledger, isConfirmed: () => believer.isConfirmed, clock, log });
  late.tasks = loop;
  await loop.start(signal);
  clearTimeout(early);
  network.start();
  stops.push('network', () => network.stop());
  stops.push('tasks', () => loop.stop());
  stops.push('images', startImagesLoop({ runtime, store, usesFile: layout.imageUsesFile, root: options.containerdRoot, clock, log }));
  const isAlive = (id: string) => store.hasTask(id) || loop.container(id) !== undefined || loop.isBusy(id);
  stops.push('cleaning', startCleaning({ ledger, layout, keeper, isAlive, clock, log }));
  const taskName = (id: string) => store.task(id)?.name ?? ledger.get(id)?.name;
  const flush = async (id: string) => void (await keeper.flush(id));
  const server = await startNodeServer(
    { address: options.address, port: options.listenPort, identity },
    { runtime, nodeName, log, taskName, logFile: layout.logFile, flush, container: (id) => loop.container(id) },
  );
  stops.push('node service', () => server.stop());
  attach();
  names.kick();
  log.info(
    { node: nodeId, name: nodeName, address: options.address, port: server.port, controllers: membership.controllers },
    'the agent is up',
  );
  return server.port;
}

async function startNames(
  parts: AgentParts,
  options: AgentOptions,
  store: DesiredStore,
  nodeId: string,
  stops: StopStack,
): Promise<NamesLoop<NameConfig>> {
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
  stops.push(
    'upstreams',
    await followUpstreams(options.resolvConf, (servers) => {
      upstreams = servers;
      names.kick();
    }),
  );
  const stopping = new AbortController();
  stops.push('names', () => {
    stopping.abort();
    names.stop();
  });
  void untilItWorks('the name server', () => parts.openNameServer(() => names.cameUp()), { clock, log, signal: stopping.signal }).then(
    (server) => {
      set = (config) => server.set(config);
      stops.push('name server', () => server.stop());
      if (stopping.signal.aborted) void server.stop();
      names.start();
    },
    () => undefined,
  );
  return names;
}
