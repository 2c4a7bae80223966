/**
 * Ends of containers, as containerd tells them. A stream of events says nothing when it begins, so we publish a marker and wait to see it
 * come back: from then on nothing is missed, and `resync` tells the listener to list once more.
 */
import { randomUUID } from 'node:crypto';
import { backoffMs } from '#base/backoff.js';
import type { Log } from '#base/log.js';
import { messageOf } from '#base/errors.js';
import type { ContainerdClient } from './client.js';
import { TaskExit, TaskOOM } from './gen/events/task.js';
import { EventsService } from './gen/services/events/v1/events.js';
import type { Envelope } from './gen/types/event.js';
import { withOomKills } from './oom.js';
import type { RuntimeEvent } from './runtime.js';

const EXIT_TOPIC = '/tasks/exit';
const OOM_TOPIC = '/tasks/oom';
const MARKER_TOPIC = '/weft/marker';
const MARKER_TYPE = 'weft/marker/v1';
const MARKER_EVERY_MS = 100;
/** Should markers not come back at all, the stream is taken to be live after this long. */
const MARKER_PATIENCE_MS = 5000;

/** Emits `resync` once the stream is live, and again after each loss of it. */
export function watchEvents(client: ContainerdClient, log: Log, onEvent: (event: RuntimeEvent) => void): { stop(): void } {
  let attempt = 0;
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let current: { stop(): void } | undefined;
  const tell = withOomKills(client, (event) => {
    if (!stopped) onEvent(event);
  });
  const subscribe = () => {
    current = subscribeOnce(client, {
      onEvent: tell,
      onLive: () => {
        attempt = 0;
        tell({ type: 'resync' });
      },
      onLost: (error) => {
        if (stopped) return;
        const delayMs = backoffMs(attempt++, { initialMs: 100, maxMs: 3000 });
        log.warn({ reason: messageOf(error), delayMs }, 'lost the event stream of containerd, trying again');
        timer = setTimeout(subscribe, delayMs);
      },
    });
  };
  subscribe();
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
      current?.stop();
    },
  };
}

interface Listener {
  onEvent(event: RuntimeEvent): void;
  onLive(): void;
  /** Called once. */
  onLost(error: unknown): void;
}

function subscribeOnce(client: ContainerdClient, listener: Listener): { stop(): void } {
  const filters = [EXIT_TOPIC, OOM_TOPIC, MARKER_TOPIC].map((topic) => `topic=="${topic}",namespace=="${client.namespace}"`);
  const stream = client.stream(EventsService.subscribe, { filters });
  const marker = randomUUID();
  let live = false;
  let over = false;
  const goLive = () => {
    if (live || over) return;
    live = true;
    clearInterval(publish);
    listener.onLive();
  };
  const givenUpAt = performance.now() + MARKER_PATIENCE_MS;
  const publish = setInterval(() => {
    if (client.ready && performance.now() > givenUpAt) return goLive();
    const event = { typeUrl: MARKER_TYPE, value: Buffer.from(marker) };
    client.call(EventsService.publish, { topic: MARKER_TOPIC, event }, { deadlineMs: 5000 }).catch(() => undefined);
  }, MARKER_EVERY_MS);
  const end = (error: unknown) => {
    if (over) return;
    over = true;
    clearInterval(publish);
    listener.onLost(error);
  };
  stream.on('data', (envelope: Envelope) => {
    if (envelope.topic !== MARKER_TOPIC) return decode(envelope).forEach((event) => listener.onEvent(event));
    if (envelope.event?.value.toString() === marker) goLive();
  });
  stream.on('error', end);
  stream.on('end', () => end(new Error('the stream ended')));
  return {
    stop: () => {
      over = true;
      clearInterval(publish);
      stream.cancel();
    },
  };
}

/** Ends of added processes (exec) are not of interest here. */
function decode({ topic, event }: Envelope): RuntimeEvent[] {
  if (!event) return [];
  if (topic === OOM_TOPIC) return [{ type: 'oom', containerId: TaskOOM.decode(event.value).containerId }];
  const exit = TaskExit.decode(event.value);
  if (exit.id !== exit.containerId) return [];
  return [{ type: 'exit', containerId: exit.containerId, exitCode: exit.exitStatus, at: exit.exitedAt?.getTime() ?? Date.now() }];
}
