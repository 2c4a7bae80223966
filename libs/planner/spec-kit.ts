/**
 * For tests: a cluster without etcd. It keeps entries and revisions as etcd does (compares, one revision a transaction, no
 * key twice in one), and feeds a read model.
 */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { nodeFactsSchema, type Node, type NodeFacts } from '#model/node.js';
import { stackSchema, type Stack } from '#model/stack.js';
import type { TaskState, TaskStatus } from '#model/task.js';
import { planServices } from './plan-services.js';
import { planStack, type StackPlan } from './plan-stack.js';
import { planRebalance, type RebalancePlan } from './rebalance.js';
import { ReadModel } from './read-model.js';
import { packUnits, type Compare, type Unit, type Write } from './transaction.js';

interface Stored {
  value: string;
  createRevision: number;
  modRevision: number;
}

export class World {
  readonly entries = new Map<string, Stored>();
  readonly model = new ReadModel();
  revision = 1;
  now = 1_000_000;
  #ids = 0;

  constructor(nodes: readonly string[] = [], subnetPrefix = 24) {
    this.model.apply({ type: 'snapshot', clusterId: 'e1', revision: 1, entries: [] });
    const cluster = { id: 'c0ffee00', createdAt: 0, pools: ['10.128.0.0/9'], subnetPrefix, vxlanPort: 4789 };
    this.write({ put: keys.cluster(), value: encode(cluster) });
    for (const name of nodes) this.addNode(name);
  }

  /** Told the keys that a transaction changed. */
  onChange: (keys: readonly string[] | undefined) => void = () => undefined;

  newId = (): string => (++this.#ids).toString(16).padStart(8, '0').padEnd(16, '0');

  /** Applies as etcd would. @returns whether the comparisons held */
  txn(compares: readonly Compare[], writes: readonly Write[]): boolean {
    if (compares.length > 128 || writes.length > 128) throw new Error('too many operations');
    if (!compares.every((c) => this.#holds(c))) return false;
    const revision = ++this.revision;
    const touched = new Set<string>();
    const puts: { key: string; value: string; modRevision: number }[] = [];
    const deletes: { key: string }[] = [];
    const touch = (key: string) => {
      if (touched.has(key)) throw new Error(`etcd: duplicate key given in txn request: ${key}`);
      touched.add(key);
    };
    for (const write of writes) {
      if ('put' in write) {
        touch(write.put);
        const createRevision = this.entries.get(write.put)?.createRevision ?? revision;
        this.entries.set(write.put, { value: write.value, createRevision, modRevision: revision });
        puts.push({ key: write.put, value: write.value, modRevision: revision });
        continue;
      }
      const gone = 'delete' in write ? [write.delete] : [...this.entries.keys()].filter((k) => k.startsWith(write.deletePrefix));
      for (const key of gone) {
        touch(key);
        if (this.entries.delete(key)) deletes.push({ key });
      }
    }
    this.onChange(this.model.apply({ type: 'changes', revision, puts, deletes }).keys);
    return true;
  }

  write(...writes: Write[]): void {
    this.txn([], writes);
  }

  /** Applies units as the leader does; gives how many of them took effect. */
  apply(units: readonly Unit[]): number {
    let done = 0;
    for (const pack of packUnits(units)) {
      if (this.txn(pack.compares, pack.writes)) done += pack.parts.length;
      else for (const unit of pack.parts) done += this.txn(unit.compares, unit.writes) ? 1 : 0;
    }
    return done;
  }

  addNode(name: string, facts: Partial<NodeFacts> = {}): string {
    const id = this.newId();
    const index = this.model.nodes.size + 1;
    this.write(
      { put: keys.node(id), value: encode({ id, name, address: `192.0.2.${index}`, index, labels: {}, createdAt: 0 }) },
      { put: keys.nodeSession(id), value: 'k' },
      { put: keys.nodeState(id), value: encode({ nodeId: id, state: 'ready', since: 0 }) },
      { put: keys.nodeFacts(id), value: encode(nodeFactsSchema.parse({ nodeId: id, hostname: name, at: 0, ...facts })) },
    );
    return id;
  }

  nodeId(name: string): string {
    return [...this.model.nodes.values()].find((n) => n.name === name)?.id ?? '';
  }

  setNodeState(name: string, state: 'ready' | 'down'): void {
    const nodeId = this.nodeId(name);
    const session = keys.nodeSession(nodeId);
    this.write(state === 'down' ? { delete: session } : { put: session, value: 'k' }, {
      put: keys.nodeState(nodeId),
      value: encode({ nodeId, state, since: this.now }),
    });
  }

  /** As the API writes it. */
  changeNode(name: string, change: Partial<Node>): void {
    const node = this.model.nodes.get(this.nodeId(name));
    if (node) this.write({ put: keys.node(node.id), value: encode({ ...node, ...change }) });
  }

  setFacts(name: string, facts: Partial<NodeFacts>): void {
    const nodeId = this.nodeId(name);
    this.write({ put: keys.nodeFacts(nodeId), value: encode(nodeFactsSchema.parse({ nodeId, hostname: name, at: 0, ...facts })) });
  }

  /** @throws as planStack does */
  up(stack: Stack): StackPlan {
    const plan = planStack(this.model, stack, this.newId, this.now);
    if (plan.writes.length > 0 && !this.txn(plan.compares, plan.writes)) throw new Error('the plan was refused');
    return plan;
  }

  /** As `ctl rebalance` does. */
  rebalance(stack?: string, services?: readonly string[]): RebalancePlan {
    const plan = planRebalance(this.model, stack, services);
    this.apply(plan.units);
    return plan;
  }

  tick(): number {
    this.#confirm();
    return this.apply(planServices(this.model, this.newId, this.now).units);
  }

  /** All nodes are up to date, and say so where somebody waits for it. */
  #confirm(): void {
    if (this.model.draining.size === 0) return;
    const nodes = Object.fromEntries([...this.model.nodes.values()].map(({ index }) => [String(index), this.revision]));
    this.write({ put: keys.confirmation('k'), value: encode({ nodes }) });
  }

  /** Lets the time pass that the leader waits for. @returns whether it waits */
  #passTime(): boolean {
    const { againMs } = planServices(this.model, this.newId, this.now);
    this.now += againMs ?? 0;
    return againMs !== undefined;
  }

  report(taskId: string, state: TaskState, more: Partial<TaskStatus> = {}): void {
    const nodeId = this.model.tasks.get(taskId)?.nodeId ?? '';
    this.write({ put: keys.taskStatus(taskId), value: encode({ taskId, nodeId, state, message: '', restarts: 0, at: this.now, ...more }) });
  }

  /** Every agent that is not dead does as it is told, the leader reconciles, until nothing changes. */
  settle(): void {
    for (let i = 0; i < 200; i++) {
      let changed = this.tick() > 0;
      for (const task of this.model.tasks.values()) {
        const state: TaskState = task.desired === 'stop' ? 'stopped' : 'running';
        if (this.model.statuses.get(task.id)?.state === state || this.model.nodeStates.get(task.nodeId)?.state === 'down') continue;
        this.report(task.id, state);
        changed = true;
      }
      if (!changed && !this.#passTime()) return;
    }
    throw new Error('it does not settle');
  }

  #holds(compare: Compare): boolean {
    const entry = this.entries.get(compare.key);
    if ('exists' in compare) return (entry !== undefined) === compare.exists;
    if ('createRevision' in compare) return (entry?.createRevision ?? 0) === compare.createRevision;
    return (entry?.modRevision ?? 0) === compare.modRevision;
  }
}

/** A stack with the network `default` and services by name → replicas or parts. */
export function stackOf(
  name: string,
  services: Record<string, number | Record<string, unknown>>,
  more: Record<string, unknown> = {},
): Stack {
  return stackSchema.parse({
    name,
    networks: { default: { key: 'default', name: `${name}_default` } },
    services: Object.fromEntries(
      Object.entries(services).map(([service, value]) => [
        service,
        {
          name: service,
          container: { image: 'busybox' },
          networks: { default: {} },
          ...(typeof value === 'number' ? { replicas: value } : value),
        },
      ]),
    ),
    ...more,
  });
}
