/**
 * Looks after our member of etcd: a learner is promoted once it is in sync, a member that has moved says so to the others, and
 * where the others are is known to the store and kept on disk.
 */
import type { Clock } from '#base/clock.js';
import { messageOf } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { Loop } from '#nest-kit/loop.js';
import type { EtcdMember, EtcdMembers } from '#store/etcd-members.js';
import { writeEndpoints } from '../etcd-endpoints.js';
import type { OwnMember } from '../open-store.js';

const LOOK_MS = 2_000;
const PROMOTE_AGAIN_MS = 300;

export interface MembershipTools {
  own: OwnMember;
  members: EtcdMembers;
  dataDir: string;
  log: Log;
  clock: Clock;
}

export class EtcdMembership {
  readonly #tools: MembershipTools;
  readonly #stop = new AbortController();
  readonly #loop: Loop;
  #running: Promise<void> | undefined;
  #voters = 0;
  #kept: string | undefined;

  constructor(tools: MembershipTools) {
    this.#tools = tools;
    this.#loop = new Loop({ name: 'etcd members', log: tools.log, clock: tools.clock, tick: () => this.#look() });
  }

  start(): void {
    this.#running = this.#loop.run(this.#stop.signal);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** @returns when to look again, in milliseconds */
  async #look(): Promise<number> {
    const { own, members, log } = this.#tools;
    const all = await members.list();
    const mine = all.find((m) => m.peerUrls.includes(own.peerUrl));
    const [only] = all;
    if (!mine && only && all.length === 1) {
      await members.move(only.id, [own.peerUrl]);
      log.info({ member: only.id, peer: own.peerUrl }, 'our member of etcd has moved');
      return PROMOTE_AGAIN_MS;
    }
    await this.#learnEndpoints(all, mine);
    this.#countVoters(all);
    if (!mine?.isLearner) return LOOK_MS;
    const error = await members.promote(mine.id).then(() => undefined, messageOf);
    if (error === undefined) log.info({ member: mine.id }, 'our member of etcd has a vote now');
    else log.debug({ reason: error }, 'our member of etcd still learns');
    return PROMOTE_AGAIN_MS;
  }

  /** A learner answers nothing, so ours comes last while it is one, and those of others not at all. */
  async #learnEndpoints(all: readonly EtcdMember[], mine: EtcdMember | undefined): Promise<void> {
    const { own, members, dataDir } = this.#tools;
    const others = all.filter((m) => m !== mine && !m.isLearner).flatMap((m) => m.clientUrls);
    members.useEndpoints(mine?.isLearner && others.length > 0 ? [...others, own.clientUrl] : [own.clientUrl, ...others]);
    const text = others.join(',');
    if (this.#kept === text) return;
    await writeEndpoints(dataDir, others);
    this.#kept = text;
  }

  #countVoters(all: readonly EtcdMember[]): void {
    const voters = all.filter((m) => !m.isLearner).length;
    if (voters === this.#voters) return;
    this.#voters = voters;
    const { log } = this.#tools;
    if (voters % 2 === 0) log.warn({ voters }, 'an even number of etcd members survives no more losses than one fewer: add a controller');
    else log.info({ voters }, 'the members of etcd');
  }
}
