/** Tar streams into and out of containers, over the API: for `ctl cp`, and for whatever else brings files there. */
import { WeftError } from '#base/errors.js';
import { openBidi, readStream } from '#rpc/client.js';
import type { CopyInRequest, CopyInResponse, CopyInStart, CopyOutRequest, TaskTarget } from '#rpc/gen/weft/v1/api.js';
import type { Connection } from './connection.js';

/** Bytes in one message: the protocol's limit (proto, CopyIn). */
const CHUNK_BYTES = 256 * 1024;

/** What a copy is about when a task's id is known. */
export const taskTarget = (task: string): TaskTarget => ({ task, stack: '', service: '', index: 0 });

/**
 * Unpacks one archive in several containers; the slowest sets the pace. An archive of nothing is right where only `remove` counts.
 * @returns an answer for each target. @throws NOT_FOUND, CONFLICT, BAD_VALUE, UNAVAILABLE: the first failure; the others are broken off
 */
export async function copyInto(
  { api, target }: Pick<Connection, 'api' | 'target'>,
  targets: readonly TaskTarget[],
  start: Omit<CopyInStart, 'target'>,
  archive: AsyncIterable<Uint8Array>,
): Promise<CopyInResponse[]> {
  const calls = targets.map((meant) => ({ meant, stream: openBidi<CopyInRequest, CopyInResponse>(api.copyIn(), undefined, target) }));
  const answers = calls.map(({ stream }) => only(stream.messages));
  for (const answer of answers) answer.catch(() => undefined);
  try {
    await Promise.all(calls.map(({ meant, stream }) => stream.send({ part: { $case: 'start', value: { ...start, target: meant } } })));
    for await (const bytes of archive) {
      for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
        const value = Buffer.from(bytes.subarray(at, at + CHUNK_BYTES));
        await Promise.all(calls.map(({ stream }) => stream.send({ part: { $case: 'chunk', value } })));
      }
    }
    for (const { stream } of calls) stream.end();
    return await Promise.all(answers);
  } catch (error) {
    // A stream that the other side ended says why itself.
    const reasons = (await Promise.allSettled(answers.map(async (answer) => Promise.race([answer, isLate()])))).flatMap((result) =>
      result.status === 'rejected' ? [result.reason as unknown] : [],
    );
    throw reasons[0] ?? error;
  } finally {
    for (const { stream } of calls) stream.cancel();
  }
}

/** The end of a stream that took no more comes at once. */
const LATE_MS = 1_000;
const isLate = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, LATE_MS).unref());

async function only(messages: AsyncIterable<CopyInResponse>): Promise<CopyInResponse> {
  let last: CopyInResponse | undefined;
  for await (const message of messages) last = message;
  if (last) return last;
  throw new WeftError('UNAVAILABLE', {
    what: 'the copy was cut off',
    why: 'the stream ended without an answer',
    hint: 'Look at `ctl ps`.',
  });
}

/** The bytes of an archive of what is at a path. @throws NOT_FOUND, UNAVAILABLE */
export async function* copyOutOf(
  { api, target }: Pick<Connection, 'api' | 'target'>,
  request: CopyOutRequest,
  onSkipped: (name: string) => void,
): AsyncGenerator<Uint8Array> {
  for await (const { part } of readStream(api.copyOut(request), undefined, target)) {
    if (part?.$case === 'chunk') yield part.value;
    else if (part?.$case === 'skipped') onSkipped(part.value);
  }
}
