/**
 * Services that run and are not in the file any more ("orphans"), or that this `up` did not ask for (profiles). As with docker
 * compose they stay, with the networks and volumes that they use, unless the user says otherwise.
 */
import type { Service, Stack } from '#model/stack.js';

/** Names of services that run and are not wanted, in order. */
export function leftBehind(wanted: Stack, running: Stack | undefined): string[] {
  return Object.keys(running?.services ?? {})
    .filter((name) => !wanted.services[name])
    .sort();
}

/** The stack with these services of the running one, as they run. */
export function keeping(wanted: Stack, running: Stack, names: readonly string[]): Stack {
  const services = Object.fromEntries(
    names.flatMap((name) => {
      const service = running.services[name];
      return service ? [[name, onWantedNetworks(service, wanted, running)]] : [];
    }),
  );
  const kept = Object.values(services);
  const networks = Object.entries(running.networks).filter(([key]) => kept.some((service) => service.networks[key]));
  const mounted = new Set(kept.flatMap((service) => service.container.mounts.flatMap((m) => (m.type === 'volume' ? [m.source] : []))));
  const volumes = Object.entries(running.volumes).filter(([, volume]) => mounted.has(volume.name));
  return {
    ...wanted,
    ...contents('config', 'configs', kept, wanted, running),
    ...contents('secret', 'secrets', kept, wanted, running),
    services: { ...wanted.services, ...services },
    networks: { ...Object.fromEntries(networks), ...wanted.networks },
    volumes: { ...Object.fromEntries(volumes), ...wanted.volumes },
  };
}

/** What the file declares, and what else the kept services have as files. */
function contents(
  kind: 'config' | 'secret',
  section: 'configs' | 'secrets',
  kept: readonly Service[],
  wanted: Stack,
  running: Stack,
): Partial<Stack> {
  const used = new Set(kept.flatMap(({ container }) => (container.files ?? []).flatMap((f) => (f.kind === kind ? [f.source] : []))));
  const more = Object.entries(running[section] ?? {}).filter(([key]) => used.has(key));
  return more.length > 0 ? { [section]: { ...Object.fromEntries(more), ...wanted[section] } } : {};
}

/** A network that got another key in the file is the same network. */
function onWantedNetworks(service: Service, wanted: Stack, running: Stack): Service {
  const networks = Object.entries(service.networks).map(([key, attachment]) => {
    const name = running.networks[key]?.name;
    const successor = wanted.networks[key] ? undefined : Object.values(wanted.networks).find((network) => network.name === name);
    return [successor?.key ?? key, attachment];
  });
  return { ...service, networks: Object.fromEntries(networks) };
}
