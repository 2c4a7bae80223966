/**
 * Scheduling alone, without etcd: placements a second in a large cluster, and what a pass costs in which one service among
 * many has changed. Run on what `npm run build` made.
 */
import { encode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { nodeFactsSchema } from '#model/node.js';
import { stackSchema } from '#model/stack.js';
import { ReadModel } from '#planner/read-model.js';
import { ServicesPlanner } from '#planner/services-planner.js';
import { median } from './lab.mjs';

const NODES = 5_000;
const PLACEMENTS = 20_000;
const SERVICES = 10_000;
const SERVICES_A_STACK = 20;
const CHANGES = 25;
/** Every second node has it: what is preferred costs something only where it differs. */
const IMAGE = { image: 'busybox', imageDigest: `sha256:${'ab'.repeat(32)}` };

/** A model without etcd: every write is a revision. */
class Cluster {
  model = new ReadModel();
  planner = new ServicesPlanner(this.model);
  #revision = 1;
  #ids = 0;

  constructor(nodes) {
    this.model.apply({ type: 'snapshot', clusterId: 'bench', revision: 1, entries: [] });
    const cluster = { id: 'c0ffee00', createdAt: 0, pools: ['10.0.0.0/8'], subnetPrefix: 16, vxlanPort: 4789 };
    this.write([{ put: keys.cluster(), value: encode(cluster) }]);
    for (let i = 1; i <= nodes; i++) this.#addNode(i);
  }

  newId = () => (++this.#ids).toString(16).padStart(16, '0');

  #addNode(index) {
    const id = this.newId();
    const address = `172.${16 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
    this.write([
      { put: keys.node(id), value: encode({ id, name: `n${index}`, address, index, labels: {}, createdAt: 0 }) },
      { put: keys.nodeState(id), value: encode({ nodeId: id, state: 'ready', since: 0 }) },
      { put: keys.nodeFacts(id), value: encode(nodeFactsSchema.parse({ nodeId: id, at: 0, images: index % 2 ? ['abababababab'] : [] })) },
    ]);
  }

  write(writes) {
    const revision = ++this.#revision;
    const puts = writes.filter((w) => 'put' in w).map((w) => ({ key: w.put, value: w.value, modRevision: revision }));
    const deletes = writes.filter((w) => 'delete' in w).map((w) => ({ key: w.delete }));
    this.planner.note(this.model.apply({ type: 'changes', revision, puts, deletes }).keys);
  }

  /** A stack of services by name → replicas, on one network of its own. */
  put(name, index, services) {
    const spec = stackSchema.parse({
      name,
      networks: { default: { key: 'default', name: `${name}_default` } },
      services: Object.fromEntries(
        Object.entries(services).map(([key, replicas]) => [key, { name: key, container: IMAGE, replicas, networks: { default: {} } }]),
      ),
    });
    const id = `f${index.toString(16).padStart(15, '0')}`;
    const network = {
      id,
      name: `${name}_default`,
      stack: name,
      key: 'default',
      driver: 'overlay',
      subnet: `10.${index >> 8}.0.0/16`,
      gateway: `10.${index >> 8}.0.1`,
      vni: 70_000 + index,
      createdAt: 0,
    };
    const isNew = !this.model.networks.has(id);
    this.write([
      { put: keys.stack(name), value: encode({ spec, generation: 1, createdAt: 0, updatedAt: 0 }) },
      ...(isNew
        ? [
            { put: keys.network(id), value: encode(network) },
            { put: keys.networkName(network.name), value: id },
          ]
        : []),
    ]);
  }

  pass() {
    const { units } = this.planner.plan(this.newId, 1_000_000);
    return units;
  }

  apply(units) {
    for (const unit of units) this.write(unit.writes);
  }

  allRun() {
    for (const { id, nodeId } of this.model.tasks.values())
      this.write([{ put: keys.taskStatus(id), value: encode({ taskId: id, nodeId, state: 'running', at: 0 }) }]);
  }
}

function timed(work) {
  const began = performance.now();
  const result = work();
  return [performance.now() - began, result];
}

function placements() {
  const cluster = new Cluster(NODES);
  const stacks = 20;
  for (let s = 0; s < stacks; s++) cluster.put(`s${s}`, s << 8, { a: PLACEMENTS / stacks / 2, b: PLACEMENTS / stacks / 2 });
  const [ms, units] = timed(() => cluster.pass());
  const made = units.filter((u) => u.what.startsWith('create')).length;
  return { name: `placements a second, ${made} tasks on ${NODES} nodes`, value: made / (ms / 1000), unit: '/s', note: 'at least 5000' };
}

function changes() {
  const cluster = new Cluster(500);
  const stacks = SERVICES / SERVICES_A_STACK;
  const services = (changed) =>
    Object.fromEntries(Array.from({ length: SERVICES_A_STACK }, (_, i) => [`w${i}`, i === 7 ? 1 + changed : 1]));
  for (let s = 0; s < stacks; s++) cluster.put(`s${s}`, s, services(0));
  const [firstMs, units] = timed(() => cluster.pass());
  cluster.apply(units);
  cluster.allRun();
  cluster.apply(cluster.pass());
  const passes = [];
  for (let i = 1; i <= CHANGES; i++) {
    cluster.put(`s${i * 3}`, i * 3, services(1));
    const [ms, change] = timed(() => cluster.pass());
    if (change.length === 0) throw new Error('a change that changes nothing');
    passes.push(ms);
    cluster.apply(change);
    cluster.pass();
  }
  return [
    { name: `first pass over ${SERVICES} services`, value: firstMs, unit: 'ms' },
    { name: `one of ${SERVICES} services changes: a pass`, value: median(passes), unit: 'ms', note: `median of ${CHANGES}; at most 10` },
  ];
}

export const benchSchedule = () => [placements(), ...changes()];
