/** The controllers: what a new one is told, how they are, and forgetting one. */
import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { ControllerRecord } from '#model/cluster.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { ClusterState } from '#planner/cluster-state.js';
import type {
  ControllerRow,
  EnlistRequest,
  EnlistResponse,
  ListControllersResponse,
  RemoveControllerRequest,
} from '#rpc/gen/weft/v1/api.js';
import { unary } from '#rpc/server.js';
import type { EtcdMember, EtcdMembers } from '#store/etcd-members.js';
import type { Store } from '#store/store.js';
import type { Ca } from '#trust/ca.js';
import type { Keyring } from '#trust/keyring.js';
import type { ClusterFollower } from '../cluster/follower.js';

/** What one member of etcd says of itself. */
export interface MemberHealth {
  isLeader: boolean;
  dbSizeBytes: number;
}

export interface ControllerCallTools {
  follower: ClusterFollower;
  store: Store;
  clock: Clock;
  ca: Ca;
  keyring: Keyring;
  /** The members of the controllers' own etcd; none where another was named. */
  members: EtcdMembers | undefined;
  /** Asks one member by its client URLs. @throws STORE */
  probe: (clientUrls: string[]) => Promise<MemberHealth>;
}

/** host:port of the API of every controller. */
export const apiAddresses = (state: ClusterState): string[] => [...state.controllers.values()].map(apiAddress);

const apiAddress = ({ address, port }: ControllerRecord): string => `${address}:${port}`;

export class ControllerCalls {
  readonly #tools: ControllerCallTools;

  constructor(tools: ControllerCallTools) {
    this.#tools = tools;
  }

  /** What other controllers may ask. */
  implementation(): UntypedServiceImplementation {
    return { enlist: unary<EnlistRequest, EnlistResponse>(['controller'], this.enlist) };
  }

  enlist = async (): Promise<EnlistResponse> => {
    const { follower, ca, keyring, members } = this.#tools;
    follower.requireCurrent();
    const all = members ? await members.list() : [];
    const etcdEndpoints = all.filter((m) => !m.isLearner).flatMap((m) => m.clientUrls);
    return { caKeyPem: ca.keyPem, caPem: ca.certPem, etcdEndpoints, secretKeys: keyring.toText() };
  };

  list = async (): Promise<ListControllersResponse> => {
    const { follower, members } = this.#tools;
    const { model } = follower;
    const all = members ? await members.list().catch((): EtcdMember[] | undefined => undefined) : [];
    const rows = [...model.controllers.values()].map(async (record): Promise<ControllerRow> => {
      const nodes = [...model.sessions.values()].filter((holder) => holder === record.id).length;
      const { id, name } = record;
      return { id, name, address: apiAddress(record), state: stateOf(model, id), nodes, ...(await this.#etcdOf(record, all)) };
    });
    return { controllers: (await Promise.all(rows)).sort((a, b) => (a.name < b.name ? -1 : 1)) };
  };

  async #etcdOf(record: ControllerRecord, all: readonly EtcdMember[] | undefined): Promise<Pick<ControllerRow, 'etcd' | 'etcdBytes'>> {
    const { etcdPeer } = record;
    if (etcdPeer === undefined) return { etcd: 'external', etcdBytes: 0 };
    if (!all) return { etcd: 'unreachable', etcdBytes: 0 };
    const member = all.find((m) => m.peerUrls.includes(etcdPeer));
    if (!member) return { etcd: 'missing', etcdBytes: 0 };
    const health = await this.#tools.probe(member.clientUrls).catch(() => undefined);
    if (!health) return { etcd: 'unreachable', etcdBytes: 0 };
    return { etcd: member.isLearner ? 'learner' : health.isLeader ? 'leader' : 'member', etcdBytes: health.dbSizeBytes };
  }

  /**
   * First its member of etcd, which may be refused, then its record; broken off in between, it can be done again. What is left
   * under its id keeps it from coming back with its old certificate.
   */
  remove = async ({ controller, force }: RemoveControllerRequest): Promise<Record<string, never>> => {
    const { follower, store, clock } = this.#tools;
    follower.requireCurrent();
    const record = this.#find(controller);
    if (follower.model.controllers.size === 1)
      throw new WeftError('CONFLICT', {
        what: `controller ${record.name} is the only one`,
        hint: 'Join another one first: `ctl controller token`.',
      });
    if (!force && follower.model.controllerSessions.has(record.id))
      throw new WeftError('CONFLICT', {
        what: `controller ${record.name} is alive`,
        why: 'a controller that is removed ends, and its member of etcd with it',
        hint: 'Stop it first, or use --force.',
      });
    await this.#removeMember(record);
    const result = await store.txn(
      [],
      [
        { put: keys.removedController(record.id), value: encode({ name: record.name, at: clock.now() }) },
        { delete: keys.controller(record.id) },
        { delete: keys.controllerSession(record.id) },
        { delete: keys.confirmation(record.id) },
      ],
    );
    await follower.reached(result.revision);
    return {};
  };

  async #removeMember({ name, etcdPeer }: ControllerRecord): Promise<void> {
    const { members } = this.#tools;
    if (!members || etcdPeer === undefined) return;
    const member = (await members.list()).find((m) => m.peerUrls.includes(etcdPeer));
    if (!member) return;
    try {
      await members.remove(member.id);
    } catch (error) {
      if (!(error instanceof WeftError) || error.code !== 'STORE') throw error;
      throw new WeftError('CONFLICT', {
        what: `controller ${name} cannot be removed`,
        why: `etcd refuses to lose its member (${error.why ?? error.what})`,
        hint: 'Bring the other controllers back first (`ctl controller ls`), then try again.',
        cause: error,
      });
    }
  }

  #find(nameOrId: string): ControllerRecord {
    const { controllers } = this.#tools.follower.model;
    const found = controllers.get(nameOrId) ?? [...controllers.values()].find((c) => c.name === nameOrId);
    if (found) return found;
    throw new WeftError('NOT_FOUND', {
      what: `there is no controller ${nameOrId.slice(0, 64)}`,
      hint: 'List the controllers with `ctl controller ls`.',
    });
  }
}

function stateOf(state: ClusterState, id: string): string {
  if (state.leader === id) return 'leader';
  return state.controllerSessions.has(id) ? 'follower' : 'away';
}
