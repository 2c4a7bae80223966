/** What calls have in common that ask the nodes of tasks. */
import type { Clock } from '#base/clock.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { NodeClients } from './node-clients.js';

export abstract class AskingCalls {
  protected readonly follower: ClusterFollower;
  protected readonly clients: NodeClients;
  protected readonly clock: Clock;

  constructor(follower: ClusterFollower, clients: NodeClients, clock: Clock) {
    this.follower = follower;
    this.clients = clients;
    this.clock = clock;
  }
}
