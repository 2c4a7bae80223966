/** Waiting for a stream that is slower than we are. */
import { once, type EventEmitter } from 'node:events';

/** Resolves when the stream can take more, is closed, or `signal` aborts; never rejects, and leaves no listener behind. */
export async function writable(stream: EventEmitter, signal?: AbortSignal): Promise<void> {
  const heard = new AbortController();
  const either = signal ? AbortSignal.any([signal, heard.signal]) : heard.signal;
  const wait = (event: string) => once(stream, event, { signal: either }).catch(() => undefined);
  await Promise.race([wait('drain'), wait('close')]);
  heard.abort();
}
