/** An agent put together as in apps/agent/agent.ts: the real view, ledger, believer, task loop and stream, on a simulated host. */
import { silentLog } from '#base/log.js';
import { nodeFactsSchema } from '#model/node.js';
import { Believer } from '../../apps/agent/believer.js';
import { DesiredStore } from '../../apps/agent/desired-store.js';
import { Ledger } from '../../apps/agent/ledger.js';
import { startHub, type Dial, type Hub } from '../../apps/agent/loops/hub.js';
import { TasksLoop } from '../../apps/agent/loops/tasks.js';
import { StatusBoard } from '../../apps/agent/status-board.js';
import type { Machine } from './machine.js';
import type { SimProcess } from './process.js';

export interface AgentTools {
  process: SimProcess;
  machine: Machine;
  controllers: readonly string[];
  dial: Dial;
}

/** Runs until its process dies. */
export async function runAgent({ process, machine, controllers, dial }: AgentTools): Promise<void> {
  const log = silentLog;
  const disk = machine.disk(process);
  const store = await DesiredStore.open('/', log, disk);
  const ledger = await Ledger.open('/', log, disk);
  const board = new StatusBoard(machine.nodeId, process);
  const late: { hub?: Hub } = {};
  const onQuarantine = () => {
    late.hub?.factsChanged();
    tasks.kick();
  };
  const believer = new Believer(store, () => tasks.containerIds(), onQuarantine, log);
  const tasks = new TasksLoop({
    runtime: machine.runtime(process),
    runner: machine.runner(process),
    store,
    board,
    ledger,
    isConfirmed: () => believer.isConfirmed,
    clock: process,
    log,
  });
  await tasks.start(new AbortController().signal);
  const host = nodeFactsSchema.parse({ nodeId: machine.nodeId, hostname: machine.name, name: machine.name, at: 0 });
  const facts = () => ({ ...host, at: process.now(), ...(believer.quarantine === undefined ? {} : { quarantine: believer.quarantine }) });
  late.hub = startHub({ controllers: () => [...controllers], dial, store, believer, board, facts, clock: process, log });
}
