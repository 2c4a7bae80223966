/**
 * One controller with its etcd, and many agents on real connections (fleet.mjs): how long an `up` takes until every agent has its
 * tasks and all are said to run, how soon all agents have heard of a change, what it costs, and how that grows with the cluster.
 * `WEFT_AGENTS=10,20` are other numbers of agents (tens); `WEFT_PROFILE=DIR` has the controller write a CPU profile there. `node test/bench/agents.mjs` runs it alone.
 */
import { stackSchema } from '#model/stack.js';
import { callUnary, readStream } from '#rpc/client.js';
import { stackToWire } from '#rpc/wire.js';
import { Fleet } from './fleet.mjs';
import { pause, percentile, printRows } from './lab.mjs';
import { startController } from './lone-controller.mjs';

/** Agents; ten times as many tasks. */
const SIZES = (process.env.WEFT_AGENTS ?? '50,100,200').split(',').map(Number);
const TASKS_AN_AGENT = 10;
/** Where sizes are compared, each stack has a network of its own, so that what one agent sees grows with its own tasks only. */
const TASKS_A_STACK = 100;
const SERVICES_A_STACK = 5;
/** Of the largest size, one stack on one network that every agent is on: 2,000 tasks, and 5,000 endpoints for changes. */
const LARGE = { tasks: SIZES.at(-1) * TASKS_AN_AGENT, services: 20 };
const ENDPOINTS = { tasks: LARGE.tasks * 2.5, services: LARGE.tasks / 20 };
const CHANGES = 20;
const IDLE_MS = 5_000;
const FORETOLD_AGENTS = 5_000;
/** Many are asked at once, and a busy machine takes its time: what takes longer than this has broken down. */
const WAIT_MS = 240_000;
const PATIENT = { timeoutMs: WAIT_MS };

function stackOf(name, { tasks, services }, subnet) {
  const names = Array.from({ length: services }, (_, i) => `s${i}`);
  return stackSchema.parse({
    name,
    networks: { default: { key: 'default', name: `${name}_default`, ...(subnet === undefined ? {} : { subnet }) } },
    services: Object.fromEntries(
      names.map((service) => [
        service,
        { name: service, container: { image: 'busybox' }, replicas: tasks / services, networks: { default: {} } },
      ]),
    ),
  });
}

/** A cluster under test: controller, fleet and a user. */
class Cluster {
  static async start() {
    const cluster = new Cluster();
    const dir = process.env.WEFT_PROFILE;
    cluster.controller = await startController(dir === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${dir}`]);
    cluster.api = cluster.controller.api();
    const createToken = async () => (await callUnary(cluster.api, 'createToken', { role: 'node', ttlMs: 60_000 })).token;
    cluster.fleet = new Fleet(cluster.controller, createToken);
    return cluster;
  }

  async stop() {
    this.fleet.stop();
    this.api.close();
    await this.controller.stop();
  }

  async apply(stack) {
    const plan = await callUnary(this.api, 'planStack', { stack: stackToWire(stack) }, PATIENT);
    await callUnary(this.api, 'applyStack', { stack: plan.stack, baseGeneration: plan.baseGeneration, kept: plan.kept }, PATIENT);
  }

  /** Until the stack is as `holds` says, watched as `ctl up` does. */
  async watch(name, holds) {
    for await (const state of readStream(this.api.watchStack({ name }), AbortSignal.timeout(WAIT_MS))) if (holds(state)) return;
    throw new Error(`stack ${name} did not become so in ${WAIT_MS} ms`);
  }

  /** Applies stacks; seconds until the agents have all tasks, and until all run, with what that cost. */
  async up(stacks, tasks) {
    const before = { ...this.controller.cost(), ...this.fleet.told };
    const began = performance.now();
    const since = () => (performance.now() - began) / 1000;
    const applied = Promise.all(stacks.map((stack) => this.apply(stack)));
    const assignedAt = this.fleet.hasTasks(tasks, WAIT_MS).then(since);
    const isUp = (state) => state.exists && state.services.every((s) => s.running === s.wanted);
    const allRun = applied.then(() => Promise.all(stacks.map(({ name }) => this.watch(name, isUp)))).then(since);
    const [assigned, running] = await Promise.all([assignedAt, allRun]);
    const after = { ...this.controller.cost(), ...this.fleet.told };
    const used = Object.fromEntries(Object.keys(before).map((key) => [key, after[key] - before[key]]));
    return { assigned, running, used, after };
  }

  async down(stacks) {
    await Promise.all(stacks.map(({ name }) => callUnary(this.api, 'removeStack', { name }, PATIENT)));
    await Promise.all(stacks.map(({ name }) => this.watch(name, (state) => !state.exists)));
    await this.fleet.hasTasks(0, WAIT_MS);
  }

  /** CPU of a second in which nothing happens, in milliseconds: controller, etcd. */
  async idle() {
    const before = this.controller.cost();
    await pause(IDLE_MS);
    const after = this.controller.cost();
    const perSecond = (key) => ((after[key] - before[key]) * 1e6) / IDLE_MS;
    return { controller: perSecond('controllerCpu'), etcd: perSecond('etcdCpu') };
  }
}

/** Milliseconds from when one agent says that a task is not well until each agent has it without that task; all changes, all agents. */
async function changes(cluster) {
  const { agents } = cluster.fleet;
  const each = [];
  for (let i = 0; i < CHANGES; i++) {
    const agent = agents[(i * 7) % agents.length];
    const task = [...agent.tasks.values()][0];
    const { ipv4 } = task.endpoints[0];
    const isTold =
      (by) =>
      ({ $case, value }) =>
        $case === 'delta' && value.upserts.some(({ json }) => isVip(json, task.service) && json.includes(`"${ipv4}"`) === by);
    const without = cluster.fleet.heard(isTold(false));
    agent.say(task.id, 'restarting');
    each.push(await without);
    const with_ = cluster.fleet.heard(isTold(true));
    agent.say(task.id, 'running');
    await with_;
    await pause(150);
  }
  return each;
}

const isVip = (json, service) => json.startsWith('{"kind":"vip"') && json.includes(`"service":"${service}"`);

/** Milliseconds from the command that stops one task until its node hears that every node's kernel leads there no more. */
async function drains(cluster, stack) {
  const took = [];
  for (let i = 0; i < 5; i++) {
    const service = Object.keys(stack.services)[i];
    const replicas = { [service]: stack.services[service].replicas - 1 };
    const began = performance.now();
    const drained = new Promise((resolve) => {
      for (const agent of cluster.fleet.agents)
        agent.onNews = () =>
          [...agent.tasks.values()].some((t) => t.service === service && t.drained) && resolve(performance.now() - began);
    });
    await callUnary(cluster.api, 'operateStack', { name: stack.name, operation: { $case: 'scale', value: { replicas } } });
    took.push(await drained);
    for (const agent of cluster.fleet.agents) agent.onNews = () => undefined;
    await pause(500);
  }
  return took;
}

/** Least squares: y = base + slope · x. */
function lineThrough(points) {
  const mean = (pick) => points.reduce((sum, p) => sum + pick(p), 0) / points.length;
  const [mx, my] = [mean((p) => p[0]), mean((p) => p[1])];
  const slope = mean((p) => (p[0] - mx) * (p[1] - my)) / mean((p) => (p[0] - mx) ** 2);
  return { slope, base: my - slope * mx };
}

const row = (name, value, unit, note) => ({ name, value, unit, note });

function upRows(what, { assigned, running, used, after }, note) {
  return [
    row(`${what}: every agent has its tasks`, assigned, 's', note),
    row('  all are said to run', running, 's'),
    row('  CPU of the controller, of etcd', `${used.controllerCpu.toFixed(1)} + ${used.etcdCpu.toFixed(1)}`, 's'),
    row('  memory (PSS) of the controller, of etcd', `${after.controllerMib.toFixed(0)} + ${after.etcdMib.toFixed(0)}`, 'MiB'),
    row('  told to agents', used.bytes / 2 ** 20, 'MiB', `${used.resources} resources in ${used.messages} messages`),
  ];
}

/** The same shape at each size: what does an agent cost, and a task? */
async function bySize(cluster) {
  const runs = [];
  for (const agents of SIZES) {
    await cluster.fleet.growTo(agents);
    await pause(1_000);
    const idle = await cluster.idle();
    const tasks = agents * TASKS_AN_AGENT;
    const stacks = Array.from({ length: tasks / TASKS_A_STACK }, (_, i) =>
      stackOf(`small${i}`, { tasks: TASKS_A_STACK, services: SERVICES_A_STACK }),
    );
    const run = await cluster.up(stacks, tasks);
    runs.push({ agents, tasks, idle, ...run });
    await cluster.down(stacks);
  }
  return runs;
}

function sizeRows(runs) {
  const figures = runs.map(({ agents, tasks, idle, assigned, used, after }) =>
    row(
      `${agents} agents, ${tasks} tasks in stacks of ${TASKS_A_STACK}`,
      assigned,
      's',
      `CPU ${used.controllerCpu.toFixed(1)} + ${used.etcdCpu.toFixed(1)} s, ${after.controllerMib.toFixed(0)} + ${after.etcdMib.toFixed(0)} MiB, at rest ${idle.controller.toFixed(0)} + ${idle.etcd.toFixed(0)} ms/s`,
    ),
  );
  const line = (x, y) => lineThrough(runs.map((run) => [x(run), y(run)]));
  const rest = line(
    (r) => r.agents,
    (r) => r.idle.controller,
  );
  const memory = line(
    (r) => r.agents,
    (r) => r.after.controllerMib,
  );
  const task = line(
    (r) => r.tasks,
    (r) => (r.used.controllerCpu + r.used.etcdCpu) * 1000,
  );
  return [
    ...figures,
    row('  an agent at rest, CPU of the controller', rest.slope, 'ms/s', `${rest.base.toFixed(0)} ms/s without any`),
    row(
      `  an agent and its ${TASKS_AN_AGENT} tasks, memory of the controller`,
      memory.slope,
      'MiB',
      `${memory.base.toFixed(0)} MiB without any`,
    ),
    row('  a task from up to running, CPU of both', task.slope, 'ms'),
    row(
      `  by these lines: ${FORETOLD_AGENTS} agents, ${FORETOLD_AGENTS * TASKS_AN_AGENT} tasks`,
      `${((rest.base + rest.slope * FORETOLD_AGENTS) / 1000).toFixed(1)}`,
      'cores',
      `at rest, ${((memory.base + memory.slope * FORETOLD_AGENTS) / 1024).toFixed(1)} GiB, ${((task.slope * FORETOLD_AGENTS * TASKS_AN_AGENT) / 60_000).toFixed(1)} min of CPU to start all`,
    ),
  ];
}

/** Rows { name, value, unit, note }. */
export async function benchAgents() {
  const cluster = await Cluster.start();
  try {
    const rows = sizeRows(await bySize(cluster));
    const agents = cluster.fleet.agents.length;
    const large = stackOf('large', LARGE);
    rows.push(
      ...upRows(`up of ${LARGE.tasks} tasks on one network, ${agents} agents`, await cluster.up([large], LARGE.tasks), 'at most 5'),
    );
    await cluster.down([large]);
    const wide = stackOf('wide', ENDPOINTS, '10.64.0.0/18');
    rows.push(...upRows(`up of ${ENDPOINTS.tasks} tasks on one network`, await cluster.up([wide], ENDPOINTS.tasks)));
    await pause(2_000);
    const each = await changes(cluster);
    const lasts = each.map((times) => Math.max(...times));
    rows.push(
      row(
        `a change among ${ENDPOINTS.tasks} endpoints → an agent has it, p50`,
        percentile(each.flat(), 0.5),
        'ms',
        `${CHANGES} changes, ${agents} agents`,
      ),
      row('  p99', percentile(each.flat(), 0.99), 'ms'),
      row('  → the last agent has it, p50', percentile(lasts, 0.5), 'ms'),
      row('  the slowest', Math.max(...lasts), 'ms', 'at most 1000'),
    );
    const drained = await drains(cluster, wide);
    rows.push(
      row(
        'a task is told to stop → all agents have confirmed',
        percentile(drained, 0.5),
        'ms',
        `the slowest ${Math.max(...drained).toFixed(0)} ms; at most 1000`,
      ),
    );
    const breaks = Object.entries(cluster.fleet.breaks);
    const sum = breaks.reduce((all, [, count]) => all + count, 0);
    rows.push(row('streams of agents that broke', sum, '', breaks.map(([why, count]) => `${count}: ${why}`).join('; ')));
    return rows;
  } catch (error) {
    console.error(cluster.fleet.breaks);
    console.error(cluster.controller.log().slice(-3_000));
    throw error;
  } finally {
    await cluster.stop();
  }
}

if (process.argv[1]?.endsWith('bench/agents.mjs')) printRows('One controller, many agents', await benchAgents());
