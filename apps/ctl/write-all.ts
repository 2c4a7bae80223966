/** Writing to a stream no faster than it takes. */
import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** Resolves when the stream can take more, or is closed. */
export async function writeAll(output: Writable, chunk: string | Uint8Array): Promise<void> {
  if (chunk.length === 0 || output.write(chunk)) return;
  // Whichever comes first, the other is no longer listened for.
  const heard = new AbortController();
  const { signal } = heard;
  await Promise.race([once(output, 'drain', { signal }), once(output, 'close', { signal })]);
  heard.abort();
}
