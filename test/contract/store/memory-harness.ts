import { MemoryEtcd } from '#store/memory-etcd.js';
import { MemoryStore } from '#store/memory-store.js';
import type { Harness } from './harness.js';
import { FAST } from './harness.js';

export async function memoryHarness(): Promise<Harness> {
  const server = new MemoryEtcd();
  const stores: MemoryStore[] = [];
  return {
    open: async ({ timing = FAST, clock = server.clock } = {}) => {
      const store = new MemoryStore(server, { timing, clock });
      stores.push(store);
      return store;
    },
    kill: async () => server.kill(),
    restart: async () => server.restart(),
    freeze: async () => server.freeze(),
    thaw: async () => server.thaw(),
    compact: async () => server.compact(),
    empty: async (options) => server.empty(options),
    stop: async () => {
      for (const store of stores) await store.close();
      server.close();
    },
  };
}
