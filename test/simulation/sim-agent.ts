/** An agent put together as in apps/agent/agent.ts: the real view, ledger, believer, task loop and stream, on a simulated host. */
import type { Log } from '#base/log.js';
import { after } from '#base/timers.js';
import { nodeFactsSchema } from '#model/node.js';
import { cutOffAfterMs } from '#model/node-death.js';
import type { RestartTasksRequest, RestartTasksResponse } from '#rpc/gen/weft/v1/operations.js';
import { Believer } from '../../apps/agent/believer.js';
import { Contact } from '../../apps/agent/contact.js';
import { DesiredStore } from '../../apps/agent/desired-store.js';
import { Ledger } from '../../apps/agent/ledger.js';
import { startHub, type Dial, type Hub } from '../../apps/agent/loops/hub.js';
import { TasksLoop } from '../../apps/agent/loops/tasks.js';
import { restartTasks } from '../../apps/agent/node-service/restart.js';
import { StatusBoard } from '../../apps/agent/status-board.js';
import type { RestartAsked } from '../../apps/agent/plan-tasks.js';
import type { Chance } from './chance.js';
import type { Machine } from './machine.js';
import type { RestartWatch } from './restart-watch.js';
import type { SimProcess } from './process.js';

export interface AgentTools {
  process: SimProcess;
  machine: Machine;
  controllers: readonly string[];
  dial: Dial;
  chance: Chance;
  orders: RestartWatch;
  log: Log;
}

/** Its node service, as far as the histories use it. */
export interface NodeCalls {
  restartTasks: (request: RestartTasksRequest) => Promise<RestartTasksResponse>;
}

/** Runs until its process dies. Resolves once it answers calls. */
export async function runAgent({ process, machine, controllers, dial, chance, orders, log }: AgentTools): Promise<NodeCalls> {
  const disk = machine.disk(process);
  const store = await DesiredStore.open('/', log, disk);
  const ledger = await Ledger.open('/', log, disk);
  const board = new StatusBoard(machine.nodeId, process);
  const contact = new Contact({ cutOffAfterMs: () => cutOffAfterMs(store.byKind.settings), clock: process });
  process.onDeath(() => contact.stop());
  const late: { hub?: Hub } = {};
  const onQuarantine = () => {
    late.hub?.factsChanged();
    tasks.kick();
  };
  const believer = new Believer(store, () => tasks.containerIds(), onQuarantine, log);
  const tasks: TasksLoop = new TasksLoop({
    runtime: machine.runtime(process),
    runner: machine.runner(process),
    store,
    board,
    ledger,
    contact,
    isConfirmed: () => believer.isConfirmed,
    clock: process,
    log,
  });
  await tasks.start(new AbortController().signal);
  const host = nodeFactsSchema.parse({ nodeId: machine.nodeId, hostname: machine.name, name: machine.name, at: 0 });
  const facts = () => ({ ...host, at: process.now(), ...(believer.quarantine === undefined ? {} : { quarantine: believer.quarantine }) });
  const kernel = simulatedKernel({ process, machine, store, chance }, () => late.hub?.beat());
  late.hub = startHub({
    controllers: () => [...controllers],
    // On no controller's host.
    address: machine.name,
    dial,
    store,
    believer,
    board,
    facts,
    programmed: kernel.programmed,
    onHeard: (sentAt) => contact.confirmed(sentAt),
    clock: process,
    log,
  });
  const calls = {
    nodeName: machine.name,
    container: (id: string) => tasks.container(id),
    restart: async (id: string, asked: RestartAsked) => {
      orders.asked(id);
      await tasks.restart(id, asked);
      orders.promised(id);
    },
    taskName: (id: string) => store.task(id)?.name,
    log,
  };
  return { restartTasks: (request) => restartTasks(calls, request) };
}

/** Of the kernel, how long it takes to be made as the view says: now and then long. */
function simulatedKernel(
  { process, machine, store, chance }: Pick<AgentTools, 'process' | 'machine' | 'chance'> & { store: DesiredStore },
  onSet: () => void,
): { programmed: () => number } {
  let programmed = 0;
  let isSetting = false;
  const set = () => {
    if (isSetting) return;
    isSetting = true;
    const { revision } = store.view;
    const { tasks } = store.byKind;
    after(process, chance.is(0.02) ? chance.int(200, 3_000) : chance.int(10, 60), () => {
      isSetting = false;
      programmed = revision;
      machine.program(tasks);
      onSet();
      if (store.view.revision !== revision) set();
    });
  };
  store.onChange(set);
  return { programmed: () => programmed };
}
