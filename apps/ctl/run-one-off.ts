/** A one-off task from its wish to its end: what it needs is started, somebody is attached to it, and it is removed. */
import { WeftError } from '#base/errors.js';
import type { ComposeResult } from '#compose/parse-compose.js';
import type { Stack } from '#model/stack.js';
import { callUnary, openBidi } from '#rpc/client.js';
import type { ExecStart, StackState, TaskRow } from '#rpc/gen/weft/v1/api.js';
import { applyStack } from './apply-stack.js';
import { buildForUp, pullPolicyOf } from './build/build-for-up.js';
import type { Builder } from './build/builder-steps.js';
import { withApi, type Connection } from './connection.js';
import { converse, sizeOf } from './converse.js';
import { StackJudge, troubleOf, type Expectation } from './judge-stack.js';
import { liveLines, type LiveLines } from './live-lines.js';
import { oneOffKey, type OneOffWish } from './one-off.js';
import { prepareImages, type PullPolicy } from './prepare-images.js';
import { changesNothing, planText } from './render/plan.js';
import { readFiles, sendFiles } from './send-files.js';
import { coloured, print, say, type Shell } from './shell.js';
import { failed, feedOf } from './watch-up.js';

export type OneOffProject = ComposeResult & { file: string };

export interface HowToRun {
  pull?: PullPolicy | undefined;
  build?: boolean | undefined;
  builder?: Builder | undefined;
  quiet: boolean;
  quietPull: boolean;
}

/** How often a caller may send a signal until `ctl` itself gives way. */
const PATIENCE = 3;
/** As a shell has it for what ends at SIGINT. */
const INTERRUPTED = 130;
/** Before the state is looked at again although nothing changed, in milliseconds. */
const ASK_AGAIN_MS = 1_000;

/**
 * Sets the exit code to the command's.
 * @param project with the stack of the one-off and what it depends on
 * @throws DEPLOY_FAILED when something that it depends on does not come up; whatever keeps it from starting; UNAVAILABLE when it is lost sight of
 */
export async function runOneOff(
  shell: Shell,
  context: string | undefined,
  project: OneOffProject,
  wish: OneOffWish,
  how: HowToRun,
): Promise<void> {
  const quiet: Shell = how.quiet ? { ...shell, stderr: nowhere(shell) } : shell;
  for (const warning of project.warnings) say(quiet, `warning: ${warning}`);
  const files = await readFiles(project.sources, project.file);
  await withApi(shell, context, async (connection) => {
    const key = oneOffKey(wish);
    const stack = await sendFiles(quiet, connection, project.stack, files, false);
    const known = await buildForUp(quiet, connection, meant(project, wish), { build: how.build, builder: how.builder });
    const policyOf = (name: string): PullPolicy => pullPolicyOf(project, name === key ? wish.of : name, how.pull);
    const pinned = await prepareImages(how.quietPull ? { ...quiet, stderr: nowhere(shell) } : quiet, connection, stack, {
      policyOf,
      known,
    });
    const { steps, expected } = await applyStack(connection, pinned, { keepOrphans: true, dormant: [] });
    const others = steps.filter((step) => step.name !== key && step.action !== 'keep');
    if (!changesNothing(others)) quiet.stderr.write(planText(others, coloured(shell, shell.stderr)));
    await new OneOff(shell, quiet, connection, { stack: stack.name, key, expected, wish, needed: neededBy(stack, key) }).see();
  });
}

/** Of what is built, what is needed. */
const meant = ({ stack, builds, pulls }: OneOffProject, wish: OneOffWish): Pick<OneOffProject, 'builds' | 'pulls'> => ({
  builds: new Map([...builds].filter(([name]) => name === wish.of || stack.services[name])),
  pulls,
});

const nowhere = ({ stderr }: Shell): Shell['stderr'] =>
  Object.assign(Object.create(stderr) as Shell['stderr'], { isTTY: false, write: () => true });

/** The services that have to come up, whatever is between. */
function neededBy({ services }: Pick<Stack, 'services'>, key: string, found = new Set<string>()): Set<string> {
  for (const [name, { required }] of Object.entries(services[key]?.dependsOn ?? {})) {
    if (!required || found.has(name)) continue;
    neededBy({ services }, name, found.add(name));
  }
  return found;
}

interface About {
  stack: string;
  key: string;
  expected: Expectation;
  /** What has to come up before it. */
  needed: ReadonlySet<string>;
  wish: OneOffWish;
}

/** The one-off, once it is stored. */
class OneOff {
  readonly #shell: Shell;
  /** Where progress goes. */
  readonly #quiet: Shell;
  readonly #connection: Connection;
  readonly #a: About;

  constructor(shell: Shell, quiet: Shell, connection: Connection, about: About) {
    this.#shell = shell;
    this.#quiet = quiet;
    this.#connection = connection;
    this.#a = about;
  }

  async see(): Promise<void> {
    const left = new AbortController();
    let signals = 0;
    let isAttached = false;
    const off = this.#shell.onSignal(['SIGINT', 'SIGTERM'], () => {
      if (!isAttached || ++signals >= PATIENCE) left.abort();
    });
    try {
      const row = await this.#untilThere(left.signal);
      if (!row) return await this.#giveUp();
      isAttached = true;
      if (this.#a.wish.attach) await this.#attach(row, left.signal);
      else print(this.#shell, row.task?.name ?? '');
    } catch (error) {
      if (!isLost(error)) await this.#remove().catch(() => undefined);
      throw error;
    } finally {
      off();
    }
  }

  /** Its task; one that nobody is attached to has started then. Undefined when the caller has had enough. */
  async #untilThere(left: AbortSignal): Promise<TaskRow | undefined> {
    const { stack, key, expected, wish } = this.#a;
    const judge = new StackJudge(expected);
    const lines = liveLines(this.#quiet.stderr);
    const done = new AbortController();
    let latest: StackState | undefined;
    const feed = feedOf(this.#shell, this.#connection, stack, done.signal, (state) => (latest = state));
    const gone = new Promise<void>((resolve) => left.addEventListener('abort', () => resolve(), { once: true }));
    try {
      while (!left.aborted) {
        const row = latest?.tasks.find(({ task }) => task?.service === key);
        if (row && (wish.attach || hasStarted(row))) return row;
        const trouble = row && troubleOf(row);
        if (trouble !== undefined) throw new WeftError('DEPLOY_FAILED', { what: `${row?.task?.name} was not started`, why: trouble });
        if (latest) this.#show(latest, lines, judge);
        await Promise.race([feed.changed(ASK_AGAIN_MS), gone]);
      }
      return undefined;
    } finally {
      lines.finish();
      done.abort();
      await feed.ended;
    }
  }

  /** @throws DEPLOY_FAILED when what it depends on does not come up */
  #show(state: StackState, lines: LiveLines, judge: StackJudge): void {
    const { stack, key } = this.#a;
    const own = state.services.find(({ name }) => name === key);
    if (own?.waiting) lines.set(key, `… ${key}: ${own.waiting}`);
    const { needed } = this.#a;
    const others = {
      ...state,
      services: state.services.filter(({ name }) => needed.has(name)),
      tasks: state.tasks.filter(({ task }) => needed.has(task?.service ?? '')),
    };
    const verdict = judge.judge(others, this.#shell.clock.monotonic());
    if (verdict.kind === 'failed') throw failed(stack, others, verdict.reasons);
  }

  /** @throws UNAVAILABLE when the connection is lost: the task goes on */
  async #attach(row: TaskRow, left: AbortSignal): Promise<void> {
    const { wish } = this.#a;
    const { api, target } = this.#connection;
    const size = wish.tty ? sizeOf(this.#shell) : { columns: 0, rows: 0 };
    const start: ExecStart = { ...NOBODY, task: row.task?.id ?? '', tty: wish.tty, stdin: wish.stdin, ...size };
    const name = row.task?.name ?? '';
    const exitCode = await converse(this.#shell, openBidi(api.attach(), undefined, target), start, { left }).catch((error: unknown) => {
      throw isLost(error) ? lostSight(name, row.nodeName) : error;
    });
    if (exitCode === undefined && left.aborted) return say(this.#shell, `${name} goes on: \`ctl attach ${name}\`, \`ctl kill ${name}\``);
    if (exitCode === undefined) throw lostSight(name, row.nodeName);
    this.#shell.setExitCode(exitCode);
    if (wish.remove) await this.#remove();
  }

  async #giveUp(): Promise<void> {
    await this.#remove();
    this.#shell.setExitCode(INTERRUPTED);
  }

  async #remove(): Promise<void> {
    const { api, target } = this.#connection;
    const operation = { $case: 'removeOneOffs' as const, value: { services: [this.#a.key] } };
    await callUnary(api, 'operateStack', { name: this.#a.stack, operation }, { target });
  }
}

const NOBODY = { stack: '', service: '', index: 0, argv: [], env: {} };

const hasStarted = ({ status }: TaskRow): boolean => status?.startedAt !== undefined;

const isLost = (error: unknown): boolean => error instanceof WeftError && error.code === 'UNAVAILABLE';

const lostSight = (name: string, node: string): WeftError =>
  new WeftError('UNAVAILABLE', {
    what: `the connection to ${name} was lost`,
    why: `it runs on node ${node}, or is on its way; nothing was stopped`,
    hint: `See \`ctl ps -a\` and \`ctl logs\`; \`ctl attach ${name}\` takes it up again.`,
  });
