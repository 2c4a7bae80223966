/** What `ctl run` asks the cluster for: a service as one task that runs once. Pure. */
import { WeftError } from '#base/errors.js';
import type { Attachment, Service, Stack } from '#model/stack.js';

export interface OneOffWish {
  /** The service that it is made from. */
  of: string;
  /** Told apart from others by this: letters and digits. */
  mark: string;
  /** Of its container; `<stack>-<service>-run-<mark>` if left out. */
  name?: string | undefined;
  /** It goes once it has ended. */
  remove: boolean;
  /** Somebody will be attached to it. */
  attach: boolean;
  tty: boolean;
  stdin: boolean;
  /** Without the services that it depends on. */
  alone: boolean;
  /** Its service's names on the networks are its own, too. */
  aliases: boolean;
  /** The ports of the service, or none. */
  ports: boolean;
}

/** A service key has at most 63 characters. */
const MAX_KEY = 63;

export const oneOffKey = ({ of, mark }: Pick<OneOffWish, 'of' | 'mark'>): string => {
  const tail = `-run-${mark}`;
  return of.slice(0, MAX_KEY - tail.length) + tail;
};

/**
 * The stack of what has to be there: the one-off, and the services that it depends on.
 * @param stack of the service and what it depends on
 * @throws NOT_FOUND for a service that is not in the stack
 */
export function oneOffStack(stack: Stack, wish: OneOffWish): Stack {
  const service = stack.services[wish.of];
  if (!service) throw new WeftError('NOT_FOUND', `the file has no service ${wish.of}`);
  const key = oneOffKey(wish);
  const others = Object.entries(stack.services).filter(([name]) => name !== wish.of && !wish.alone);
  return { ...stack, services: { ...Object.fromEntries(others), [key]: oneOffOf(stack.name, service, key, wish) } };
}

function oneOffOf(stack: string, service: Service, key: string, wish: OneOffWish): Service {
  const { container } = service;
  const own = wish.name ?? `${stack}-${key}`;
  const dependsOn = Object.entries(service.dependsOn ?? {}).map(([name, dependency]) => [name, { ...dependency, restart: false }] as const);
  const { containerName: _, ...rest } = container;
  return {
    name: key,
    oneOff: { of: wish.of, ...(wish.remove ? { remove: true } : {}), ...(wish.attach ? { attach: true } : {}) },
    container: {
      ...rest,
      ...(own.length <= MAX_KEY ? { containerName: own } : {}),
      tty: wish.tty,
      stdinOpen: wish.stdin,
      labels: { ...container.labels, 'com.docker.compose.oneoff': 'True', 'com.docker.compose.service': wish.of },
    },
    replicas: 1,
    mode: 'replicated-job',
    restart: { condition: 'none' },
    // It is nobody's replica: no virtual address leads to it.
    endpointMode: 'dnsrr',
    networks: Object.fromEntries(Object.entries(service.networks).map(([network, a]) => [network, attachmentOf(a, wish)])),
    ports: wish.ports ? service.ports : [],
    ...kept(service),
    ...(wish.alone || dependsOn.length === 0 ? {} : { dependsOn: Object.fromEntries(dependsOn) }),
  };
}

/** Addresses that were given by hand are the service's. */
const attachmentOf = ({ aliases, interfaceName, gwPriority, priority }: Attachment, wish: OneOffWish): Attachment => ({
  aliases: wish.aliases ? [...aliases, wish.of] : [],
  ...(interfaceName === undefined ? {} : { interfaceName }),
  ...(gwPriority === undefined ? {} : { gwPriority }),
  ...(priority === undefined ? {} : { priority }),
});

/** What says where it may be, and whom it knows. */
function kept({ networkMode, links, placement, reservations, onPartition }: Service): Partial<Service> {
  return {
    ...(networkMode === undefined ? {} : { networkMode }),
    ...(links === undefined ? {} : { links }),
    ...(placement === undefined ? {} : { placement }),
    ...(reservations === undefined ? {} : { reservations }),
    ...(onPartition === undefined ? {} : { onPartition }),
  };
}

/** The flags of `ctl run` that are keys of the service. */
export interface Overrides {
  command: readonly string[];
  entrypoint?: string | undefined;
  env?: readonly string[] | undefined;
  label?: readonly string[] | undefined;
  user?: string | undefined;
  workdir?: string | undefined;
  volume?: readonly string[] | undefined;
  publish?: readonly string[] | undefined;
  capAdd?: readonly string[] | undefined;
  capDrop?: readonly string[] | undefined;
}

/** The same as a further compose file, so that it means what it means there. */
export function overrideText(service: string, overrides: Overrides): string {
  const { command, entrypoint, env = [], label = [], user, workdir, volume = [], publish = [], capAdd = [], capDrop = [] } = overrides;
  const lines: string[] = [];
  const put = (key: string, value: unknown, isGiven: boolean, tag = ''): void => {
    if (isGiven) lines.push(`    ${key}: ${tag}${asYaml(value)}`);
  };
  put('command', command, command.length > 0, '!override ');
  put('entrypoint', entrypoint === '' ? [] : entrypoint, entrypoint !== undefined, '!override ');
  put('environment', env, env.length > 0);
  put('labels', label, label.length > 0);
  put('user', user, user !== undefined);
  put('working_dir', workdir, workdir !== undefined);
  put('volumes', volume, volume.length > 0);
  put('ports', publish, publish.length > 0, '!override ');
  put('cap_add', capAdd, capAdd.length > 0);
  put('cap_drop', capDrop, capDrop.length > 0);
  return lines.length === 0 ? '' : `services:\n  ${asYaml(service)}:\n${lines.join('\n')}\n`;
}

/** JSON is YAML; what the shell has interpolated is not interpolated again. */
const asYaml = (value: unknown): string => JSON.stringify(value).replaceAll('$', '$$$$');
