/** What `ctl network connect` and `disconnect` write: a record each, which the reconciler obeys while the tasks run on. */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Connection, Network } from '#model/network.js';
import type { Attachment, Service, StackRecord } from '#model/stack.js';
import { checkFixed } from './check-addresses.js';
import { checkDriver } from './check-drivers.js';
import type { ClusterState } from './cluster-state.js';
import { connectionsOf, connectionsOfSlot, forget, isDeclaredOn, keyOfConnection } from './connections.js';
import { findNetwork } from './network-verbs.js';
import type { Compare, Write } from './transaction.js';

/** Who is connected: all tasks of a service, or the task of one slot. */
export interface ConnectionTarget {
  stack: string;
  service: string;
  slot?: number;
}

export interface ConnectionPlan {
  network: Network;
  compares: Compare[];
  writes: Write[];
}

const KEPT_INTERFACES: ReadonlySet<string> = new Set(['lo', 'all', 'default', 'weft0']);

const show = ({ stack, service, slot }: ConnectionTarget): string =>
  slot === undefined ? `service ${stack}/${service}` : `task ${slot} of ${stack}/${service}`;

/** @throws NOT_FOUND, CONFLICT, BAD_VALUE */
export function planConnect(state: ClusterState, target: ConnectionTarget, networkText: string, attachment: Attachment): ConnectionPlan {
  const { record, service } = find(state, target);
  const network = findNetwork(state, networkText);
  checkMode(target, service, network);
  checkAttachable(record, network);
  if (isConnected(state, record, target, network))
    throw new WeftError('CONFLICT', {
      what: `${show(target)} is on network ${network.name} already`,
      hint: `To connect it otherwise, \`ctl network disconnect ${network.name}\` comes first.`,
    });
  checkDriver(state, network, target.stack, service);
  checkInterface(state, record, target, attachment);
  checkFixed(state, { stack: target.stack, service, slot: target.slot }, network, attachment);
  return write(state, record, target, network, attachment);
}

/** @throws NOT_FOUND, CONFLICT */
export function planDisconnect(state: ClusterState, target: ConnectionTarget, networkText: string): ConnectionPlan {
  const { record, service } = find(state, target);
  const network = findNetwork(state, networkText);
  checkMode(target, service, network);
  if (!isConnected(state, record, target, network) && !someSlotIsOn(state, target, network))
    throw new WeftError('CONFLICT', {
      what: `${show(target)} is not on network ${network.name}`,
      hint: 'Look at `ctl ps` for the networks it is on.',
    });
  checkDoor(state, record, target, network);
  return write(state, record, target, network, undefined);
}

function find(state: ClusterState, target: ConnectionTarget): { record: StackRecord; service: Service } {
  const record = state.stacks.get(target.stack);
  const service = record?.spec.services[target.service];
  if (!record || record.removing || !service)
    throw new WeftError('NOT_FOUND', {
      what: `there is no service ${target.stack}/${target.service}`,
      why: record?.removing ? `stack ${target.stack} is being removed` : undefined,
      hint: 'List the services with `ctl ps`.',
    });
  return { record, service };
}

function checkMode(target: ConnectionTarget, { networkMode }: Service, network: Network): void {
  const mode = networkMode?.kind ?? 'networks';
  if (mode !== 'networks')
    throw new WeftError('CONFLICT', {
      what: `the networks of ${show(target)} cannot be changed`,
      why: `its network mode is ${mode}: it has no networks of its own`,
      hint: 'Take `network_mode` out of the file, and bring the stack up.',
    });
  if (network.discovery === false)
    throw new WeftError('CONFLICT', {
      what: `${show(target)} cannot be connected to ${network.name}`,
      why: 'the default bridge is for services with `network_mode: bridge`, and only that',
    });
}

/** A stack may do with its own networks as it likes; another's, and those of no stack, say whether they let others in. */
function checkAttachable({ spec }: StackRecord, network: Network): void {
  if (network.attachable || network.stack === spec.name || Object.values(spec.networks).some((w) => w.name === network.name)) return;
  throw new WeftError('CONFLICT', {
    what: `network ${network.name} is not attachable`,
    why: network.stack === '' ? 'it was made without --attachable' : `stack ${network.stack} declares it without \`attachable: true\``,
    hint: network.stack === '' ? 'Name it in the file as external.' : 'Say `attachable: true` there and bring that stack up.',
  });
}

function isConnected(state: ClusterState, { spec }: StackRecord, { stack, service, slot }: ConnectionTarget, network: Network): boolean {
  const said = connectionsOfSlot(state, stack, service, slot).filter((c) => c.networkId === network.id && (slot !== undefined || !c.slot));
  const last = said.at(-1);
  return last ? !last.off : isDeclaredOn(spec, service, network.name);
}

const someSlotIsOn = (state: ClusterState, target: ConnectionTarget, network: Network): boolean =>
  target.slot === undefined &&
  connectionsOf(state, target.stack).some((c) => c.service === target.service && c.networkId === network.id && !c.off);

/** An interface has one name, and a name one interface. */
function checkInterface(state: ClusterState, { spec }: StackRecord, target: ConnectionTarget, { interfaceName }: Attachment): void {
  if (interfaceName === undefined) return;
  const refuse = (why: string) => new WeftError('BAD_VALUE', { what: `the interface cannot be called ${interfaceName}`, why });
  if (KEPT_INTERFACES.has(interfaceName)) throw refuse('every task has an interface of that name');
  const inFile = Object.entries(spec.services[target.service]?.networks ?? {}).find(([, a]) => a.interfaceName === interfaceName);
  if (inFile) throw refuse(`network ${inFile[0]} of the service has that name for it`);
  const other = connectionsOf(state, target.stack).find(
    (c) => c.service === target.service && c.attachment.interfaceName === interfaceName,
  );
  if (other) throw refuse(`network ${state.networks.get(other.networkId)?.name ?? other.networkId} has that name for it`);
}

/** Ports come in by a network that is not internal: the last one stays. */
function checkDoor(state: ClusterState, { spec }: StackRecord, target: ConnectionTarget, network: Network): void {
  const service = spec.services[target.service];
  if (!service || service.ports.length === 0) return;
  const rest = new Set(Object.keys(service.networks).flatMap((key) => state.networkNames.get(spec.networks[key]?.name ?? '') ?? []));
  for (const c of connectionsOfSlot(state, target.stack, target.service, target.slot)) {
    if (c.slot !== undefined && target.slot === undefined) continue;
    if (c.off) rest.delete(c.networkId);
    else rest.add(c.networkId);
  }
  rest.delete(network.id);
  if ([...rest].some((id) => state.networks.get(id)?.internal === false)) return;
  throw new WeftError('CONFLICT', {
    what: `${show(target)} cannot leave network ${network.name}`,
    why: 'it publishes ports, and would be on no network that has a way in from outside',
    hint: 'Connect it to another network first, or take its ports out of the file.',
  });
}

/** Word of the whole service replaces what was said of its single tasks. Nothing is kept that says what the file says. */
function write(
  state: ClusterState,
  record: StackRecord,
  target: ConnectionTarget,
  network: Network,
  attachment: Attachment | undefined,
): ConnectionPlan {
  const said = connectionsOf(state, target.stack).filter((c) => c.service === target.service && c.networkId === network.id);
  const next: Connection = {
    ...target,
    networkId: network.id,
    ...(attachment ? {} : { off: true }),
    attachment: attachment ?? { aliases: [] },
  };
  const key = keyOfConnection(next);
  const replaced = said.filter((c) => target.slot === undefined || c.slot === target.slot);
  const wide = said.find((c) => c.slot === undefined);
  const without = target.slot !== undefined && wide ? !wide.off : isDeclaredOn(record.spec, target.service, network.name);
  const isPlain = attachment === undefined || (Object.keys(attachment).length === 1 && attachment.aliases.length === 0);
  const gone = forget(
    state,
    replaced.filter((c) => keyOfConnection(c) !== key),
  );
  const needless = isPlain && without === (attachment !== undefined);
  const stack = keys.stack(target.stack);
  const own: Write[] = !needless ? [{ put: key, value: encode(next) }] : state.revisionOf(key) > 0 ? [{ delete: key }] : [];
  return {
    network,
    compares: [
      { key: stack, modRevision: state.revisionOf(stack) },
      { key: keys.network(network.id), modRevision: state.revisionOf(keys.network(network.id)) },
      { key: keys.pool(), modRevision: state.revisionOf(keys.pool()) },
      { key, modRevision: state.revisionOf(key) },
      ...gone.compares,
    ],
    // Removing a network compares the pool: it cannot go unseen while somebody is connected to it.
    writes: [...own, ...gone.writes, { put: keys.pool(), value: encode(state.pool) }],
  };
}
