/** A thread outside of jest that plays histories: the same histories, quicker (bundle.mjs). */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Answer, Order } from './player.js';

let worker: Worker | undefined;

function start(): Worker {
  const path = process.env['SIMULATION'];
  if (path === undefined) throw new Error('jest starts the simulation by its project: --selectProjects simulation');
  return new Worker(path, { execArgv: ['--enable-source-maps'] });
}

/** One order at a time. @throws what went wrong in the thread */
export async function playOutside(order: Order): Promise<Answer> {
  worker ??= start();
  worker.postMessage(order);
  const [said] = (await once(worker, 'message')) as [{ answer: Answer } | { error: string }];
  if ('error' in said) throw new Error(said.error);
  return said.answer;
}

export async function stopOutside(): Promise<void> {
  await worker?.terminate();
  worker = undefined;
}
