/** What an `up` of a stack does: the steps a person reads, and the writes that make it so. The same object prints and runs. */
import { WeftError } from '#base/errors.js';
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import type { Connection } from '#model/network.js';
import type { Service, Stack, StackRecord } from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import { checkAddresses } from './check-addresses.js';
import { checkDrivers } from './check-drivers.js';
import { checkContainerNames } from './check-names.js';
import { checkPorts, choosePorts } from './check-ports.js';
import { serviceKey, type ClusterState } from './cluster-state.js';
import { connectionsOf, forget, keyOfConnection, saidAgain } from './connections.js';
import { referTo, resolveFiles } from './contents.js';
import { checkDependencies } from './dependencies.js';
import { dropped, planNetworks, type NetworksPlan } from './plan-networks.js';
import { keeping, leftBehind } from './orphans.js';
import type { PlanStep } from './plan-step.js';
import { mismatchOf, sift, unmetDemand } from './node-filters.js';
import { candidates } from './schedule.js';
import { changesInPlace, changesThatRecreate } from './service-changes.js';
import { isGlobal } from '#model/service-mode.js';
import { whyNowhere } from './service-slots.js';
import { sameValue } from './spec-hash.js';
import type { Compare, Write } from './transaction.js';
import { resolveVolumes } from './volumes.js';

export interface StackPlan {
  steps: PlanStep[];
  /** Services that ran and that the file no longer has; kept or removed, the steps say which. */
  orphans: string[];
  /** Services of the stack that were not asked for, and stay as they are. */
  kept: string[];
  /** Generation of the stored stack that this was planned against, 0 for none. */
  baseGeneration: number;
  /** Generation after it. */
  generation: number;
  /** The stack as it will be stored. */
  stack: Stack;
  compares: Compare[];
  /** None when all is as wanted. */
  writes: Write[];
}

/** What is done about services that run and are not in the wanted stack. */
export interface LeftBehind {
  /** They stay, as with docker compose; if left out they are removed. */
  keepOrphans?: boolean;
  /** In the file, and not asked for this time (profiles): they stay in any case, and are no orphans. */
  dormant?: readonly string[];
  /** In the stack that is asked for only because an earlier plan kept them. */
  kept?: readonly string[];
}

/**
 * @param newId makes ids for new networks
 * @param now milliseconds since the epoch
 * @throws PORT_TAKEN, SUBNET_CLASH, ADDRESSES_EXHAUSTED, NO_NODES, CONFLICT
 */
export function planStack(state: ClusterState, asked: Stack, newId: () => string, now: number, left: LeftBehind = {}): StackPlan {
  const { wanted, orphans, kept } = withLeftBehind(state, asked, left);
  const record = state.stacks.get(wanted.name);
  const stackKey = keys.stack(wanted.name);
  if (!record && state.revisionOf(stackKey) > 0) throw new WeftError('CORRUPT', `stack ${wanted.name} is stored, but cannot be read`);
  const stack = resolveVolumes(state, resolveFiles(state, choosePorts(state, keepDigests(wanted, record))));
  checkReferences(stack);
  checkDependencies(stack);
  checkNodes(state, stack);
  checkContainerNames(state, stack);
  checkPorts(state, stack);
  const networks = planNetworks(state, stack, newId, now);
  checkAddresses(state, { stack, networks: networks.networks, restarts: keptRestarts(stack, record), kept });
  checkDrivers(state, stack, networks.networks);
  const said = saidAgain(state, stack, record?.removing ?? false);
  const steps = [
    ...networks.steps,
    ...serviceSteps(stack, record, networks, said).map((s) => withStart(s, record, kept)),
    ...volumeSteps(stack, record),
  ];
  for (const step of steps) if (step.kind === 'service' && kept.has(step.name)) step.details.push(kept.get(step.name) ?? '');
  for (const step of steps) step.details.push(...nowhereOf(state, stack, step));
  const forgotten = forget(state, said);
  const moved = moveConnections(state, networks, said);
  const starts = Object.keys(record?.stopped ?? {}).some((name) => !kept.has(name));
  const changed = record === undefined || record.removing || starts || !sameValue(record.spec, stack);
  const generation = (record?.generation ?? 0) + (changed ? 1 : 0);
  const previous = previousOf(stack, record);
  const next: StackRecord = {
    spec: stack,
    generation,
    createdAt: record?.createdAt ?? now,
    updatedAt: now,
    removing: false,
    previous,
    stopped: keptStops(record, kept),
    restarts: keptRestarts(stack, record),
  };
  const ended = endedUpdates(state, stack, kept);
  const referring = referTo(state, stack, record);
  return {
    steps,
    orphans,
    kept: [...kept.keys()],
    baseGeneration: record?.generation ?? 0,
    generation,
    stack,
    compares: [
      { key: stackKey, modRevision: state.revisionOf(stackKey) },
      ...networks.compares,
      ...forgotten.compares,
      ...moved.compares,
      ...referring.compares,
    ],
    writes:
      changed || networks.writes.length > 0 || ended.length > 0 || said.length > 0
        ? [{ put: stackKey, value: encode(next) }, ...networks.writes, ...ended, ...forgotten.writes, ...moved.writes, ...referring.writes]
        : [],
  };
}

interface WithLeftBehind {
  wanted: Stack;
  orphans: string[];
  /** Services that stay although they were not asked for: why. */
  kept: Map<string, string>;
}

function withLeftBehind(state: ClusterState, asked: Stack, left: LeftBehind): WithLeftBehind {
  const { keepOrphans = false, dormant = [], kept: before = [] } = left;
  const record = state.stacks.get(asked.name);
  const running = record && !record.removing ? record.spec : undefined;
  const gone = leftBehind(asked, running);
  const oneOffs = gone.filter((name) => running?.services[name]?.oneOff);
  const orphans = gone.filter((name) => !dormant.includes(name) && !oneOffs.includes(name));
  const kept = new Map(gone.filter((name) => dormant.includes(name)).map((name) => [name, 'not asked for: its profiles are not active']));
  for (const name of oneOffs) kept.set(name, `a one-off task of ${running?.services[name]?.oneOff?.of ?? ''}`);
  if (keepOrphans) for (const name of orphans) kept.set(name, 'no longer in the file; --remove-orphans removes it');
  const wanted = running && kept.size > 0 ? keeping(asked, running, [...kept.keys()]) : asked;
  for (const name of before) if (asked.services[name] && running?.services[name]) kept.set(name, 'not asked for');
  return { wanted, orphans, kept };
}

/** What was not asked for is not started either. */
function keptStops(record: StackRecord | undefined, kept: ReadonlyMap<string, string>): StackRecord['stopped'] {
  const stays = Object.entries(record?.removing ? {} : (record?.stopped ?? {})).filter(([name]) => kept.has(name));
  return stays.length === 0 ? undefined : Object.fromEntries(stays);
}

/** Restarts count on, so that nothing is made anew because of them; how long they gave the tasks then is over. */
function keptRestarts(stack: Stack, record: StackRecord | undefined): StackRecord['restarts'] {
  const kept = Object.entries(record?.removing ? {} : (record?.restarts ?? {})).filter(([name]) => stack.services[name]);
  return kept.length === 0 ? undefined : Object.fromEntries(kept.map(([name, { graceMs: _, ...counts }]) => [name, counts]));
}

/** Services as they were before their last change that made new tasks. */
function previousOf(stack: Stack, record: StackRecord | undefined): StackRecord['previous'] {
  const previous: NonNullable<StackRecord['previous']> = {};
  for (const [name, service] of Object.entries(stack.services)) {
    const before = record?.removing ? undefined : record?.spec.services[name];
    const kept = before && changesThatRecreate(before, service).length > 0 ? before : record?.previous?.[name];
    if (kept) previous[name] = kept;
  }
  return Object.keys(previous).length > 0 ? previous : undefined;
}

/** Updates that were paused or rolled back: asked for again, they begin anew. */
const endedUpdates = (state: ClusterState, stack: Stack, kept: ReadonlyMap<string, string>): Write[] =>
  Object.keys(stack.services).flatMap((name) => {
    if (kept.has(name)) return [];
    const update = state.updates.get(serviceKey(stack.name, name));
    return update?.state === 'paused' || update?.state === 'rolled-back' ? [{ delete: keys.update(stack.name, name) }] : [];
  });

/** Who was connected to a network that is made anew is connected to the new one. */
function moveConnections(state: ClusterState, networks: NetworksPlan, said: readonly Connection[]): Pick<StackPlan, 'compares' | 'writes'> {
  const successors = new Map<string, string>();
  for (const key of networks.recreated) {
    const next = networks.networks.get(key);
    const before = state.networkNames.get(next?.name ?? '');
    if (next && before !== undefined) successors.set(before, next.id);
  }
  const all = [...state.connections.keys()].flatMap((stack) => connectionsOf(state, stack));
  const moving = all.filter((c) => successors.has(c.networkId) && !said.includes(c));
  const gone = forget(state, moving);
  const come = moving.map((c): Write => {
    const next = { ...c, networkId: successors.get(c.networkId) ?? c.networkId };
    return { put: keyOfConnection(next), value: encode(next) };
  });
  return { compares: gone.compares, writes: [...gone.writes, ...come] };
}

/** An `up` that asked nobody what a tag means keeps the digest it meant last time. */
function keepDigests(wanted: Stack, record: StackRecord | undefined): Stack {
  const services = Object.entries(wanted.services).map(([key, service]): [string, Service] => {
    const before = record?.spec.services[key]?.container;
    if (service.container.imageDigest !== undefined || before?.imageDigest === undefined || before.image !== service.container.image)
      return [key, service];
    return [key, { ...service, container: { ...service.container, imageDigest: before.imageDigest } }];
  });
  return { ...wanted, services: Object.fromEntries(services) };
}

function checkReferences(stack: Stack): void {
  for (const [key, service] of Object.entries(stack.services)) {
    if (service.name !== key) throw new WeftError('BAD_VALUE', `service ${key} calls itself ${service.name}`);
    for (const network of Object.keys(service.networks)) {
      if (!stack.networks[network])
        throw new WeftError('BAD_VALUE', `service ${key} is on network ${network}, which the stack does not declare`);
    }
  }
}

/** @throws NO_NODES if no node can ever run one of the services, or none is there now */
export function checkNodes(state: ClusterState, stack: Stack): void {
  const services = Object.values(stack.services).filter((s) => s.replicas > 0 && !isGlobal(s));
  for (const service of services) {
    const { able, explanation } = sift(state.nodes.values(), (node) => mismatchOf(state, node, service));
    if (able.length === 0 && state.nodes.size > 0)
      throw new WeftError('NO_NODES', {
        what: `no node of the cluster can ever run service ${service.name}`,
        why: explanation,
        path: ['services', service.name, ...unmetDemand(state, service)],
      });
  }
  if (services.length === 0) return;
  const { ready, explanation } = candidates(state);
  if (ready.length === 0) throw new WeftError('NO_NODES', { what: `stack ${stack.name} has nowhere to run`, why: explanation });
}

/** The steps of a change that leaves the networks as they are. */
export const stackChange = (stack: Stack, record: StackRecord): PlanStep[] => serviceSteps(stack, record, { recreated: new Set() }, []);

function serviceSteps(
  stack: Stack,
  record: StackRecord | undefined,
  networks: Pick<NetworksPlan, 'recreated'>,
  said: readonly Connection[],
): PlanStep[] {
  const before = record && !record.removing ? record.spec.services : {};
  const steps = Object.values(stack.services).map((service) => {
    const again = said.some((c) => c.service === service.name);
    return serviceStep(service, before[service.name], networks, again);
  });
  markDependents(stack, steps);
  for (const name of Object.keys(before)) {
    if (!stack.services[name]) steps.push({ action: 'remove', kind: 'service', name, details: ['no longer in the file'] });
  }
  return steps;
}

/** What a command stopped is started by an `up`. */
function withStart(step: PlanStep, record: StackRecord | undefined, kept: ReadonlyMap<string, string>): PlanStep {
  if (record?.removing || !record?.stopped?.[step.name] || kept.has(step.name)) return step;
  return { ...step, action: step.action === 'keep' ? 'change' : step.action, details: [...step.details, 'starts: it was stopped'] };
}

/** A global service may fit no node now and get its tasks later: no error, but nothing that a person wants to find out by waiting. */
function nowhereOf(state: ClusterState, stack: Stack, { kind, name, action }: PlanStep): string[] {
  const service = kind === 'service' && action !== 'remove' ? stack.services[name] : undefined;
  const why = service && whyNowhere(state, stack.name, service);
  return why === undefined ? [] : [why];
}

/** With `restart: true` a service is made anew when what it depends on is. */
function markDependents(stack: Stack, steps: PlanStep[]): void {
  const byName = new Map(steps.map((step) => [step.name, step]));
  const isRecreated = (name: string): boolean => {
    const step = byName.get(name);
    const cause = Object.entries(stack.services[name]?.dependsOn ?? {}).find(([other, d]) => d.restart && isRecreated(other));
    if (step && cause && (step.action === 'keep' || step.action === 'change')) {
      step.action = 'recreate';
      step.details.push(`${cause[0]}, which it depends on, changes`);
    }
    return step?.action === 'recreate';
  };
  for (const name of byName.keys()) isRecreated(name);
}

function serviceStep(service: Service, before: Service | undefined, networks: Pick<NetworksPlan, 'recreated'>, again: boolean): PlanStep {
  const step = { kind: 'service' as const, name: service.name };
  if (!before)
    return {
      ...step,
      action: 'create',
      details: [`${isGlobal(service) ? 'on every node that fits:' : `${service.replicas} ×`} ${service.container.image}`],
    };
  const deep = changesThatRecreate(before, service);
  const light = [
    ...changesInPlace(before, service),
    ...(again ? ['networks: as the file says, and not as `ctl network` said'] : []),
    ...Object.keys(service.networks)
      .filter((key) => networks.recreated.has(key))
      .map((key) => `moves to network ${key} made anew`),
  ];
  const action = deep.length > 0 ? 'recreate' : light.length > 0 ? 'change' : 'keep';
  return { ...step, action, details: [...deep, ...light] };
}

function volumeSteps(stack: Stack, record: StackRecord | undefined): PlanStep[] {
  const before = record && !record.removing ? record.spec.volumes : {};
  const steps = Object.values(stack.volumes).map((v): PlanStep => ({
    action: before[v.key] ? 'keep' : 'create',
    kind: 'volume',
    name: v.name,
    details: [],
  }));
  for (const v of Object.values(before)) {
    if (!stack.volumes[v.key])
      steps.push({ action: 'keep', kind: 'volume', name: v.name, details: ['no longer in the file; its data stays on the nodes'] });
  }
  return steps;
}

/** What `down` does: marks the stack; the leader stops its tasks, then removes networks and record. @throws NOT_FOUND */
export function planRemoval(state: ClusterState, name: string, now: number): Pick<StackPlan, 'steps' | 'compares' | 'writes'> {
  const record = state.stacks.get(name);
  if (!record) throw new WeftError('NOT_FOUND', { what: `there is no stack ${name}`, hint: 'List the stacks with `ctl ls`.' });
  const key = keys.stack(name);
  const steps: PlanStep[] = [
    ...Object.keys(record.spec.services).map((s): PlanStep => ({ action: 'remove', kind: 'service', name: s, details: [] })),
    ...Object.values(record.spec.networks).map((n) => networkRemoval(state, name, n)),
    ...Object.values(record.spec.volumes).map((v): PlanStep => ({
      action: 'keep',
      kind: 'volume',
      name: v.name,
      details: ['its data stays on the nodes'],
    })),
  ];
  if (record.removing) return { steps, compares: [], writes: [] };
  return {
    steps,
    compares: [{ key, modRevision: state.revisionOf(key) }],
    writes: [{ put: key, value: encode({ ...record, removing: true, updatedAt: now }) }, { deletePrefix: keys.connectionsOf(name) }],
  };
}

function networkRemoval(state: ClusterState, stack: string, wish: NetworkWish): PlanStep {
  const network = state.networks.get(state.networkNames.get(wish.name) ?? '');
  if (wish.external) return { action: 'keep', kind: 'network', name: wish.name, details: ['external'] };
  const step = network && dropped(state, network, stack);
  return step?.action === 'keep' ? step : { action: 'remove', kind: 'network', name: wish.name, details: [] };
}
