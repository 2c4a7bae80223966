/** Named volumes: which node has each; made for stacks that call them external; removed with their data. */
import type { Clock } from '#base/clock.js';
import { messageOf, WeftError } from '#base/errors.js';
import { check, encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { checkName, GLOBAL_NAME_PATTERN } from '#model/names.js';
import { volumeRecordSchema } from '#model/volume.js';
import { usersOfVolume, volumeRows, volumesOf } from '#planner/volumes.js';
import { callUnary } from '#rpc/client.js';
import type {
  CreateVolumeRequest,
  CreateVolumeResponse,
  ListVolumesResponse,
  RemoveVolumeRequest,
  RemoveVolumeResponse,
} from '#rpc/gen/weft/v1/api.js';
import type { Store } from '#store/store.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { NodeClients } from './node-clients.js';

/** Much data takes a disk a while. */
const REMOVE_TIMEOUT_MS = 60_000;

export class VolumeCalls {
  readonly #follower: ClusterFollower;
  readonly #store: Store;
  readonly #clients: NodeClients;
  readonly #clock: Clock;

  constructor(follower: ClusterFollower, store: Store, clients: NodeClients, clock: Clock) {
    this.#follower = follower;
    this.#store = store;
    this.#clients = clients;
    this.#clock = clock;
  }

  list = async (): Promise<ListVolumesResponse> => ({ volumes: volumeRows(this.#follower.model) });

  create = async ({ name: text, labels }: CreateVolumeRequest): Promise<CreateVolumeResponse> => {
    const name = checkName(text, 'the volume', GLOBAL_NAME_PATTERN);
    const record = check(volumeRecordSchema, { name, stack: '', labels, createdAt: this.#clock.now() }, 'volume', 'BAD_VALUE');
    const key = keys.volume(name);
    const { ok, revision } = await this.#store.txn([{ key, exists: false }], [{ put: key, value: encode(record) }]);
    await this.#follower.reached(revision);
    if (!ok) throw new WeftError('CONFLICT', { what: `there is a volume ${name} already`, hint: 'List them with `ctl volume ls`.' });
    return {};
  };

  /** The data goes first: what is on record without data is seen, data that nothing is known of is not. */
  remove = async ({ name, force }: RemoveVolumeRequest): Promise<RemoveVolumeResponse> => {
    this.#follower.requireCurrent();
    const { model } = this.#follower;
    const key = keys.volume(name);
    const record = model.volumes.get(name);
    if (!record)
      throw new WeftError('NOT_FOUND', {
        what: `there is no volume ${JSON.stringify(name.slice(0, 128))}`,
        hint: 'List them with `ctl volume ls`.',
      });
    const users = [
      ...usersOfVolume(model, name),
      ...[...model.tasks.values()].filter((task) => volumesOf(task).includes(name)).map((t) => t.name),
    ];
    const isLost = record.nodeId !== undefined && !model.nodes.has(record.nodeId);
    // Given up for lost, it may be mounted anew: empty, and somebody has said so.
    if (users.length > 0 && !(force && isLost))
      throw new WeftError('CONFLICT', {
        what: `volume ${name} is in use`,
        why: `by ${users.join(', ')}`,
        hint: 'Take the stack down first.',
      });
    const revision = model.revisionOf(key);
    await this.#removeData(name, record.nodeId, force);
    const result = await this.#store.txn([{ key, modRevision: revision }], [{ delete: key }]);
    await this.#follower.reached(result.revision);
    if (!result.ok) throw new WeftError('CONFLICT', `volume ${name} was changed at the same time`);
    return {};
  };

  async #removeData(name: string, nodeId: string | undefined, force: boolean): Promise<void> {
    if (nodeId === undefined) return;
    const node = this.#follower.model.nodes.get(nodeId);
    try {
      if (!node) throw new WeftError('UNAVAILABLE', 'its node is not in the cluster any more');
      const { client, target } = this.#clients.reach(node);
      await callUnary(client, 'removeVolume', { name, force }, { target, timeoutMs: REMOVE_TIMEOUT_MS });
    } catch (error) {
      if (force) return;
      throw new WeftError('UNAVAILABLE', {
        what: `the data of volume ${name} cannot be deleted`,
        why: messageOf(error),
        hint: 'Bring the node back, or give the data up for lost with --force.',
      });
    }
  }
}
