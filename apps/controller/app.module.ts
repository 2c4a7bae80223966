/**
 * The controller put together: what has a lifetime is a provider, made in the order of its needs and stopped in reverse.
 * Factories rather than classes with decorators, so that the parts themselves know nothing of Nest.
 */
import { randomBytes } from 'node:crypto';
import {
  Inject,
  Module,
  type BeforeApplicationShutdown,
  type DynamicModule,
  type OnApplicationBootstrap,
  type Provider,
} from '@nestjs/common';
import { systemClock } from '#base/clock.js';
import { StopStack } from '#base/dispose.js';
import type { Log } from '#base/log.js';
import type { ControllerRecord } from '#model/cluster.js';
import { AgentHub } from './api/agent-hub.js';
import { ControllerClients } from './api/controller-clients.js';
import { NodeClients } from './api/node-clients.js';
import { NodeSessions } from './api/node-sessions.js';
import { EtcdMembership } from './cluster/etcd-membership.js';
import { EventBook } from './cluster/event-book.js';
import { ClusterFollower } from './cluster/follower.js';
import { Leader } from './cluster/leader.js';
import { SelfRecorder } from './cluster/self-recorder.js';
import {
  AGENT_HUB,
  CONTROLLER_CLIENTS,
  FOLLOWER,
  LEADER,
  LOG,
  MEMBERSHIP,
  NODE_CLIENTS,
  NODE_SESSIONS,
  ON_REMOVED,
  OPTIONS,
  PKI,
  RECORDER,
  SERVERS,
  STORE,
} from './inject.js';
import { ensureJoined } from './join.js';
import { cleanupLoop } from './loops/cleanup-loop.js';
import { clusterLoop } from './loops/cluster-loop.js';
import { eventsLoop } from './loops/events-loop.js';
import { nodesLoop } from './loops/nodes-loop.js';
import { servicesLoop } from './loops/services-loop.js';
import { WaitingBoard } from './loops/waiting-board.js';
import { openStore, type OpenedStore } from './open-store.js';
import type { ControllerOptions } from './options.js';
import { openPki, type Pki } from './pki.js';
import { Servers } from './servers.js';

const clock = systemClock;

function recordOf(options: ControllerOptions, pki: Pki, { etcd }: OpenedStore): ControllerRecord {
  const ownEtcd = options.etcdEndpoints.length === 0 ? [options.etcdClientPort, options.etcdPeerPort] : [];
  return {
    id: pki.identity.id,
    name: options.name,
    address: options.advertise,
    port: options.port,
    guardedPorts: [options.joinPort, options.healthPort, ...ownEtcd],
    ...(etcd === undefined ? {} : { etcdPeer: etcd.own.peerUrl }),
  };
}

async function openTrust(options: ControllerOptions, log: Log): Promise<Pki> {
  await ensureJoined(options, log);
  return openPki(options.dataDir, options.advertise);
}

function membershipOf(options: ControllerOptions, { etcd }: OpenedStore, log: Log): EtcdMembership | undefined {
  return etcd && new EtcdMembership({ ...etcd, dataDir: options.dataDir, log, clock });
}

const PROVIDERS: Provider[] = [
  { provide: PKI, inject: [OPTIONS, LOG], useFactory: openTrust },
  { provide: STORE, inject: [OPTIONS, PKI, LOG], useFactory: openStore },
  {
    provide: FOLLOWER,
    inject: [STORE, LOG],
    useFactory: ({ store }: OpenedStore, log: Log) => new ClusterFollower(store, log, clock),
  },
  { provide: NODE_CLIENTS, inject: [PKI], useFactory: ({ identity }: Pki) => new NodeClients(identity) },
  {
    provide: NODE_SESSIONS,
    inject: [STORE, FOLLOWER, PKI, LOG],
    useFactory: ({ store }: OpenedStore, follower: ClusterFollower, { identity }: Pki, log: Log) =>
      new NodeSessions(store, follower, identity.id, log, clock),
  },
  {
    provide: AGENT_HUB,
    inject: [STORE, FOLLOWER, NODE_SESSIONS, PKI, LOG],
    useFactory: ({ store }: OpenedStore, follower: ClusterFollower, sessions: NodeSessions, { identity }: Pki, log: Log) =>
      new AgentHub({ store, follower, sessions, controllerId: identity.id, log, clock }),
  },
  {
    provide: RECORDER,
    inject: [STORE, FOLLOWER, OPTIONS, PKI, ON_REMOVED, LOG],
    useFactory: (opened: OpenedStore, follower: ClusterFollower, options: ControllerOptions, pki: Pki, onRemoved: () => void, log: Log) =>
      new SelfRecorder(opened.store, follower, recordOf(options, pki, opened), onRemoved, log, clock),
  },
  { provide: MEMBERSHIP, inject: [OPTIONS, STORE, LOG], useFactory: membershipOf },
  { provide: CONTROLLER_CLIENTS, inject: [PKI], useFactory: ({ identity }: Pki) => new ControllerClients(identity) },
  {
    provide: LEADER,
    inject: [STORE, FOLLOWER, OPTIONS, PKI, LOG],
    useFactory: ({ store }: OpenedStore, follower: ClusterFollower, options: ControllerOptions, pki: Pki, log: Log) => {
      const tools = { follower, log, clock, newId: () => randomBytes(16).toString('hex') };
      const board = new WaitingBoard();
      const events = eventsLoop(tools, new EventBook(follower, clock), board);
      const loops = [clusterLoop(tools, pki, options), nodesLoop(tools), servicesLoop(tools, board), cleanupLoop(tools), events];
      return new Leader({ store, follower, log, clock, controllerId: pki.identity.id, loops });
    },
  },
  {
    provide: SERVERS,
    inject: [OPTIONS, PKI, STORE, FOLLOWER, AGENT_HUB, NODE_CLIENTS, CONTROLLER_CLIENTS, LOG],
    useFactory: (
      options: ControllerOptions,
      pki: Pki,
      { store, etcd }: OpenedStore,
      follower: ClusterFollower,
      hub: AgentHub,
      clients: NodeClients,
      others: ControllerClients,
      log: Log,
    ) => new Servers({ options, pki, store, members: etcd?.members, follower, hub, clients, others, log, clock }),
  },
];

/** How long the first look at etcd may take, in milliseconds. */
const FIRST_LOOK_MS = 30_000;

@Module({})
export class AppModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly #stops = new StopStack();

  constructor(
    @Inject(LOG) private readonly log: Log,
    @Inject(STORE) private readonly opened: OpenedStore,
    @Inject(FOLLOWER) private readonly follower: ClusterFollower,
    @Inject(NODE_CLIENTS) private readonly clients: NodeClients,
    @Inject(NODE_SESSIONS) private readonly sessions: NodeSessions,
    @Inject(AGENT_HUB) private readonly hub: AgentHub,
    @Inject(CONTROLLER_CLIENTS) private readonly others: ControllerClients,
    @Inject(MEMBERSHIP) private readonly membership: EtcdMembership | undefined,
    @Inject(RECORDER) private readonly recorder: SelfRecorder,
    @Inject(LEADER) private readonly leader: Leader,
    @Inject(SERVERS) private readonly servers: Servers,
  ) {}

  /** @param onRemoved called when this controller was removed from the cluster: it has to end */
  static with(options: ControllerOptions, log: Log, onRemoved: () => void): DynamicModule {
    return {
      module: AppModule,
      providers: [
        { provide: OPTIONS, useValue: options },
        { provide: LOG, useValue: log },
        { provide: ON_REMOVED, useValue: onRemoved },
        ...PROVIDERS,
      ],
    };
  }

  async onApplicationBootstrap(): Promise<void> {
    this.#stops.push('etcd', () => this.opened.detach());
    this.#stops.push('store', () => this.opened.store.close());
    this.membership?.start();
    this.#stops.push('membership', () => this.membership?.stop());
    this.follower.start();
    this.#stops.push('follower', () => this.follower.stop());
    await this.follower.until(() => this.follower.current, FIRST_LOOK_MS, 'etcd');
    this.sessions.start();
    this.#stops.push('sessions', () => this.sessions.stop());
    this.#stops.push('node clients', () => this.clients.stop());
    this.#stops.push('controller clients', () => this.others.stop());
    this.recorder.start();
    this.#stops.push('recorder', () => this.recorder.stop());
    // Before leading: a second process on the same data directory fails here, at the port, and harms nothing.
    await this.servers.start();
    this.#stops.push('listeners', () => this.servers.stop());
    this.#stops.push('agent hub', () => this.hub.stop());
    this.leader.start();
    // Resigning needs the store, and comes before the listeners go: another replica leads while this one says goodbye.
    this.#stops.push('leader', () => this.leader.stop());
  }

  async beforeApplicationShutdown(): Promise<void> {
    for (const { name, error } of await this.#stops.stopAll()) this.log.warn({ name, error: String(error) }, 'could not stop a part');
  }
}
