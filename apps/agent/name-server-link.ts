/** The agent's handle on its name server: a process that is always there, and `set` over a connection made when needed. */
import { join } from 'node:path';
import type { Log } from '#base/log.js';
import type { NameConfig } from '#dns/name-config.js';
import { connectNameServer, type NameServerClient } from '#dns-server/control-client.js';
import { ensureCompanion, type Companion, type CompanionUp } from './companion.js';

/** A small heap and few threads: it runs on every node, beside everything else. */
export const NODE_FLAGS = ['--max-semi-space-size=2', '--v8-pool-size=1'];

export interface NameServerOptions {
  /** The compiled `name-server/main.js`. */
  mainPath: string;
  /** Control socket. */
  control: string;
  /** Directory of its state, pid file and own log. */
  state: string;
  log: Log;
  /** Called each time the name server is up. */
  onUp: (up: CompanionUp) => void;
}

export interface NameServerLink {
  /** @throws UNAVAILABLE, TIMEOUT, BAD_VALUE */
  set(config: NameConfig): Promise<void>;
  /** Ids of the networks it serves → whether it listens there. @throws UNAVAILABLE, TIMEOUT */
  listening(): Promise<ReadonlyMap<string, boolean>>;
  /** Lets go of it; it lives on. */
  stop(): Promise<void>;
}

/** Adopts the running name server or starts one, and keeps it running. @throws UNAVAILABLE when it does not come up */
export async function ensureNameServer(options: NameServerOptions): Promise<NameServerLink> {
  const { mainPath, control, state, log, onUp } = options;
  const companion: Companion = await ensureCompanion({
    name: 'name server',
    argv: [process.execPath, ...NODE_FLAGS, mainPath, '--control', control, '--state', join(state, 'names.json')],
    control,
    pidFile: join(state, 'name-server.pid'),
    logFile: join(state, 'name-server.log'),
    log,
    onUp,
  });
  let client: NameServerClient | undefined;
  const connected = async (): Promise<NameServerClient> => {
    if (client) return client;
    const fresh = await connectNameServer(control);
    client = fresh;
    void fresh.closed.then(() => {
      if (client === fresh) client = undefined;
    });
    return fresh;
  };
  return {
    set: async (config) => (await connected()).set(config),
    async listening() {
      const { networks } = await (await connected()).status();
      return new Map(networks.map(({ id, udp, tcp }) => [id, udp && tcp]));
    },
    async stop() {
      client?.close();
      await companion.stop();
    },
  };
}
