/** The exec call of the node service: a process added to a task's container, wired to the stream. */
import { once } from 'node:events';
import { messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { ExecRequest, ExecResponse, ExecStart } from '#rpc/gen/weft/v1/api.js';
import type { ContainerInfo, ExecSession, Runtime } from '#runtime/runtime.js';
import { merge } from '#base/streams.js';
import { NAME_LABEL } from '../plan-tasks.js';

/** Between the polite and the firm signal to a process whose caller hung up. */
const HANG_UP_GRACE_MS = 2_000;

export interface ExecCallDeps {
  runtime: Pick<Runtime, 'exec'>;
  nodeName: string;
  container: (taskId: string) => ContainerInfo | undefined;
  log: Log;
}

/** The first message must be `start`; the last answer is the exit code. @throws BAD_VALUE, NOT_FOUND, RUNTIME */
export async function* execInTask(
  deps: ExecCallDeps,
  requests: AsyncIterable<ExecRequest>,
  signal: AbortSignal,
): AsyncGenerator<ExecResponse> {
  const input = requests[Symbol.asyncIterator]();
  const start = startOf((await input.next()).value);
  const session = await begin(deps, start);
  deps.log.info({ task: start.task, command: start.argv[0] }, 'a process was added to a container');
  let exited = false;
  void session.exited.then(() => (exited = true));
  const onHangUp = () => void hangUp(session, () => exited);
  if (signal.aborted) onHangUp();
  signal.addEventListener('abort', onHangUp, { once: true });
  try {
    void feed(session, start, input).catch((error: unknown) => deps.log.debug({ error: messageOf(error) }, 'the input of an exec ended'));
    yield* merge<ExecResponse>([chunksOf(session.stdout, 'stdout'), chunksOf(session.stderr, 'stderr')]);
    yield { message: { $case: 'exitCode', value: await session.exited } };
  } finally {
    signal.removeEventListener('abort', onHangUp);
    if (!exited) onHangUp();
  }
}

function startOf(request: ExecRequest | undefined): ExecStart {
  if (request?.message?.$case !== 'start') throw new WeftError('BAD_VALUE', 'an exec begins with what to run');
  if (request.message.value.argv.length === 0) throw new WeftError('BAD_VALUE', 'an exec needs a command');
  return request.message.value;
}

async function begin({ runtime, nodeName, container }: ExecCallDeps, start: ExecStart): Promise<ExecSession> {
  const found = container(start.task);
  if (!found || found.state !== 'running') {
    throw new WeftError('NOT_FOUND', {
      what: `cannot run anything in ${found?.labels[NAME_LABEL] ?? `task ${start.task}`}`,
      why: found ? 'its container does not run' : `node ${nodeName} has no container for it`,
      hint: 'See with `ctl ps` why it does not run.',
    });
  }
  const size = start.columns > 0 && start.rows > 0 ? { columns: start.columns, rows: start.rows } : undefined;
  const { argv, tty, user, workingDir, env } = start;
  return runtime.exec({ containerId: start.task, argv, tty, user, workingDir, env, size });
}

/** What the caller sends, into the process. */
async function feed(session: ExecSession, start: ExecStart, input: AsyncIterator<ExecRequest>): Promise<void> {
  if (!start.stdin) session.stdin.end();
  // A process that does not read its input is free to.
  session.stdin.on('error', () => undefined);
  for (let next = await input.next(); !next.done; next = await input.next()) await passOn(session, start.stdin, next.value);
  if (start.stdin) session.stdin.end();
}

/** A process as far as its caller reaches it. */
export interface Process extends Pick<ExecSession, 'resize' | 'signal'> {
  stdin?: NodeJS.WritableStream | undefined;
  exited: Promise<unknown>;
}

/** One message of a caller, into the process; waits where that is slow to read. */
export async function passOn(process: Process, hasInput: boolean, { message }: ExecRequest): Promise<void> {
  const stdin = hasInput ? process.stdin : undefined;
  switch (message?.$case) {
    case 'stdin':
      if (stdin && !stdin.write(message.value)) await Promise.race([once(stdin, 'drain'), process.exited]);
      break;
    case 'stdinEnd':
      stdin?.end();
      break;
    case 'resize':
      return process.resize(message.value.columns, message.value.rows);
    case 'signal':
      return process.signal(message.value);
  }
}

async function* chunksOf(stream: AsyncIterable<unknown>, name: 'stdout' | 'stderr'): AsyncGenerator<ExecResponse> {
  for await (const chunk of stream) {
    if (Buffer.isBuffer(chunk) && chunk.length > 0) yield { message: { $case: name, value: chunk } };
  }
}

/** Nobody waits for it any more: it should not stay behind. */
async function hangUp(session: ExecSession, hasExited: () => boolean): Promise<void> {
  await session.signal('SIGHUP').catch(() => undefined);
  await Promise.race([session.exited, new Promise((resolve) => setTimeout(resolve, HANG_UP_GRACE_MS).unref())]);
  if (!hasExited()) await session.signal('SIGKILL').catch(() => undefined);
}
