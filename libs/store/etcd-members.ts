/**
 * The members of an etcd cluster, and changing them. A new one comes as a learner, which gets all data and has no vote, and is
 * promoted when it is in sync: so a member that never starts costs no quorum (etcd, "Learner design").
 */

export interface EtcdMember {
  /** Hexadecimal. */
  id: string;
  /** Empty until it was started for the first time. */
  name: string;
  peerUrls: string[];
  /** Empty until it was started for the first time. */
  clientUrls: string[];
  isLearner: boolean;
}

export interface EtcdMembers {
  /** As the member that is asked knows them. @throws STORE, OUTCOME_UNKNOWN */
  list(): Promise<EtcdMember[]>;
  /** @returns all members. @throws STORE when it is one already, or another change is under way; OUTCOME_UNKNOWN */
  addLearner(peerUrl: string): Promise<EtcdMember[]>;
  /** @throws STORE while the learner is not in sync; OUTCOME_UNKNOWN */
  promote(id: string): Promise<void>;
  /** Gives a member other peer URLs. @throws STORE, OUTCOME_UNKNOWN */
  move(id: string, peerUrls: readonly string[]): Promise<void>;
  /** @throws STORE when the others would lose their quorum; OUTCOME_UNKNOWN */
  remove(id: string): Promise<void>;
  /** What the store speaks to from now on, the preferred first; the endpoint in use stays while it works. */
  useEndpoints(endpoints: readonly string[]): void;
}

/**
 * `--initial-cluster` of a member that joins: every member that there is, itself under its name. What the others are called
 * there does not matter: etcd knows them by their peer URLs.
 */
export function initialCluster(members: readonly EtcdMember[], own: { name: string; peerUrl: string }): string {
  return members.flatMap((m) => m.peerUrls.map((url) => `${url === own.peerUrl ? own.name : m.id}=${url}`)).join(',');
}
