/** The listeners of the controller: gRPC for agents and users (mTLS), gRPC for joining (TLS), HTTP health on loopback. */
import type { Clock } from '#base/clock.js';
import { StopStack } from '#base/dispose.js';
import type { Log } from '#base/log.js';
import { startHealth } from '#nest-kit/health.js';
import { AgentHubService, type FetchContentRequest, type FetchContentResponse } from '#rpc/gen/weft/v1/agent_hub.js';
import { ApiService, ControllersService, JoinService, type ImageTransfer } from '#rpc/gen/weft/v1/api.js';
import { bidi, serverStream, startServer } from '#rpc/server.js';
import { probe } from '#store/etcd-child.js';
import type { EtcdMembers } from '#store/etcd-members.js';
import { clientOptions } from '#store/etcd-process.js';
import type { Store } from '#store/store.js';
import type { AgentHub } from './api/agent-hub.js';
import { apiImplementation } from './api/api-service.js';
import { ControllerCalls, type MemberHealth } from './api/controller-calls.js';
import type { ControllerClients } from './api/controller-clients.js';
import { CopyCalls } from './api/copy-calls.js';
import { EventCalls } from './api/event-calls.js';
import { ExecCalls } from './api/exec-calls.js';
import { FileCalls } from './api/file-calls.js';
import { ImageCalls } from './api/image-calls.js';
import { JoinCalls } from './api/join-service.js';
import { LogCalls } from './api/log-calls.js';
import { NodeCalls } from './api/node-calls.js';
import type { NodeClients } from './api/node-clients.js';
import { NetworkCalls } from './api/network-calls.js';
import { TraceCalls } from './api/trace-calls.js';
import { TaskCalls } from './api/task-calls.js';
import { RebalanceCalls } from './api/rebalance-calls.js';
import { StackCalls } from './api/stack-calls.js';
import { VolumeCalls } from './api/volume-calls.js';
import { TransferCalls } from './api/transfer-calls.js';
import type { ClusterFollower } from './cluster/follower.js';
import { ContentStore } from './contents/content-store.js';
import { healthChecks } from './health-checks.js';
import type { ControllerOptions } from './options.js';
import type { Pki } from './pki.js';

export interface ServerTools {
  options: ControllerOptions;
  pki: Pki;
  store: Store;
  follower: ClusterFollower;
  hub: AgentHub;
  clients: NodeClients;
  others: ControllerClients;
  /** Of the controllers' own etcd. */
  members: EtcdMembers | undefined;
  log: Log;
  clock: Clock;
}

export class Servers {
  readonly #tools: ServerTools;
  readonly #stops = new StopStack();

  constructor(tools: ServerTools) {
    this.#tools = tools;
  }

  /** @throws UNAVAILABLE when a port cannot be bound */
  async start(): Promise<void> {
    const { options, pki, store, follower, log } = this.#tools;
    const health = await startHealth({ address: '127.0.0.1', port: options.healthPort, checks: healthChecks(store, follower) });
    this.#stops.push('health', () => health.stop());
    const { identity } = pki;
    const main = await startServer({ address: options.listen, port: options.port, identity, services: this.#services() });
    this.#stops.push('api', () => main.stop());
    const join = await startServer({
      address: options.listen,
      port: options.joinPort,
      joinOnly: true,
      // With the CA in the chain: a joiner knows it by the digest in its token.
      identity: { ...identity, certPem: identity.certPem + identity.caPem },
      services: [{ definition: JoinService, implementation: new JoinCalls({ ...this.#tools, ca: pki.ca }).implementation() }],
    });
    this.#stops.push('join', () => join.stop());
    log.info(
      { api: `${options.listen}:${main.port}`, join: `${options.listen}:${join.port}`, health: `127.0.0.1:${health.port}` },
      'listening',
    );
  }

  async stop(): Promise<void> {
    for (const { name, error } of await this.#stops.stopAll())
      this.#tools.log.warn({ name, error: String(error) }, 'could not stop a listener');
  }

  #services() {
    const { options, pki, store, members, follower, hub, clients, others, log, clock } = this.#tools;
    const joinAddress = () => `${options.advertise}:${options.joinPort}`;
    const transfers = new TransferCalls(follower, clients);
    const fetchImage = bidi<ImageTransfer, ImageTransfer>(['node'], (requests, peer, signal) => transfers.fetch(requests, peer.id, signal));
    const contents = new ContentStore({ follower, store, keyring: pki.keyring, clock });
    const files = new FileCalls(follower, store, contents, clock);
    const fetchContent = serverStream<FetchContentRequest, FetchContentResponse>(['node'], (request, peer) =>
      files.fetch(request, peer.id),
    );
    const controllers = new ControllerCalls({
      follower,
      store,
      clock,
      ca: pki.ca,
      keyring: pki.keyring,
      members,
      probe: (urls) => probeMember(urls, pki),
    });
    const implementation = apiImplementation({
      controllers,
      follower,
      stacks: new StackCalls(follower, store, clients, clock),
      rebalance: new RebalanceCalls(follower, store, clock),
      files,
      volumes: new VolumeCalls(follower, store, clients, clock),
      networks: new NetworkCalls(follower, store, clients, clock),
      trace: new TraceCalls(follower, clients, clock),
      nodes: new NodeCalls({ follower, store, clock, hub, others, ca: pki.ca, joinAddress }),
      images: new ImageCalls(follower, clients),
      transfers,
      logs: new LogCalls(follower, clients, clock),
      exec: new ExecCalls(follower, clients, log),
      copy: new CopyCalls(follower, clients, log),
      tasks: new TaskCalls(follower, clients, clock),
      events: new EventCalls(follower, clock),
    });
    return [
      { definition: ApiService, implementation },
      { definition: ControllersService, implementation: controllers.implementation() },
      { definition: AgentHubService, implementation: { attach: hub.attach, fetchImage, fetchContent } },
    ];
  }
}

/** @throws STORE when the member does not answer */
async function probeMember(endpoints: string[], pki: Pki): Promise<MemberHealth> {
  const { credentials } = clientOptions({ clientUrl: '', tls: pki.etcd });
  const { memberId, leaderId, dbSizeBytes } = await probe({ endpoints, credentials });
  return { isLeader: memberId === leaderId, dbSizeBytes };
}
