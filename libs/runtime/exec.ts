/** Processes added to a running container: their streams are FIFOs of their own, which live as long as the process. */
import { randomUUID } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Writable } from 'node:stream';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import type { ContainerdClient } from './client.js';
import { orUndefined } from './client.js';
import { inspectContainer, taskOf } from './containers.js';
import { makeFifos, readFifo, writeFifo } from './fifo.js';
import type { FifoReader } from './fifo.js';
import { TasksService } from './gen/services/tasks/v1/tasks.js';
import { Status } from './gen/types/task/task.js';
import { hostCapabilities } from './host-facts.js';
import { execProcess } from './oci-spec.js';
import { ociText, type OciProcess } from './oci-types.js';
import { runtimeFailure } from './runtime-failure.js';
import type { ExecRequest, ExecSession } from './runtime.js';
import { signalNumber } from './signals.js';
import { resolveUser, withGroups } from './user.js';
import { userFilesBelow } from './user-files.js';
import { waitForExit } from './wait.js';

const PROCESS_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Process';
const EXEC_DEADLINE_MS = 30_000;

export interface ExecContext {
  client: ContainerdClient;
  /** Directory for the FIFOs of one exec each. */
  directory: string;
  log: Log;
}

/** @throws NOT_FOUND, BAD_VALUE, RUNTIME (the container does not run, the command does not exist) */
export async function execInContainer(ctx: ExecContext, request: ExecRequest): Promise<ExecSession> {
  if (request.argv.length === 0) throw new WeftError('BAD_VALUE', 'nothing to run: the command is empty');
  const process = await processOf(ctx.client, request);
  const execId = `exec-${randomUUID()}`;
  const directory = join(ctx.directory, execId);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const exec = new Exec(ctx, request.containerId, execId, directory);
  try {
    await exec.open(request.tty);
    await exec.start(process, request);
    return exec.session();
  } catch (error) {
    await exec.discard();
    throw runtimeFailure(`cannot run ${JSON.stringify(request.argv[0]?.slice(0, 128))} in the container`, error);
  }
}

/** The container's own process, changed as asked. Names of users mean what they mean in the container now. */
async function processOf(client: ContainerdClient, request: ExecRequest): Promise<OciProcess> {
  const { spec, groups } = await inspectContainer(client, request.containerId);
  const task = await taskOf(client, request.containerId);
  if (task?.status !== Status.RUNNING) {
    throw new WeftError('RUNTIME', {
      what: 'cannot run a command in the container',
      why: 'the container does not run',
      hint: 'Look at `ctl ps` and `ctl logs`.',
    });
  }
  const available = request.privileged ? hostCapabilities() : [];
  if (!request.user) return execProcess(spec.process, request, spec.process.user, available);
  const { passwd, group } = await userFilesBelow(`/proc/${task.pid}/root`);
  return execProcess(spec.process, request, withGroups(resolveUser(request.user, passwd, group), groups), available);
}

class Exec {
  readonly #ctx: ExecContext;
  readonly #ids: { containerId: string; execId: string };
  readonly #directory: string;
  #stdin: Writable | undefined;
  #stdout: FifoReader | undefined;
  #stderr: FifoReader | undefined;
  #exited: Promise<number> = Promise.resolve(0);

  constructor(ctx: ExecContext, containerId: string, execId: string, directory: string) {
    this.#ctx = ctx;
    this.#ids = { containerId, execId };
    this.#directory = directory;
  }

  #path = (name: string): string => join(this.#directory, name);

  async open(tty: boolean): Promise<void> {
    await makeFifos(['stdin', 'stdout', ...(tty ? [] : ['stderr'])].map(this.#path));
    this.#stdout = readFifo(this.#path('stdout'));
    if (!tty) this.#stderr = readFifo(this.#path('stderr'));
    this.#stdin = writeFifo(this.#path('stdin'), () => this.#closeStdin());
    // Writing to a process that has ended is the writer's to notice by `exited`.
    this.#stdin.on('error', () => undefined);
  }

  async start(process: OciProcess, request: ExecRequest): Promise<void> {
    const { client } = this.#ctx;
    await client.call(
      TasksService.exec,
      {
        ...this.#ids,
        stdin: this.#path('stdin'),
        stdout: this.#path('stdout'),
        stderr: request.tty ? '' : this.#path('stderr'),
        terminal: request.tty,
        spec: { typeUrl: PROCESS_TYPE, value: Buffer.from(ociText(process)) },
      },
      { deadlineMs: EXEC_DEADLINE_MS },
    );
    // Asked for before the start, so that the end of a short process is not missed.
    const abort = new AbortController();
    const ended = waitForExit(client, this.#ids, abort.signal);
    ended.catch(() => undefined);
    await client.call(TasksService.start, this.#ids, { deadlineMs: EXEC_DEADLINE_MS }).catch((error: unknown) => {
      abort.abort();
      throw error;
    });
    if (request.tty && request.size) await this.resize(request.size.columns, request.size.rows);
    this.#exited = this.#finish(ended);
    this.#exited.catch(() => undefined);
  }

  /** Deleting the process makes the shim copy what is left and close its ends; then our own end is the last. */
  async #finish(ended: Promise<number | undefined>): Promise<number> {
    try {
      const code = await ended;
      if (code === undefined) throw new WeftError('RUNTIME', 'it went away without an exit code');
      this.#stdout?.drain();
      this.#stderr?.drain();
      // The container may be on its way out, and its shim with it: then there is nothing left to copy.
      await this.#ctx.client
        .call(TasksService.deleteProcess, this.#ids, { deadlineMs: EXEC_DEADLINE_MS })
        .catch((error: unknown) => this.#ctx.log.debug({ ...this.#ids, error }, 'an ended command could not be deleted'));
      return code;
    } catch (error) {
      throw runtimeFailure(`lost sight of a command in ${this.#ids.containerId}`, error);
    } finally {
      this.#stdin?.destroy();
      this.#stdout?.finish();
      this.#stderr?.finish();
      await rm(this.#directory, { recursive: true, force: true });
    }
  }

  async #closeStdin(): Promise<void> {
    await orUndefined(this.#ctx.client.call(TasksService.closeIo, { ...this.#ids, stdin: true })).catch((error: unknown) =>
      this.#ctx.log.debug({ ...this.#ids, error }, 'stdin could not be closed'),
    );
  }

  async resize(columns: number, rows: number): Promise<void> {
    await orUndefined(this.#ctx.client.call(TasksService.resizePty, { ...this.#ids, width: columns, height: rows }));
  }

  async signal(name: string): Promise<void> {
    await orUndefined(this.#ctx.client.call(TasksService.kill, { ...this.#ids, signal: signalNumber(name), all: false }));
  }

  session(): ExecSession {
    return {
      stdin: this.#stdin as Writable,
      stdout: (this.#stdout as FifoReader).stream,
      stderr: this.#stderr?.stream ?? Readable.from([]),
      resize: (columns, rows) => this.resize(columns, rows),
      signal: (name) => this.signal(name),
      exited: this.#exited,
    };
  }

  /** It never ran. */
  async discard(): Promise<void> {
    await this.#ctx.client.call(TasksService.deleteProcess, this.#ids).catch(() => undefined);
    this.#stdin?.destroy();
    this.#stdout?.destroy();
    this.#stderr?.destroy();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
