/** An agent's stream to a controller: ordered messages both ways, told of its end when the network lets the news through. */
import { WeftError } from '#base/errors.js';
import { Queue } from '#base/streams.js';
import type { AgentMessage, HubMessage } from '#rpc/gen/weft/v1/agent_hub.js';
import type { Line } from '../../apps/agent/loops/hub.js';
import { Pipe, type Net } from './net.js';
import type { SimProcess } from './process.js';
import type { Timeline } from './timeline.js';

/** gRPC's keepalive of libs/rpc: a silent connection is given up after this, in milliseconds. */
const KEEPALIVE_MS = 13_000;
const LOOK_MS = 2_000;

export interface Listener {
  process: SimProcess;
  machine: string;
  converse(requests: AsyncIterable<AgentMessage>, nodeId: string, signal: AbortSignal): AsyncGenerator<HubMessage>;
}

export interface Caller {
  process: SimProcess;
  machine: string;
  nodeId: string;
}

/** @param listener undefined where nobody listens now */
export function openLine(net: Net, timeline: Timeline, caller: Caller, listener: Listener | undefined, signal: AbortSignal): Line {
  const down = new Queue<HubMessage>();
  const up = new Queue<AgentMessage>();
  const serverEnd = new AbortController();
  const { process, machine } = caller;
  const broken = () => process.do(() => down.end(new WeftError('UNAVAILABLE', 'the connection broke')));
  const close = () => {
    upward.close();
    downward.close();
  };
  const hangUp = () => {
    // The other side is told, or finds out by its keepalive.
    const tell = () => listener?.process.do(() => serverEnd.abort());
    if (listener) net.send(machine, listener.machine, tell);
    timeline.after(KEEPALIVE_MS, tell);
    close();
  };
  const upward = new Pipe<AgentMessage>(net, machine, listener?.machine ?? machine, (m) => listener?.process.do(() => up.push(m)));
  const downward = new Pipe<HubMessage>(net, listener?.machine ?? machine, machine, (m) => process.do(() => down.push(m)));
  if (!listener || listener.process.isDead) timeline.after(net.delayMs(), broken);
  else {
    serve(net, caller, listener, { up, serverEnd, downward, broken });
    process.onDeath(hangUp);
    watchOver(net, timeline, [machine, listener.machine], serverEnd.signal, () => {
      broken();
      listener.process.do(() => serverEnd.abort());
      close();
    });
  }
  const end = () => {
    down.end();
    hangUp();
  };
  signal.addEventListener('abort', end, { once: true });
  const send = (message: AgentMessage): Promise<void> => {
    upward.push(message);
    return Promise.resolve();
  };
  const messages = down[Symbol.asyncIterator]() as AsyncGenerator<HubMessage>;
  return { bidi: { send, end, messages, cancel: hangUp }, close: hangUp };
}

interface Ends {
  up: Queue<AgentMessage>;
  serverEnd: AbortController;
  downward: Pipe<HubMessage>;
  broken: () => void;
}

function serve(net: Net, caller: Caller, listener: Listener, { up, serverEnd, downward, broken }: Ends): void {
  const tellBroken = () => net.send(listener.machine, caller.machine, broken);
  listener.process.onDeath(tellBroken);
  serverEnd.signal.addEventListener('abort', () => up.end(), { once: true });
  const run = async () => {
    for await (const message of listener.converse(up, caller.nodeId, serverEnd.signal)) downward.push(message);
  };
  net.send(caller.machine, listener.machine, () => listener.process.do(() => void run().then(tellBroken, tellBroken)));
}

/** Both ends give up a connection over which nothing has come for long. */
function watchOver(net: Net, timeline: Timeline, [a, b]: [string, string], ended: AbortSignal, giveUp: () => void): void {
  let cutSince: number | undefined;
  const look = () => {
    if (ended.aborted) return;
    cutSince = net.isCut(a, b) ? (cutSince ?? timeline.now) : undefined;
    if (cutSince !== undefined && timeline.now - cutSince >= KEEPALIVE_MS) return giveUp();
    timeline.after(LOOK_MS, look);
  };
  timeline.after(LOOK_MS, look);
}
