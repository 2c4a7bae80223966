/** Connections to other controllers, for what only the one that holds an agent's stream can do. */
import type { ControllerRecord } from '#model/cluster.js';
import { connect } from '#rpc/client.js';
import { ApiClient } from '#rpc/gen/weft/v1/api.js';
import type { Identity } from '#trust/identity.js';

export class ControllerClients {
  readonly #identity: Identity;
  readonly #clients = new Map<string, ApiClient>();

  constructor(identity: Identity) {
    this.#identity = identity;
  }

  /** @returns a client, and how to call it in messages */
  reach({ name, address, port }: ControllerRecord): { api: ApiClient; target: string } {
    const at = `${address}:${port}`;
    let api = this.#clients.get(at);
    if (!api) this.#clients.set(at, (api = connect(ApiClient, at, this.#identity, 'controller')));
    return { api, target: `controller ${name} (${at})` };
  }

  stop(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }
}
