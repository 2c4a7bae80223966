/** The name server and the port proxy: companions that the agent speaks to once they are up, and does not wait for. */
import { messageOf, WeftError } from '#base/errors.js';
import { untilItWorks } from '#base/retry.js';
import type { NameConfig } from '#dns/name-config.js';
import type { AgentBase } from './agent-parts.js';
import { NamesLoop } from './loops/names.js';
import type { NameServerLink } from './name-server-link.js';
import { namesConfig } from './names-config.js';
import { PortKeeper } from './port-keeper.js';
import type { PortProxyLink } from './port-proxy/link.js';
import { Resolvers } from './resolvers.js';
import { followUpstreams } from './upstreams.js';

/** Follows the host's name servers and the view; speaks to the name server as soon as there is one. */
export async function startNames({ options, parts, stops, nodeId, store, late, takenOut }: AgentBase): Promise<void> {
  const { clock, log } = parts;
  let upstreams: string[] = [];
  let link: NameServerLink | undefined;
  const server = (): NameServerLink => {
    if (!link) throw new WeftError('UNAVAILABLE', 'the name server is not up yet');
    return link;
  };
  const names = new NamesLoop<NameConfig>({
    store,
    configOf: () => namesConfig(store.byKind, nodeId, upstreams),
    set: async (config) => server().set(config),
    // A node that knows nothing tells nothing: the name server keeps what it had.
    isKnown: () => store.isKnown,
    onTold: () => takenOut.advanced(),
    log,
  });
  late.names = names;
  const resolvers = new Resolvers({
    wanted: () => store.view.revision,
    told: () => names.toldRevision,
    listening: async () => server().listening(),
    clock,
    log,
  });
  late.resolvers = resolvers;
  const cameUp = () => {
    names.cameUp();
    resolvers.forget();
  };
  const follow = (servers: string[]) => {
    upstreams = servers;
    names.kick();
  };
  stops.push('upstreams', await followUpstreams(options.resolvConf, follow));
  const stopping = new AbortController();
  stops.push('names', () => {
    stopping.abort();
    names.stop();
  });
  const opening = untilItWorks('the name server', () => parts.openNameServer(cameUp), {
    clock,
    log,
    signal: stopping.signal,
  });
  const opened = opening.then(
    async (up) => {
      link = up;
      stops.push('name server', () => up.stop());
      if (stopping.signal.aborted) await up.stop();
      else names.start();
    },
    () => undefined,
  );
  opened.catch((error: unknown) => log.warn({ error: messageOf(error) }, 'the name server could not be let go'));
}

/** Published ports wait for the port proxy a moment, and are opened without it if it does not come. */
export function startPorts({ parts, stops, nodeId, late }: AgentBase, signal: AbortSignal): void {
  const { openPortProxy, listening = () => Promise.resolve([]), clock, log } = parts;
  if (!openPortProxy) return;
  const keeper = new PortKeeper({
    nodeId,
    listening,
    onChange: () => late.network?.kick(),
    onFindings: () => late.hub?.factsChanged(),
    log,
  });
  late.ports = keeper;
  const stopping = new AbortController();
  let isUp = false;
  let link: PortProxyLink | undefined;
  const use = () => link && isUp && keeper.use((doors) => link?.set(doors) ?? Promise.resolve([]));
  const onUp = () => {
    isUp = true;
    use();
  };
  stops.push('ports', async () => {
    stopping.abort();
    keeper.stop();
    await link?.stop();
  });
  const context = { clock, log, signal: AbortSignal.any([signal, stopping.signal]) };
  void untilItWorks('the port proxy', () => openPortProxy(onUp), context).then(
    async (opened) => {
      link = opened;
      if (stopping.signal.aborted) await link.stop();
      else use();
    },
    () => undefined,
  );
}
